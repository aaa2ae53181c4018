"""Conversations: history, what fits the context, adapters that take turns, and the terminal as a person meets it."""

import codecs
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import afina
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.cli.conversation import Wrapped, system_language
from afina.errors import UsageError
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from afina.serve.folders import adapters_in
from afina.serve.session import Chat, TooLong
from commands import afina as run_afina
from commands import refused
from families import save_family
from saved_adapters import saved

SHORT = GenerationSettings(max_new_tokens=4)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three adapters on one model, as a study leaves them, and a model with room for a long answer."""
    folder = tmp_path_factory.mktemp("chat")
    base = save_family("llama", folder / "base", speaks=True)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4000}))
    for seed, (run, method) in enumerate({"ana": "lora", "bia": "prompt", "caio": "ia3"}.items()):
        (folder / "runs" / run).mkdir(parents=True)
        saved(method, base, folder / "runs" / run / "adapter", seed=seed)
    return folder / "runs"


@pytest.fixture(scope="module")
def loaded(runs: Path) -> dict[str, Any]:
    first = afina.load(runs / "ana" / "adapter")
    return {"ana": first, "bia": afina.load(runs / "bia" / "adapter", beside=first)}


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_an_answer_goes_on_from_all_that_was_said(loaded: dict[str, Any]) -> None:
    ana, bia = loaded["ana"], loaded["bia"]
    chat = Chat(ana, system="good cat", settings=SHORT)
    first = "".join(chat.ask("where is my lamp"))
    chat.answering = bia
    second = "".join(chat.ask("when"))
    chat.answering = None
    third = "".join(chat.ask("please"))
    turns = [
        said("user", "where is my lamp"), said("assistant", first.rstrip()), said("user", "when"),
        said("assistant", second.rstrip()), said("user", "please"), said("assistant", third.rstrip()),
    ]  # fmt: skip
    assert chat.messages == turns
    system = said("system", "good cat")
    for length, adapter, answer in ((1, ana, first), (3, bia, second), (5, None, third)):
        alone = ana.generate([[system, *turns[:length]]], SHORT, adapters=[adapter])[0]
        assert alone.text.lstrip() == answer
    assert chat.last is not None
    assert len(chat.last.tokens) == 4
    chat.reset()
    assert chat.messages == []
    chat.answering = ana
    assert "".join(chat.ask("where is my lamp")) == first


def test_an_answer_that_is_broken_off_stays_in_the_history(loaded: dict[str, Any]) -> None:
    chat = Chat(loaded["ana"], settings=GenerationSettings(max_new_tokens=50))
    pieces = chat.ask("where is my lamp")
    begun = "".join(islice(pieces, 3))
    pieces.close()  # type: ignore[attr-defined]
    assert chat.messages == [said("user", "where is my lamp"), said("assistant", begun.rstrip())]
    assert chat.last is None
    assert "".join(chat.ask("help"))
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2


def test_a_question_without_an_answer_is_kept_but_not_read_again(loaded: dict[str, Any]) -> None:
    chat = Chat(loaded["ana"], settings=SHORT)
    chat.messages = [said("user", "where"), said("assistant", ""), said("user", "when"), said("assistant", "late")]
    answer = "".join(chat.ask("help"))
    shown = [said("user", "when"), said("assistant", "late"), said("user", "help")]
    assert answer == loaded["ana"].generate([shown], SHORT)[0].text.lstrip()
    assert len(chat.messages) == 6
    assert chat.left_out == 0


def test_the_oldest_turns_leave_a_full_context(loaded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ana = loaded["ana"]
    monkeypatch.setattr(ana.backbone.config, "max_position_embeddings", 60)
    chat = Chat(ana, system="good cat", settings=SHORT)
    for count, word in enumerate(("lamp", "kettle", "phone", "cat", "mat")):
        answer = "".join(chat.ask(f"where is my {word} please help"))
        assert len(chat.messages) == 2 * count + 2
        shown = [said("system", "good cat"), *chat.messages[chat.left_out : -1]]
        ids = ana.request(shown, ana).prompt
        assert len(ids) + 4 <= 60
        assert answer == ana.generate([shown], SHORT)[0].text.lstrip()
    # Not one turn more than had to.
    more = [said("system", "good cat"), *chat.messages[chat.left_out - 2 : -1]]
    assert chat.left_out >= 2
    assert len(ana.request(more, ana).prompt) + 4 > 60
    before = list(chat.messages)
    with pytest.raises(TooLong, match=r"has 7\d tokens and the model takes 59"):
        next(chat.ask("cat " * 65))
    assert chat.messages == before


def test_conversations_are_saved_as_lines_that_a_chat_can_be_trained_on(loaded: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"

    def lines() -> list[list[dict[str, str]]]:
        return [json.loads(line)["messages"] for line in file.read_text(encoding="utf-8").splitlines()]

    chat = Chat(loaded["ana"], system="bom dia, ção", settings=SHORT)
    with pytest.raises(UsageError, match="nothing to save"):
        chat.save(file)
    list(chat.ask("where"))
    chat.save(file)
    list(chat.ask("when"))
    chat.save(file)
    assert lines() == [[said("system", "bom dia, ção"), *chat.messages]]
    chat.reset()
    list(chat.ask("help"))
    chat.save(file)
    assert [len(own) for own in lines()] == [5, 3]
    other = tmp_path / "other.jsonl"
    for text in ("no json", '{"a": 1}', "[]"):
        other.write_text(text)
        with pytest.raises(UsageError, match="something else than conversations"):
            chat.save(other)
        assert other.read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.jsonl", "talk.jsonl"]


def test_adapters_are_found_and_named(runs: Path, tmp_path: Path) -> None:
    found = adapters_in([runs / "bia" / "adapter", runs])
    assert list(found) == ["bia", "ana", "caio"]
    (tmp_path / "bia" / "adapter").mkdir(parents=True)
    (tmp_path / "bia" / "adapter" / "adapter_config.json").write_text("{}")
    for left in (".adapter.12345.part", ".bia.12345.part/adapter"):  # by a process that was killed
        (tmp_path / left).mkdir(parents=True)
        (tmp_path / left / "adapter_config.json").write_text("{}")
    assert list(adapters_in([runs / "bia" / "adapter", tmp_path])) == ["bia", "bia~2"]
    with pytest.raises(UsageError, match="is no adapter and holds none"):
        adapters_in([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("names", "language"),
    [({"LANG": "pt_BR.UTF-8"}, "pt"), ({"LANG": "pt_BR.UTF-8", "LC_ALL": "C"}, "en"), ({}, "en"), ({"LANG": "de"}, "en")],
)  # fmt: skip
def test_the_language_is_the_systems(names: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert system_language() == language


@given(st.text(alphabet="abcdefg  \n", max_size=200), st.integers(8, 30), st.integers(0, 7), st.integers(1, 9))
@example(" aaaaaaaa a", 8, 0, 1)
def test_lines_break_between_words(text: str, width: int, column: int, size: int) -> None:
    out = StringIO()
    wrapped = Wrapped(out, width, column)
    for start in range(0, len(text), size):
        wrapped.write(text[start : start + size])
    wrapped.end()
    lines = ("x" * column + out.getvalue()).split("\n")
    for line in lines:
        # Only a word that is longer than a line is longer than a line.
        assert len(line) <= width or len(line.split()) == 1 or len(line.split()[0]) > width - column
    assert out.getvalue().split() == text.split()
    assert out.getvalue().count("\n") >= text.count("\n") + 1


def test_questions_from_a_pipe_get_plain_answers(runs: Path, loaded: dict[str, Any], tmp_path: Path) -> None:
    lines = [
        "where is my lamp", "", "/adapter", "/adapter bia", "when", "/adapter none", "please", "/adapter eva", "/fly",
        "/save", "/save talk.jsonl", "/save runs/no/talk.jsonl", "/help", "/reset", "/save talk.jsonl", "/quit", "unasked",
    ]  # fmt: skip
    result = run_afina(
        "chat", runs / "ana" / "adapter", "--adapters", runs, "--temperature", 0, "--max-new-tokens", 4, "--system",
        "good cat", "--language", "en", cwd=tmp_path, text="\n".join(lines),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    chat, wanted = Chat(loaded["ana"], system="good cat", settings=SHORT), []
    for adapter, text in ((loaded["ana"], lines[0]), (loaded["bia"], "when"), (None, "please")):
        chat.answering = adapter
        wanted.append("".join(chat.ask(text)).rstrip())
    assert result.stdout.splitlines() == wanted
    notes = [line for line in result.stderr.splitlines() if not line.startswith("/")]
    assert notes == [
        "(cut off at 4 tokens)", "Adapters: [ana], bia, caio, none", "Now answering: bia.", "(cut off at 4 tokens)",
        "Now answering: the model without an adapter.", "(cut off at 4 tokens)",
        "There is no adapter eva; there are: ana, bia, caio, none", "There is no command /fly; /help lists them.",
        "Saved to talk.jsonl.", "runs/no/talk.jsonl: No such file or directory.", "A new conversation.",
        "There is nothing to save yet.",
    ]  # fmt: skip
    assert result.stderr.count("\n/") == 6
    assert len(json.loads((tmp_path / "talk.jsonl").read_text())["messages"]) == 7


def test_what_cannot_be_is_one_sentence(runs: Path, tmp_path: Path) -> None:
    refused(run_afina("chat", tmp_path), "is no adapter and holds none")
    adapter = runs / "ana" / "adapter"
    refused(run_afina("chat", adapter, "--temperature", -1), "temperature should be at least 0")
    refused(run_afina("chat", adapter, "--language", "de"), "--language is en or pt, not 'de'")
    base = save_family("llama", tmp_path / "labels")
    backbone = load_backbone(str(base))
    task = {"name": "classification", "label_names": ["a", "b"]}
    method = make_method("lora", {})
    record = AdapterRecord(str(base), "lora", method.settings(), task, 60, "fp32", 0)
    save_adapter(tmp_path / "adapter", build_adapter(method, backbone, outputs=2, seed=0), backbone, record)
    refused(run_afina("chat", tmp_path / "adapter", text="hi"), "trained to label texts, not to write")


def test_generate_writes_texts_and_json(runs: Path, loaded: dict[str, Any], tmp_path: Path) -> None:
    prompts = ["where is my lamp", "when"]
    wanted = loaded["ana"].generate(prompts, SHORT)
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    common = ("generate", runs / "ana" / "adapter", "--max-new-tokens", 4)
    result = run_afina(*common, "--file", tmp_path / "prompts.txt", "--format", "jsonl")
    assert result.returncode == 0, result.stderr
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"prompt": text, "text": own.text, "finish": own.finish, "tokens": len(own.tokens)}
        for text, own in zip(prompts, wanted, strict=True)
    ]
    assert run_afina(*common, *prompts, "--json").stdout == result.stdout  # as it was once spelled
    assert run_afina(*common, prompts[0]).stdout == wanted[0].text + "\n"
    asked = loaded["ana"].generate([[said("user", "when")]], SHORT, adapters=[None])[0]
    assert run_afina(*common, "when", "--chat", "--bare").stdout == asked.text + "\n"
    refused(run_afina(*common), "Give prompts or --file")


class Terminal:
    """A command in a terminal of its own, 60 columns wide."""

    def __init__(self, *arguments: object, cwd: Path) -> None:
        import fcntl
        import struct
        import termios

        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 60, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "afina", *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
            start_new_session=True, env=os.environ | {"TERM": "xterm", "COLUMNS": "60"},
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Return what was shown since the last call, up to and with the pattern."""
        waited = 0.0
        while (found := re.search(pattern, self.shown)) is None:
            assert waited < seconds, f"no {pattern!r} in {self.shown!r}"
            began = time.monotonic()
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += self.decoder.decode(os.read(self.ours, 4096))
                self.shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\x01\x02]", "", self.shown)
            waited += min(1.0, time.monotonic() - began)  # a busy machine may have let us wait
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def ask(self, line: str, answer: str) -> None:
        """Type a line and wait for its answer and the prompt behind it; prompts that stand before it are passed over."""
        self.type(f"{line}\n")
        self.until(rf"{re.escape(answer)}(.|\n)*?você> ")

    def interrupt_prompt(self) -> None:
        """Press Ctrl-C at the prompt until a fresh one comes: readline loses a press just after it wrote its prompt.

        Each press is given longer than the one before: on a busy machine a prompt may come late, and then so does the next.
        """
        for press in range(1, 9):
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.until("você> ", seconds=3 * press)
                return
            except AssertionError:
                continue
        raise AssertionError("no fresh prompt after 8 presses")


@pytest.fixture
def terminal(runs: Path, tmp_path: Path) -> Iterator[Terminal]:
    own = Terminal(
        "chat", runs / "ana" / "adapter", "--adapters", runs, "--language", "pt", "--temperature", 0, "--max-new-tokens",
        3000, cwd=tmp_path,
    )  # fmt: skip
    yield own
    if own.process.poll() is None:
        own.process.kill()
    own.process.wait()
    os.close(own.ours)


def test_a_conversation_in_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    assert "ana sobre base. /help mostra os comandos" in terminal.until("você> ")
    terminal.type("where is my lamp\n")
    begun = terminal.until(r"ana> (\S+\s+){30}")
    assert max(map(len, begun.split("\n"))) <= 60
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.until(r"\(interrompido; a conversa foi mantida\)(.|\n)*?você> ")
    terminal.interrupt_prompt()
    terminal.ask("/adapter bia", "Agora responde: bia.")
    terminal.ask("/save conversa.jsonl", "Salvo em conversa.jsonl.")
    terminal.type("\x04")
    assert terminal.process.wait(timeout=30) == 0
    (line,) = (tmp_path / "conversa.jsonl").read_text(encoding="utf-8").splitlines()
    question, answer = json.loads(line)["messages"]
    assert question == said("user", "where is my lamp")
    assert len(answer["content"].split()) >= 29

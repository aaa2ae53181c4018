"""Every option of every command, given what it cannot mean: one sentence and exit code 2, or an answer, never a traceback."""

import errno
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from afina import api
from afina.cli.main import app
from afina.retrieval.build import build_index
from afina.study.study import Study
from commands import afina, refused
from studies import settings, write_splits

Loader = Callable[..., Path]


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS = [
    (" ".join(path), option)
    for path, command in COMMANDS.items()
    for option in command.params
    if option.opts[0].startswith("-") and not option.is_flag and option.name != "help"
]


@pytest.fixture(scope="module")
def given(family_folder: Loader, speaker: Loader, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each command is given beside the option in question, so that it would do something small."""
    folder = tmp_path_factory.mktemp("options")
    write_splits(folder, train=20, test=12)
    (folder / "chat.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "good mail"}, {"role": "assistant", "content": "great"}]}\n' * 12
    )
    Study(
        folder / "study", **settings(family_folder, folder, methods=["head", "lora"], epochs=1, keep_checkpoints=1)
    ).run()
    says = {
        "model": str(speaker("llama")),
        "dataset": {"path": str(folder / "chat.jsonl")},
        "task": "chat",
        "template": "chatml",
    }
    Study(folder / "writing", **says, methods=["lora"], epochs=1, max_length=64, precision="fp32").run()
    (folder / "asked.jsonl").write_text('{"question": "Which mail?", "answer": "good", "passage": "a good mail"}\n')
    (folder / "text.txt").write_text("a good mail\nand a late one\n" + "The late mail came on a good day to all. " * 2)
    asked = [
        f"{word} mail {number}?,{answer}" for word, answer in (("good", "yes"), ("zebra", "no")) for number in range(10)
    ]
    (folder / "asked.csv").write_text("\n".join(["question,answerable", *asked]))
    build_index([folder / "text.txt"], index := folder / "index", representation="bm25")
    (adapter,) = folder.glob("study/runs/*lora*/adapter")
    (writer,) = folder.glob("writing/runs/*/adapter")
    (bad := folder / "bad.yaml").write_text("model: nowhere/at-all\n")
    chat, mail = str(folder / "chat.jsonl"), str(folder / "train.csv")
    return {
        "study": [str(bad)], "train": [str(bad)], "plan": [str(bad)], "methods": [],
        "report": [str(folder / "study")], "recommend": [str(folder / "study")], "predict": [str(adapter), "good mail"],
        "quantise": [str(speaker("llama")), "--method", "rtn", "--group", "-1", "--out", "{out}/f"],
        "generate": [str(writer), "good", "--max-new-tokens", "2"], "chat": [str(writer), "--max-new-tokens", "2"],
        "export": [str(adapter), "--to", "peft", "--rows", "2"], "push": [str(adapter), "mine"], "card": [str(adapter)],
        "compare": [str(speaker("llama")), str(speaker("gpt2")), "--text", str(folder / "text.txt"), "--limit", "2"],
        "compress": [str(family_folder("bert")), "--width", "0.5", "--data", str(folder / "text.txt"), "--out", "{out}/f"],
        "evaluate": [str(writer), "--text", str(folder / "text.txt"), "--limit", "2", "--max-new-tokens", "2"],
        "explain": [str(adapter), "good mail", "--way", "occlusion"], "inspect": [str(adapter.parent)],
        "demo chat": ["--language", "fr"], "data inspect": [mail], "data clean": [chat, "--out", "{out}/a.jsonl"],
        "data convert": [chat, "--out", "{out}/b.jsonl"],
        "data generate": [
            "{topic}", "--model", "m", "--out", "{out}/c.jsonl", "--endpoint", "http://127.0.0.1:9", "--tries", "1",
            "--timeout", "1", "--count", "1",
        ],
        "audit bias": [
            str(adapter), "--rows", mail, "--group", "label", "--fewest", "5", "--swap-rows", "0", "--no-base",
        ],
        "audit leak": [str(writer), "--train", chat, "--held-out", chat, "--rows", "5", "--tokens", "2", "--references", "2"],
        "watch": [str(adapter), mail], "audit canaries": ["--data", chat, "--out", "{out}/d.jsonl"],
        "rag index": [str(folder / "text.txt"), "--out", "{out}/e.index", "--representation", "bm25"],
        "rag search": [str(index), "good mail"],
        "rag rows": [str(index), str(folder / "asked.jsonl"), "--out", "{out}/f.jsonl"],
        "rag compare": [str(bad)],
        "rag ask": [str(index), "good mail", "--model", str(writer), "--max-new-tokens", "2"],
        "rag threshold": [str(index), str(folder / "asked.csv")],
        "rag pairs": [str(index), "--out", "{out}/f.jsonl"],
        "serve": [str(folder / "text.txt")],  # no base: one that is would be served until somebody ends it
    }  # fmt: skip


NUMBERS = ["nan", "-1", "9" * 40, "-" + "9" * 5000, ""]
WORDS = ["", "x" * 10_000, "\udce9", "a\0b"]


def is_number(option: Any) -> bool:
    kind = option.type_descriptor.annotation if hasattr(option, "type_descriptor") else option.type.name
    return bool({int, float, "integer", "float", "integer range", "float range"} & {kind})


def values(option: Any, folder: Path) -> list[str]:
    if is_number(option):
        return NUMBERS
    (folder / "binary.jsonl").write_bytes(bytes(range(256)))
    return [*WORDS, str(folder), str(folder / "binary.jsonl")]


# A cosine, a distance with a minus, and a scale for each row.
MAY_BE_NEGATIVE = {("recommend", "--minimum"), ("rag ask", "--threshold"), ("quantise", "--group")}


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda value: getattr(value, "name", value))
def test_an_option_says_what_it_cannot_be(
    command: str, option: Any, given: dict[str, list[str]], tmp_path: Path
) -> None:
    assert command in given, f"say above what `afina {command}` is given to do something small"
    for value in values(option, tmp_path):
        if option.opts[0] == "--tasks" and value.isprintable() and value:
            continue  # lm-evaluation-harness takes half a minute to say that it knows no such task (test_evaluate.py)
        rest = [word.replace("{out}", str(tmp_path)) for word in given[command]]
        if option.opts[0] in rest:
            place = rest.index(option.opts[0])
            del rest[place : place + 2]
        result = afina(*command.split(), *rest, option.opts[0], value, cwd=tmp_path, text="hello\n/quit\n")
        told = f"{option.opts[0]} {value[:40]!r}: {result.stderr[-600:]}"
        assert result.returncode in (0, 1, 2), told
        assert "Traceback" not in result.stderr, told
        if is_number(option) and (value != "-1" or (command, option.opts[0]) not in MAY_BE_NEGATIVE):
            assert result.returncode == 2, told


def test_what_is_no_device_endpoint_or_text_is_refused(given: dict[str, list[str]], tmp_path: Path) -> None:
    import torch

    (adapter, *_), (writer, *_) = given["predict"], given["generate"]
    refused(afina("predict", adapter, "-", text="ol\xe1".encode("latin-1")), "standard input is not UTF-8", "iconv")
    answered = afina("chat", writer, "--max-new-tokens", "2", text=b"hello\n\xff\n")
    assert answered.returncode == 2
    assert "Line 2 of standard input is not UTF-8" in answered.stderr
    for device in ("tpu", "cuda:x", "xpu"):
        refused(afina("chat", writer, "--device", device), "no device")
    if not torch.cuda.is_available():
        for command in ("chat", "evaluate", "audit leak"):
            refused(afina(*command.split(), *given[command], "--device", "cuda"), "NVIDIA GPU")
    out = ["--out", str(tmp_path / "a.jsonl"), "--model", "m"]
    for url in (
        "http://",
        "http://[::1",
        "http://ção.example/v1",
        "http://a:port/v1",
        "http://a:99999/v1",
        "file:///a",
    ):
        refused(afina("data", "generate", "{topic}", *out, "--endpoint", url), "no endpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY", "chave é")
        refused(
            afina("data", "generate", "{topic}", *out, "--endpoint", "http://a/v1", "--key-variable", "A_KEY"),
            "key holds",
        )


def test_what_a_program_reads_is_asked_for_by_one_option() -> None:
    """`--format` everywhere; another spelling may be accepted, and is not shown."""
    flags = [
        (path, option.opts[0])
        for path, command in COMMANDS.items()
        for option in command.params
        if option.opts[0] in ("--json", "--jsonl", "--csv") and option.is_flag and not option.hidden
    ]
    assert not flags


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        OSError(errno.ENOMEM, "Cannot allocate memory"), ImportError("libtorch.so: Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_memory_that_runs_out_is_said_with_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the command is at, and however the system or a library says it."""

    def short(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api, "methods", short)
    refused(afina("methods"), "Memory ran out; what is finished is kept. End other programs", code=1)


def test_a_full_disk_is_said_with_what_to_do() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full, whose every write finds a full disk")
    with full.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "afina", "methods"], stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("afina: The disk is full: free some space")

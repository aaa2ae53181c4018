"""Files of a person: no command writes over what it reads, nor over anything that exists unless it is asked to."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

import afina as package
from afina.card.blocks import CardContent, merge
from afina.corpus.ledger import Ledger
from afina.data.sources.frames import from_objects
from afina.errors import UsageError
from afina.export.card import keep_strangers
from afina.export.target import check_apart
from afina.outputs import check_outputs
from afina.serve.http.journal import Journal
from afina.serve.session import Chat
from afina.whole_file import sweep_partials, whole_file
from commands import afina, refused

TALK = "User: do you sell kettles?\nAssistant: yes, in three sizes\n\nUser: and lids for them?\nAssistant: those too, sir\n"
PRECIOUS = "a person's own words\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "talk.txt").write_text(TALK)
    row = {"messages": [{"role": "user", "content": "kettles?"}, {"role": "assistant", "content": "yes"}]}
    (tmp_path / "talk.rejects.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({"messages": [{}]}) + "\n")
    (tmp_path / "mail.jsonl").write_text(json.dumps({"text": "a"}) + "\n")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


COMMANDS = {
    "clean": ["data", "clean", "IN", "--out", "OUT.jsonl"],
    "convert": ["data", "convert", "IN", "--out", "OUT.jsonl"],
    "inspect": ["data", "inspect", "IN", "--json", "OUT.jsonl"],
    "inspect, page": ["data", "inspect", "IN", "--html", "OUT.jsonl"],
    "canaries": ["audit", "canaries", "--data", "IN", "--out", "OUT.jsonl"],
    "predict": ["predict", "no-adapter", "--file", "IN", "--out", "OUT.jsonl"],
    "evaluate": ["evaluate", "no-adapter", "--text", "IN", "--out", "OUT.jsonl"],
    "evaluate answers": ["evaluate", "no-adapter", "--answers", "IN", "--out", "OUT.jsonl"],
    "evaluate tasks": ["evaluate", "no-adapter", "--tasks", "IN", "--out", "OUT.jsonl"],
    "bias": ["audit", "bias", "no-adapter", "--rows", "IN", "--out", "OUT.json"],
    "leak": ["audit", "leak", "no-adapter", "--train", "IN", "--out", "OUT.json"],
    "leak, canaries": ["audit", "leak", "no-adapter", "--canaries", "IN", "--out", "OUT.json"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes_over_what_it_reads(command: str, files: Path) -> None:
    """Not even where it is forced, under another name of the same file, or by what goes beside the result."""
    ending = COMMANDS[command][-1].removeprefix("OUT")
    (read := files / f"read{ending}").write_text(TALK)
    (files / f"link{ending}").hardlink_to(read)
    for out in (read, files / ".." / files.name / read.name, files / f"link{ending}"):
        words = [{"IN": str(read), f"OUT{ending}": str(out)}.get(word, word) for word in COMMANDS[command]]
        before = contents(files)
        refused(afina(*words, "--force"), "is the file that is read")
        assert contents(files) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_that_exists_is_replaced_unasked(command: str, files: Path) -> None:
    ending = COMMANDS[command][-1].removeprefix("OUT")
    (out := files / f"there{ending}").write_text(PRECIOUS)
    words = [{"IN": str(files / "talk.txt"), f"OUT{ending}": str(out)}.get(word, word) for word in COMMANDS[command]]
    refused(afina(*words), "exists already", "--force")
    assert out.read_text() == PRECIOUS


@pytest.mark.parametrize("verb", ["clean", "convert"])
def test_rejects_take_the_place_of_nothing(verb: str, files: Path) -> None:
    """What goes beside a result is an output like it: neither the file that is read, nor another's."""
    before = contents(files)
    refused(
        afina("data", verb, files / "talk.rejects.jsonl", "--out", files / "talk.jsonl"), "is the file that is read"
    )
    refused(
        afina("data", verb, files / "talk.rejects.jsonl", "--out", files / "talk.jsonl", "--force"),
        "the file that is read",
    )
    (files / "mine.rejects.jsonl").write_text(PRECIOUS)
    refused(afina("data", verb, files / "talk.txt", "--out", files / "mine.jsonl"), "mine.rejects.jsonl exists already")
    assert contents(files) == before | {"mine.rejects.jsonl": PRECIOUS.encode()}
    assert afina("data", verb, files / "talk.txt", "--out", files / "mine.jsonl", "--force").returncode == 0
    assert not (files / "mine.rejects.jsonl").exists()  # of another time; there are none now


def test_the_manifest_of_canaries_takes_the_place_of_nothing(files: Path) -> None:
    (files / "new.jsonl.canaries.json").write_text(PRECIOUS)
    refused(afina("audit", "canaries", "--data", files / "mail.jsonl", "--out", files / "new.jsonl"), "exists already")
    assert (files / "new.jsonl.canaries.json").read_text() == PRECIOUS


def test_two_results_have_two_files(files: Path) -> None:
    refused(
        afina("data", "inspect", files / "talk.txt", "--html", files / "one", "--json", files / "one"), "two results"
    )
    refused(afina("data", "inspect", files / "talk.txt", "--json", files), "is a folder")
    with pytest.raises(UsageError, match="is to hold two results"):
        check_outputs((files / "a", files / "sub" / ".." / "a"))


def test_generating_begins_on_nothing_of_anothers(files: Path) -> None:
    """Neither rows, nor rejects, nor requests that it did not write; and rows put in by hand are not thrown away."""
    record = {"model": "m", "prompt": "p", "topics": "t", "seed": 0}
    for name in ("rows.rejects.jsonl", "rows.requests.jsonl"):
        for content in (PRECIOUS, '{"messages": []}\n', "[1]\n", "1\n"):
            (files / name).write_text(content)
            with pytest.raises(UsageError), Ledger(files / "rows.jsonl", record):
                pass
            assert (files / name).read_text() == content
        (files / name).unlink()
    with Ledger(files / "rows.jsonl", record) as ledger:
        ledger.add(0, [])
    (files / "rows.jsonl").write_text('{"messages": [], "by": "hand"}\n')
    with pytest.raises(UsageError, match="rows that were not generated"), Ledger(files / "rows.jsonl", record):
        pass
    assert "hand" in (files / "rows.jsonl").read_text()


class _Silent:
    """Stands for a model where what is tested is the file alone."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def chat_of(monkeypatch: pytest.MonkeyPatch, *messages: str) -> Chat:
    monkeypatch.setattr("afina.serve.session.writes_of", lambda adapter: adapter)
    chat = Chat(_Silent())
    chat.messages = [
        {"role": role, "content": text} for text, role in zip(messages, ["user", "assistant"] * 9, strict=False)
    ]
    return chat


def test_saving_a_conversation_keeps_the_earlier_lines_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON may hold signs that end a line for Python alone, other keys, and endings of another system."""
    file = tmp_path / "talks.jsonl"
    odd = '{"messages": [{"role": "user", "content": "a\u2028b\u2029c\u0085d"}], "weight": 2}'.encode()
    plain = b'{"messages": [{"role": "user", "content": "hi"}], "id": 7}\r'
    file.write_bytes(odd + b"\n" + plain + b"\n")
    chat_of(monkeypatch, "hi", "hello\u2028there \ud800").save(file)
    lines = file.read_bytes().split(b"\n")
    assert lines[:2] == [odd, plain]
    assert json.loads(lines[2])["messages"][1]["content"] == "hello\u2028there ?"
    chat_of(monkeypatch, "hi", "hello\u2028there ?", "more").save(file)
    assert [len(json.loads(line)["messages"]) for line in file.read_bytes().split(b"\n")[:-1]] == [1, 1, 3]


@pytest.mark.parametrize("content", [b"text\n", b'{"messages": 1}\n{"messages": []}\n', b"\xff\n", b"[]\n", b"\n"])
def test_a_conversation_is_not_saved_among_anything_else(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "talks.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match="something else than conversations"):
        chat_of(monkeypatch, "hi", "hello").save(file)
    assert file.read_bytes() == content


def test_an_export_takes_the_place_of_nothing_that_it_reads(tmp_path: Path) -> None:
    (tmp_path / "export" / "base").mkdir(parents=True)
    for read in (tmp_path / "export", tmp_path / "export" / "base", tmp_path / "export" / "base" / ".." / "base"):
        with pytest.raises(UsageError, match="would go with"):
            check_apart(tmp_path / "export", (None, "a-name-of-the-hub", read))
    check_apart(tmp_path / "other", (tmp_path / "export", None))


def test_tables_of_a_person_are_no_stale_ones_of_a_study(tmp_path: Path) -> None:
    rows = {"text": ["a", "b"], "label": [0, 1]}
    (mine := tmp_path / "data" / "data").mkdir(parents=True)
    (mine / "sales.parquet").write_text(PRECIOUS)
    with pytest.raises(UsageError, match=r"sales\.parquet is no table of a study's"):
        package.Study(tmp_path, model="minilm", dataset=rows, methods=["head"])
    assert contents(mine) == {"sales.parquet": PRECIOUS.encode()}
    for name in ("../data", "..", ".", str(tmp_path / "data" / "data")):
        with pytest.raises(UsageError, match=r"leads out of|no table of a study's"):
            from_objects({"path": rows, "name": name}, tmp_path / "new")


def test_what_is_swept_has_a_name_that_no_file_of_a_person_has(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    kept = [tmp_path / f".talk.jsonl.{process.pid}", tmp_path / ".notes.2024", tmp_path / ".talk.jsonl.1.bak"]
    for path in kept:
        path.write_text(PRECIOUS)
    (left := tmp_path / f".talk.jsonl.{process.pid}.narrow.part").write_text("half")
    with whole_file(tmp_path / "talk.jsonl") as partial:
        partial.write_text("whole")
    sweep_partials(tmp_path)
    assert not left.exists()
    assert all(path.read_text() == PRECIOUS for path in kept)


def test_threads_that_write_one_file_do_not_take_each_others_half(tmp_path: Path) -> None:
    """As the units of a study do that many machines carry out, which keep what they know in one file."""
    begun = Barrier(2, timeout=0.5)

    def write(text: str) -> None:
        with whole_file(tmp_path / "kept.json") as partial:
            partial.write_text(text)
            with suppress(BrokenBarrierError):  # the other waits until this one is done
                begun.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, ["one", "two"]))
    assert (tmp_path / "kept.json").read_text() in ("one", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


def test_a_log_of_requests_goes_on_in_a_log_of_requests_alone(tmp_path: Path) -> None:
    for number, content in enumerate((PRECIOUS, '{"messages": []}\n', "[1]\n", "1\n", "\n", "\ufffd\x00")):
        (mine := tmp_path / f"mine{number}").write_text(content)
        with pytest.raises(UsageError, match="something else than a log of requests"):
            Journal(mine)
        assert mine.read_text() == content
    refused(afina("serve", "no-such-model", "--log", tmp_path / "mine0", "--port", "0"), "something else than a log")
    for place in (tmp_path, tmp_path / "nowhere" / "log", tmp_path / "mine0" / "log"):
        with pytest.raises(UsageError, match="no file that can be written"):
            Journal(place)
    (log := tmp_path / "log").touch()
    for path in ("/v1/models", "/health"):
        journal = Journal(log)
        journal.write(request="r", method="GET", path=path, status=200)
        journal.close()
    assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == ["/v1/models", "/health"]


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "of before"])
def test_what_a_person_put_into_an_export_stays_when_another_takes_its_place(listed: bool, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "shots").mkdir(parents=True)
    ours = ["model-00001-of-00002.safetensors", "tokenizer_config.json", "vocab.txt", "generate.py", "probe.npz"]
    mine = ["notes.txt", "shots/one.png", "run.sh", "prices.csv"]
    for name in (*ours, *mine, "config.json"):
        (before / name).write_text(f"{name} of before")
    (before / "link").symlink_to("notes.txt")
    files = [*ours, "config.json"] if listed else ()
    (before / "README.md").write_text(merge(None, CardContent({}, {"export": "x"}, files=files)).text)
    after.mkdir()
    (after / "config.json").write_text("new")
    keep_strangers(before, after)
    assert sorted(path.relative_to(after).as_posix() for path in after.rglob("*") if not path.is_dir()) == sorted(
        [*mine, "config.json", "link"]
    )
    assert (after / "config.json").read_text() == "new"
    assert (after / "notes.txt").read_text() == "notes.txt of before"
    assert (after / "link").is_symlink()


def test_a_name_that_nobody_reads_to_its_end_is_short_in_a_sentence() -> None:
    long = "x" * 5_000
    assert len(str(UsageError(f"'{long}' is no model, and {long}/a neither."))) < 500
    assert len(str(UsageError(f"'{'a ' * 5_000}' is no model."))) < 4_100
    assert str(UsageError("'x' is no model.", long)).count("x" * 5_000) == 1  # a trace is for whoever mends it
    assert str(UsageError(f"/{'a' * 250}/{'b' * 20}")) == f"/{'a' * 250}/{'b' * 20}"


def test_nor_does_a_command_repeat_it_where_the_system_refuses_it(files: Path) -> None:
    (study := files / "study.yaml").write_text(
        f"model: {'x' * 5_000}\ndataset: {files / 'mail.jsonl'}\nmethods: [head]\n"
    )
    for result in (afina("plan", study), afina("predict", "x" * 5_000, "a text")):
        assert result.returncode in (1, 2)
        assert len(result.stderr) < 700, result.stderr

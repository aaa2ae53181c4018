"""Files of which some rows look like dialogues and others like texts: decided by most of them and said, or refused."""

import json
from pathlib import Path

import pytest

from afina.corpus.convert import convert
from afina.corpus.inspect import inspect_file
from afina.corpus.lines import SourceFile
from afina.corpus.reading import Reading, read_interactions
from afina.errors import UsageError

TEXT = "The parcel came late, and the box was wet on one side."
TURNS = "Customer: Where is my parcel?\nAgent: It comes today."


def column_of(path: Path, marked: int, plain: int) -> Path:
    """Write a table of one column in which marked texts stand behind the plain ones."""
    rows = [f"{TEXT} {number}" for number in range(plain)] + [f"{TURNS} {number}" for number in range(marked)]
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return path


def lines_of_text(path: Path, marked: int, plain: int) -> Path:
    lines = [f"{TEXT} {number}" for number in range(plain)] + ["Customer: Where is my parcel?"] * marked
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("written", [column_of, lines_of_text])
def test_a_marked_text_among_many_leaves_a_file_one_of_texts(written, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = SourceFile(written(tmp_path / ("a.txt" if written is lines_of_text else "a.jsonl"), 3, 97))
    rows = list(read_interactions(source))
    assert len(rows) == 100
    assert not any(row.messages or row.problem for row in rows)
    assert [count for what, count in source.seen.items() if "speaker's mark" in what and "--dialogues" in what] == [3]


@pytest.mark.parametrize(("written", "marked"), [(column_of, 30), (lines_of_text, 20)])
def test_what_may_be_either_is_refused_until_it_is_said(written, marked: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = written(tmp_path / ("a.txt" if written is lines_of_text else "a.jsonl"), marked, 100 - marked)
    with pytest.raises(
        UsageError, match=rf"first 100 .* {marked} .* and {100 - marked} do not; .*--plain.*--dialogues"
    ):
        list(read_interactions(SourceFile(path)))
    assert not any(row.messages for row in read_interactions(SourceFile(path), Reading(plain=True)))
    assert any(row.messages for row in read_interactions(SourceFile(path), Reading(plain=False)))


def test_a_file_of_dialogues_says_how_many_first_rows_are_none(tmp_path: Path) -> None:
    source = SourceFile(column_of(tmp_path / "a.jsonl", 90, 10))
    rows = list(read_interactions(source))
    assert [bool(row.messages) for row in rows] == [False] * 10 + [True] * 90
    assert [count for what, count in source.seen.items() if "no dialogues" in what] == [10]


def test_a_transcript_with_long_answers_is_one(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("".join(f"User: Why {n}?\nAssistant: Because.\n" + f"{TEXT}\n" * 12 + "\n" for n in range(5)))
    assert [len(row.messages) for row in read_interactions(SourceFile(path))] == [2] * 5


def test_speakers_that_are_not_known_are_named(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("Ana: Oi, tudo bem?\nRui: Tudo.\n" * 4)
    found = inspect_file(path)
    assert not found.dialogues
    assert any("Ana and Rui" in what and "--user" in what for what in found.seen)


def test_a_broken_first_row_takes_nothing_from_those_behind_it(tmp_path: Path) -> None:
    """The form of the result is decided by all first rows: with the first one alone, messages had no column to stand in."""
    said = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text("{broken\n" + (json.dumps({"messages": said}) + "\n") * 3)
    report = convert(path, out)
    assert (report.written, report.rejected) == (3, 1)
    assert [json.loads(line)["messages"] for line in out.read_text().splitlines()] == [said] * 3


def test_columns_beside_a_pair_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"question": f"Why {n}?", "answer": f"So {n}.", "city": "Porto", "stars": n} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = convert(path, tmp_path / "b.jsonl")
    assert [count for what, count in report.seen.items() if "'city', 'stars'" in what] == [4]


@pytest.mark.parametrize(("targets", "what"), [(2, "labels"), (8, "answers")])
def test_what_a_pair_was_taken_for_is_said(targets: int, what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"{TEXT} {n}", "target": f"t{n % targets}"}) + "\n" for n in range(8)))
    source = SourceFile(path)
    rows = list(read_interactions(source))
    assert all(bool(row.messages) == (what == "answers") for row in rows)
    assert [count for said, count in source.seen.items() if f"taken for {what}" in said] == [targets]


def test_texts_with_their_authors_are_no_turns_for_one_author_called_agent(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    names = ["agent", *[f"Ana {n}" for n in range(9)]]
    path.write_text("".join(json.dumps({"author": name, "text": f"{TURNS} {name}"}) + "\n" for name in names))
    source = SourceFile(path)
    assert [len(row.messages) for row in read_interactions(source)] == [2] * 10
    assert [count for what, count in source.seen.items() if "too few for turns" in what] == [1]


def test_lines_before_a_chats_first_message_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    path.write_text("Notes of mine\n" + "01/02/2024 10:00 - Ana: Oi\n01/02/2024 10:01 - Loja: Olá\n" * 3)
    source = SourceFile(path)
    list(read_interactions(source))
    assert source.seen["lines that belong to no message, left out"] == 1

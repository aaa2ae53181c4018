"""Read questions about documents: each with good answers, the words that a right one holds, and the passage that tells it.

A question without an answer is one that the documents do not tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as arrow
from pydantic import BeforeValidator

from afina.checked import Checked, as_text
from afina.data.columns import ROW, numbered, texts
from afina.data.files.tables import read_table
from afina.data.names import ASKED, PASSAGE_ANSWERS, REFERENCES, RIGHT_PASSAGES, usual_name
from afina.errors import UsageError, nearest
from afina.retrieval.answers_given import answers_in

__all__ = ["DocumentQuestion", "QuestionsSpec", "read_questions", "same_words"]

_ANSWERS = (*REFERENCES, *PASSAGE_ANSWERS)
_KEYS = ("key", "keys", "chave", "chaves")
_FILES = ("file", "source", "arquivo", "fonte")
_GROUPS = ("group", "fact", "grupo", "fato")
_LONGEST_NAME = 200


class QuestionsSpec(Checked):
    """Says where questions are and which columns mean what; columns left out are found by their usual names."""

    path: Annotated[str, BeforeValidator(as_text, json_schema_input_type=str)]
    """A table with a question a row: .csv, .jsonl, .parquet ..."""
    question: str | None = None
    """The column of questions."""
    answer: str | None = None
    """The column of answers: a text, a list of texts of which each is right, or SQuAD's object of them. A question without
    one is one that the documents do not tell."""
    key: str | None = None
    """The column of what a right answer holds word for word (a name, a price), or a list of several of which one will do;
    left out, the answers themselves."""
    passage: str | None = None
    """The column of passages that tell the answer, as the documents have them; a text or a list."""
    file: str | None = None
    """The column of the documents' names in which the answer stands, where passages are not given."""
    group: str | None = None
    """The column of what questions ask of, where several ask the same in other words: they are drawn together when
    differences are tested."""


@dataclass(frozen=True)
class DocumentQuestion:
    """Holds a question, and what is known of its answer."""

    text: str
    answers: tuple[str, ...]
    """Good answers, of which each is right; none where the documents do not tell."""
    keys: tuple[str, ...] = ()
    """Words that a right answer holds, of which one entry will do."""
    passages: tuple[str, ...] = ()
    file: str = ""
    group: str = ""
    row: int = 0
    """Its row in the file, from 1."""

    @property
    def is_told(self) -> bool:
        """Return whether the documents tell the answer."""
        return bool(self.answers)

    @property
    def holds(self) -> tuple[str, ...]:
        """Return the words of which a right answer has one, word for word."""
        return self.keys or self.answers


def same_words(text: str) -> str:
    """Return a text by which those that differ in case, spaces and marks alone are the same."""
    # Letters and digits of any script; the marks between words differ by who types them.
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())


def read_questions(spec: QuestionsSpec, notes: list[str] | None = None) -> list[DocumentQuestion]:
    """Read questions from a table; raises `UsageError` for a missing column, and where no question has an answer."""
    assumed: list[str] = []
    table = numbered(read_table(Path(spec.path), assumed))
    names = [name for name in table.column_names if name != ROW]
    taken: list[str] = []

    def column(key: str, usual: Sequence[str], *, needed: str = "") -> str | None:
        given: str | None = getattr(spec, key)
        # A column that is taken for one thing is not taken for another.
        name = given or usual_name([each for each in names if each not in taken], usual)
        if name is None and needed:
            raise UsageError(f"{spec.path} has no column that looks like {needed}; say which ({', '.join(names)}).")
        if name is not None and name not in names:
            raise UsageError(f"{spec.path} has no column '{name}' for {key}{nearest(name, names)}")
        taken.extend([] if name is None else [name])
        return name

    asked = column("question", ASKED, needed="questions")
    answered = column("answer", _ANSWERS, needed="answers, without which nothing can be held against them")
    rest = {
        key: column(key, usual)
        for key, usual in (("key", _KEYS), ("passage", RIGHT_PASSAGES), ("file", _FILES), ("group", _GROUPS))
    }
    assert asked is not None and answered is not None
    lists = {key: _lists(table, name) for key, name in {"answer": answered, **rest}.items() if name is not None}
    questions = _questions(texts(table, asked, spec.path), lists, table[ROW].to_pylist(), assumed)
    if not questions:
        raise UsageError(f"{spec.path} has no question in column '{asked}'.")
    if not any(question.is_told for question in questions):
        raise UsageError(f"{spec.path}: no question has an answer in column '{answered}'; name another with answer.")
    if notes is not None:
        notes += assumed
    return questions


def _questions(
    asked: Sequence[str], lists: Mapping[str, list[tuple[str, ...]]], rows: Sequence[int], notes: list[str]
) -> list[DocumentQuestion]:
    """Return the questions, each once; empty ones and those that stand twice are left out, which is noted."""
    nothing: list[tuple[str, ...]] = [()] * len(asked)
    columns = [lists.get(key, nothing) for key in ("answer", "key", "passage", "file", "group")]
    made: dict[str, DocumentQuestion] = {}
    empty = twice = 0
    for text, row, answers, keys, passages, file, group in zip(asked, rows, *columns, strict=True):
        if not text.strip():
            empty += 1
        elif text in made:
            twice += 1
        else:
            made[text] = DocumentQuestion(
                # A question that is not told has nothing that a right answer would hold.
                " ".join(text.split()), answers, keys if answers else (), passages, file[0] if file else "",
                group[0][:_LONGEST_NAME] if group else "", row,
            )  # fmt: skip
    if empty:
        notes.append(f"rows without a question, left out: {empty:,}")
    if twice:
        notes.append(f"questions that stand there more than once, taken once: {twice:,}")
    return list(made.values())


def _lists(table: arrow.Table, column: str) -> list[tuple[str, ...]]:
    """Return each row's texts: one, a list, a list that is written out, or SQuAD's object with a list."""
    return [answers_in(value) for value in table[column].to_pylist()]

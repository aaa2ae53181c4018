"""Read what a person wants predictions for: a file's rows with all their columns, texts, or lines as they come."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.columns import find_columns, texts
from afina.data.files.tables import is_table, read_table, say, separator_of
from afina.data.images import read_images
from afina.data.labelled import read_texts
from afina.data.labels.answers import answers_of, find_answers
from afina.data.labels.tags import words_in
from afina.data.predicting.remembered import Remembered, reading_of, remembered, spec_for
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.given_texts import given_texts

__all__ = ["Asked", "AskedRow", "asked_lines", "asked_texts", "read_asked"]


@dataclass(frozen=True)
class AskedRow:
    """One row to answer; `number` is its place, from 1."""

    number: int
    text: str
    text_pair: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    words: list[str] | None = None
    choices: list[str] | None = None


@dataclass(frozen=True)
class Asked:
    """All that is asked, read and checked."""

    text: Iterable[str]
    """A row's text, empty where it has none; lines of standard input come as they are read."""
    text_pair: Sequence[str | None] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """All columns of the file, in its order."""
    words: list[list[str]] | None = None
    choices: Callable[[], list[list[str]]] | None = None
    """Reads each row's own answers, where there is a column of them: only few adapters choose among them."""
    images: np.ndarray | None = None
    separator: str | None = None
    """The separator of the file's columns; None where it has none."""
    live: bool = False
    """True where somebody waits for each answer before asking the next."""
    has_text: bool = True
    """True where the file has a column of texts, not of words alone."""
    count: int | None = None
    """The number of rows; None where it is not known beforehand."""

    def rows(self, choices: list[list[str]] | None = None) -> Iterator[AskedRow]:
        """Yield the rows in order, each with its `choices`."""
        for place, text in enumerate(self.text):
            yield AskedRow(
                number=place + 1, text=text, text_pair=None if self.text_pair is None else self.text_pair[place],
                columns={name: values[place] for name, values in self.columns.items()},
                words=None if self.words is None else self.words[place],
                choices=None if choices is None else choices[place],
            )  # fmt: skip


def asked_texts(given: Sequence[str], pairs: Sequence[str] | None) -> Asked:
    """Ask for texts, each with its second one where there are pairs; raises `UsageError` where their numbers differ."""
    given = given_texts(given)
    pairs = given_texts(pairs, "second text") if pairs else None
    if pairs and len(pairs) != len(given):
        raise UsageError(f"{len(pairs)} --pair for {len(given)} texts; give one for each.")
    columns: dict[str, Sequence[Any]] = {"text": list(given), **({"text_pair": list(pairs)} if pairs else {})}
    return Asked(list(given), list(pairs) if pairs else None, columns, count=len(given))


def asked_lines(lines: Iterable[str]) -> Asked:
    """Ask for lines as they come."""
    # Without their line's end alone: spaces belong to a text.
    return Asked((given_texts([line])[0].rstrip("\n") for line in lines), live=True)


def read_asked(
    path: Path, text: str | None = None, text_pair: str | None = None, *, adapter: Path | None = None,
    separator: str | None = None, encoding: str | None = None,
) -> Asked:  # fmt: skip
    """Read a file to predict for: images, a table with a text column, or any other file line by line.

    There is a row for each of the table's and for each line, however empty. Columns that are not named are those that the
    `adapter` learned from, or have the usual names; `separator` and `encoding` are the file's, recognised where they are
    not given. Raises `UsageError` for what is wrong with the file.
    """
    if path.suffix.lower() == ".npz":
        images = read_images(path)
        return Asked([], images=images, count=len(images))
    if not is_table(path):
        lines = [line for line, _ in read_texts(path, text, text_pair, encoding=encoding)]
        return Asked(lines, columns={"text": lines}, count=len(lines))
    # An adapter knows which columns it learned from.
    memory, where = remembered(adapter) if adapter is not None else Remembered(), str(path)
    notes: list[str] = []
    known = reading_of(path, memory)
    table = read_table(path, separator=separator or known[0], encoding=encoding or known[1], every_row=True)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    answers = find_answers({"train": table}, DatasetSpec(path=where), where)
    # Read when it is known that they are wanted, as a wrong one of them is an error.
    choices = None if answers is None else lambda: answers_of(table, answers, where)
    words = words_in(table, text)
    first: list[str] = []
    pair: list[str] | None = None
    try:
        table, spec = spec_for(table, where, memory, text, text_pair, notes)
        named = find_columns({"train": table}, spec, where, with_label=False, named_by="--{key}")
        first = texts(table, named["text"], where)
        # To who learned from single texts, a column that happens to have a second text's name is nothing.
        single = bool(memory.text) and memory.text_pair is None and text_pair is None
        pair = texts(table, named["text_pair"], where) if "text_pair" in named and not single else None
    except UsageError:
        # A file of words needs no text beside them.
        if words is None:
            raise
    say(path, notes if words is None else [], None)
    # Words are what is tagged; the text is for who reads the answer.
    whole = [" ".join(own) for own in words] if words is not None and not first else first
    return Asked(
        whole, pair, columns, words, choices, separator=separator_of(table), has_text=bool(first), count=table.num_rows
    )

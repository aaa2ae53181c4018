"""Texts with a column of labels: found, divided into parts, and with every row that lacks either left out and counted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow

from afina.data.columns import ROW, find_columns, joined, left_out, texts
from afina.data.files.tables import is_table, read_table, read_text, same_label_names, say
from afina.data.files.text_files import tables_of_lines
from afina.data.labels.answers import find_answers
from afina.data.labels.classes import typed
from afina.data.labels.label_texts import MISSING, tidied
from afina.data.rows import Rows, TextDataset, finished, stratified, stratified_rows
from afina.data.sources.finding import Parts
from afina.data.task_meant import task_meant
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = [
    "Labelled",
    "Rows",
    "TextDataset",
    "read_labelled",
    "read_texts",
    "single_split",
    "stratified_rows",
    "with_both",
    "with_columns",
]

_MOST_STRATA = 200
"""Different labels up to which a single file is divided by label; more are quantities."""


@dataclass(frozen=True)
class Labelled:
    """Texts with a column of labels, by split; what was noticed is in `notes`, to which a task may add."""

    parts: Parts
    columns: Mapping[str, str]
    """The columns' names, by what they hold (text, text_pair, label, choices)."""
    kept: Mapping[str, arrow.Table]
    """The rows that have both: their labels, answers to choose from if asked for, and their numbers."""
    text: Mapping[str, list[str]]
    text_pair: Mapping[str, list[str]]
    given: tuple[str, ...] | None
    """The names of the labels, where the source gives them."""
    notes: list[str]

    @property
    def column(self) -> str:
        return self.columns["label"]

    @property
    def where(self) -> str:
        return self.parts.where

    def rows(
        self, labels: Mapping[str, np.ndarray], answers: Mapping[str, list[list[str]]] | None = None
    ) -> dict[str, Rows]:
        """Return the rows of each split with these labels."""
        return {
            name: Rows(
                self.text[name], self.text_pair.get(name), labels[name], choices=(answers or {}).get(name),
                number=table[ROW].to_numpy(),
            )
            for name, table in self.kept.items()
        }  # fmt: skip

    def labelled_rows(self, labels: Mapping[str, np.ndarray]) -> dict[str, Rows]:
        """Return the rows of each split with these classes, without those whose label is below 0: nobody knows it."""
        return {name: _drop_unlabelled(rows, name, self.notes) for name, rows in self.rows(labels).items()}

    def finished(
        self, spec: DatasetSpec, task: str, names: tuple[str, ...] | None, splits: Mapping[str, Rows],
        train_limit: int | None, test_limit: int | None,
    ) -> TextDataset:  # fmt: skip
        """Return the data set of these rows, which says of what columns they are."""
        columns = {**self.columns, "text": list(self.parts.spec.joined) or self.columns["text"]}
        return replace(finished(spec, task, names, splits, self.notes, train_limit, test_limit), columns=columns)


def read_labelled(parts: Parts, *, apart: bool = True, answers: bool = False, advise: bool = False) -> Labelled:
    """Return texts and labels; with `apart` a class's only row is trained on where one file is divided.

    With `answers` there may be a column of each row's answers to choose from. Raises `UsageError` for columns that are not
    there, with `advise` with the task that is meant by what the rows hold instead.
    """
    notes = list(parts.notes)
    parts = with_columns(parts, notes)
    try:
        columns = find_columns(parts.tables, parts.spec, parts.where)
    except UsageError as error:
        # Only where nobody named a column: what was named is what is meant.
        left = advise and parts.spec.text is None and parts.spec.label is None
        meant = task_meant(parts.tables["train"], parts.spec, parts.where) if left else ""
        raise UsageError(meant or str(error)) from None
    column = columns["label"]
    if answers and (answer_column := find_answers(parts.tables, parts.spec, parts.where)) is not None:
        columns["choices"] = answer_column
    else:
        notes += left_out(parts.tables["train"], columns)
        parts = replace(parts, tables=tidied(parts.tables, column, parts.spec, parts.where, notes))
    parts = replace(parts, tables=typed(parts.tables, column, parts.where))
    parts = single_split(parts, columns["text"], column, notes, apart=apart)
    return with_both(parts, columns, notes)


def with_columns(parts: Parts, notes: list[str]) -> Parts:
    """Return the parts with lines of text files as tables, and with columns that are joined as one."""
    # Lines first, as what they hold decides which columns there are.
    parts = replace(parts, tables=tables_of_lines(parts.tables, "labelled", parts.where, notes))
    tables, spec = joined(parts.tables, parts.spec, parts.where, notes)
    return replace(parts, tables=tables, spec=spec)


def with_both(parts: Parts, columns: Mapping[str, str], notes: list[str]) -> Labelled:
    """Return the rows that have a text and a label; how many have not is noted."""
    tables, first, second = _drop(parts, columns, notes)
    # Names of the publisher go before those in the file's own features.
    given = parts.label_names or same_label_names(parts.tables, columns["label"], parts.where)
    return Labelled(parts, columns, tables, first, second, given, notes)


def read_texts(
    path: Path, text: str | None = None, text_pair: str | None = None, *, encoding: str | None = None,
    named_by: str | None = None,
) -> list[tuple[str, str | None]]:  # fmt: skip
    """Read texts (and second texts) to predict for: a table with a text column, or any other file line by line.

    There is one for each row of a table, and for each line, however empty. `named_by` is how whoever asks names a column.
    """
    if not is_table(path):
        if not path.is_file():
            raise UsageError(f"{path} does not exist.")
        notes: list[str] = []

        # Only line feeds end a line: splitlines() would also break a text at U+2028 and its like.
        lines = read_text(path, notes, encoding=encoding).replace("\r\n", "\n").removesuffix("\n").split("\n")
        say(path, notes, None)
        return [(line, None) for line in lines]
    table = read_table(path, encoding=encoding)
    spec = DatasetSpec(path=str(path), text=text, text_pair=text_pair)
    columns = find_columns({"train": table}, spec, str(path), with_label=False, named_by=named_by)
    first = texts(table, columns["text"], str(path))
    pair = columns.get("text_pair")
    # A pair without its second text is a text alone.
    second: list[Any] = texts(table, pair, str(path)) if pair else [None] * len(first)
    return list(zip(first, second, strict=True))


# -- parts -----------------------------------------------------------------------------------------------------------


def single_split(parts: Parts, text: str, column: str, notes: list[str], *, apart: bool) -> Parts:
    """Divide a single table 80/20, stratified, always the same way; with `apart`, a class's only row is trained on."""
    if "test" in parts.tables:
        return parts
    table = parts.tables["train"]

    # Divided among the rows that have a label, so that the parts have the sizes that are said.
    labelled = table.filter(table[column].is_valid())
    if labelled.num_rows < table.num_rows and any(labelled[text].to_pylist()):
        notes.append(_left_out(table.num_rows - labelled.num_rows, "", "no label"))
        table = labelled
    if table.num_rows < 5:
        raise UsageError(f"{parts.where} has {table.num_rows} rows; at least 5 are needed to keep some for the test.")
    labels = np.array([str(value) for value in table[column].to_pylist()])

    # Quantities are divided at random: strata of one row each would be no strata.
    if len(set(labels)) > _MOST_STRATA:
        labels = np.zeros(len(labels))
    order = stratified(labels, seed=0)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    single = counts[place][order] == 1
    if apart and 2 * (counts == 1).sum() < len(counts) and table.schema.field(column).type != arrow.float64():
        # A class with one row can be tested or learned; it goes to the end of the order, and so is trained on.
        order = np.concatenate([order[~single], order[single]])
    # One at least, however small a file is.
    test = np.sort(order[: max(1, round(0.2 * len(order)))])
    train = np.setdiff1d(np.arange(len(order)), test)
    how_many = f"{len(train):,} rows to train on, {len(test):,} to test on"
    notes.append(f"{parts.where} has no test part: {how_many} (80/20, always the same)")
    tables = {**parts.tables, "train": table.take(train), "test": table.take(test)}
    return replace(parts, tables=tables)


def _drop(
    parts: Parts, columns: Mapping[str, str], notes: list[str]
) -> tuple[dict[str, arrow.Table], dict[str, list[str]], dict[str, list[str]]]:
    """Leave out rows without a text or a label, and note how many; return labels, texts and second texts by split."""
    without: dict[str, arrow.Table] = {}
    both: dict[str, dict[str, list[str]]] = {"text": {}, "text_pair": {}}
    for split, table in parts.tables.items():
        columns_of_text = {key: texts(table, columns[key], parts.place(split)) for key in both if key in columns}
        filled = {
            key: np.array([bool(text.strip()) for text in column], dtype=bool)
            for key, column in columns_of_text.items()
        }
        for key, there in filled.items():
            if not there.any():
                raise UsageError(f"{parts.where} ({split}): every text in column '{columns[key]}' is empty.")
        # Of a pair both have to be there.
        full = np.logical_and.reduce(list(filled.values()))
        labelled = np.asarray(table[columns["label"]].is_valid())
        if not labelled.any():
            raise UsageError(f"{parts.where} ({split}): every label in column '{columns['label']}' is missing.")
        if not (full & labelled).any():
            raise UsageError(f"{parts.where} ({split}): no row has both a text and a label.")
        for bad, what in ((~full, "an empty text"), (~labelled, "no label")):
            if bad.any():
                notes.append(_left_out(int(bad.sum()), f"{split} ", what))
        notes += _written_out(columns_of_text["text"], split)
        # Rows' own numbers stay with them, for errors that name one.
        keep = np.flatnonzero(full & labelled)
        without[split] = table.select([columns[key] for key in ("label", "choices") if key in columns] + [ROW]).take(
            keep
        )
        # A copy only where something is left out.
        for key, column in columns_of_text.items():
            both[key][split] = column if len(keep) == len(column) else [column[row] for row in keep]
    return without, both["text"], both["text_pair"]


def _written_out(column: list[str], split: str) -> list[str]:
    """Say so where texts are what programs write for a missing value: they may be texts all the same."""
    missing = [text for text in column if text.strip() in MISSING]
    rows = "1 text" if len(missing) == 1 else f"{len(missing):,} texts"
    return (
        [f"{rows} of {split} say '{missing[0].strip()}', as a missing value is written, and are read as texts"]
        if missing
        else []
    )


def _left_out(count: int, split: str, what: str) -> str:
    return f"{count:,} {split}{'row' if count == 1 else 'rows'} with {what} left out"


def _drop_unlabelled(rows: Rows, split: str, notes: list[str]) -> Rows:
    unlabelled = rows.label < 0
    if unlabelled.any():
        notes.append(_left_out(int(unlabelled.sum()), f"{split} ", "the label -1 (no agreed label)"))
        return rows.take(np.flatnonzero(~unlabelled))
    return rows

"""Where rows come from: packaged sets, files, folders and the hub; checked, and with everything dropped counted."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow

from afina.config import DatasetSpec
from afina.data.answers import answers_of, find_answers, right_answers
from afina.data.columns import ROW, find_columns, joined, left_out, numbered, texts
from afina.data.files import is_table, read_table, read_text, same_label_names, say
from afina.data.finding import Parts, find
from afina.data.images import is_images, load_images
from afina.data.label_texts import MISSING, tidied
from afina.data.labels import check_classes, choose_task, classes, note_dates, numbers, typed
from afina.data.rows import Rows, TextDataset, finished, stratified, stratified_rows
from afina.data.tags import find_tagged, is_tagged, read_tagged, tables_of_lists
from afina.data.task_meant import task_meant
from afina.data.text_files import tables_of_lines
from afina.data.written import READERS, read_written
from afina.errors import UsageError

__all__ = ["Rows", "TextDataset", "load_text_dataset", "read_texts", "stratified_rows"]

_MOST_STRATA = 200
"""Different labels up to which a single file is divided by label; more are quantities."""


def load_text_dataset(
    spec: DatasetSpec,
    *,
    task: str = "auto",
    train_limit: int | None = None,
    test_limit: int | None = None,
    trust_remote_code: bool = False,
) -> TextDataset:
    """Read, check and limit a data set.

    Limits are stratified by label and the same for every run. Raises `UsageError` in one sentence for what is wrong.
    """
    if is_images(spec):
        return load_images(spec, train_limit=train_limit, test_limit=test_limit)
    parts = find(spec, trust_remote_code)
    parts = replace(parts, tables={name: numbered(table) for name, table in parts.tables.items()})
    asked = next((one for one in (spec.task, task, parts.spec.task) if one != "auto"), "auto")
    data = _load(spec, parts, asked, train_limit, test_limit)
    return replace(data, metric=parts.spec.metric)


def _load(spec: DatasetSpec, parts: Parts, asked: str, train_limit: int | None, test_limit: int | None) -> TextDataset:
    if asked == "tagging" or (asked == "auto" and is_tagged(parts.tables)):
        return _load_tagged(spec, parts, train_limit, test_limit)
    notes = list(parts.notes)
    parts = replace(parts, tables=tables_of_lines(parts.tables, asked, parts.where, notes))
    if parts.spec.joined or asked not in READERS:
        tables, own = joined(parts.tables, parts.spec, parts.where, notes)
        parts = replace(parts, tables=tables, spec=own)
    if asked in READERS:
        return read_written(parts.tables, parts.place, parts.spec, asked, parts.where, notes, train_limit, test_limit)
    return _load_labelled(spec, parts, asked, notes, train_limit, test_limit)


def _load_labelled(
    spec: DatasetSpec, parts: Parts, asked: str, notes: list[str], train_limit: int | None, test_limit: int | None
) -> TextDataset:
    """Return a data set of texts with a class, a number or a right answer each."""
    try:
        columns = find_columns(parts.tables, parts.spec, parts.where)
    except UsageError as error:
        left = asked == "auto" and parts.spec.text is None and parts.spec.label is None
        meant = task_meant(parts.tables["train"], parts.spec, parts.where) if left else ""
        raise UsageError(meant or str(error)) from None
    column = columns["label"]
    if asked == "choices" and (own := find_answers(parts.tables, parts.spec, parts.where)) is not None:
        columns["choices"] = own
    else:
        notes += left_out(parts.tables["train"], columns)
        parts = replace(parts, tables=tidied(parts.tables, column, parts.spec, parts.where, notes))
    parts = replace(parts, tables=typed(parts.tables, column, parts.where))
    parts = _single_split(parts, columns["text"], column, notes, apart=asked != "regression")
    kept, first, second = _drop(parts, columns, notes)
    given = parts.label_names or same_label_names(parts.tables, column, parts.where)
    chosen = choose_task(kept, column, asked, parts.where, given)
    names = None
    answers: dict[str, list[list[str]]] = {}
    if "choices" in columns:
        answers = {name: answers_of(table, columns["choices"], parts.place(name)) for name, table in kept.items()}
        labels = {n: right_answers(table, column, answers[n], parts.place(n)) for n, table in kept.items()}
    elif chosen == "regression":
        labels = {name: numbers(table, column, parts.place(name)) for name, table in kept.items()}
        if (labels["train"] == labels["train"][0]).all():
            raise UsageError(f"{parts.where}: every train label is {labels['train'][0]:g}; there is nothing to learn.")
    else:
        names, labels = classes(kept, column, parts.where, given, notes)
        note_dates(names, column, notes)
    splits = {
        name: Rows(first[name], second.get(name), labels[name], choices=answers.get(name), number=table[ROW].to_numpy())
        for name, table in kept.items()
    }
    if names is not None:
        splits = {name: _drop_unlabelled(rows, name, notes) for name, rows in splits.items()}
        check_classes(names, {name: rows.label for name, rows in splits.items()}, parts.where, notes)
        if chosen == "choices" and spec.answers is not None:
            if len(spec.answers) != len(names):
                raise UsageError(
                    f"answers: there are {len(spec.answers)} for {len(names)} labels ({', '.join(names)})."
                )
            names = tuple(spec.answers)
    told = {**columns, "text": list(parts.spec.joined) or columns["text"]}
    return replace(finished(spec, chosen, names, splits, notes, train_limit, test_limit), columns=told)


def _load_tagged(spec: DatasetSpec, parts: Parts, train_limit: int | None, test_limit: int | None) -> TextDataset:
    notes = list(parts.notes)
    tables, own = tables_of_lists(parts.tables, parts.spec, parts.place, notes)
    parts = replace(parts, tables=tables, spec=own)
    columns = find_tagged(parts.tables, parts.spec, parts.where)
    parts = _single_split(parts, *columns, notes, apart=False)
    places = {split: parts.place(split) for split in parts.tables}
    names, splits = read_tagged(parts.tables, columns, places, notes, parts.label_names)
    return finished(spec, "tagging", names, splits, notes, train_limit, test_limit)


def read_texts(
    path: Path, text: str | None = None, text_pair: str | None = None, *, encoding: str | None = None
) -> list[tuple[str, str | None]]:
    """Read texts (and second texts) to predict for: a table with a text column, or any other file line by line.

    There is one for each row of a table, and for each line, however empty.
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
    columns = find_columns({"train": table}, spec, str(path), with_label=False)
    first = texts(table, columns["text"], str(path))
    pair = columns.get("text_pair")
    second: list[Any] = texts(table, pair, str(path)) if pair else [None] * len(first)
    return list(zip(first, second, strict=True))


# -- parts -----------------------------------------------------------------------------------------------------------


def _single_split(parts: Parts, text: str, column: str, notes: list[str], *, apart: bool) -> Parts:
    """Divide a single table 80/20, stratified, always the same way; with `apart`, a class's only row is trained on."""
    if "test" in parts.tables:
        return parts
    table = parts.tables["train"]
    labelled = table.filter(table[column].is_valid())
    if labelled.num_rows < table.num_rows and any(labelled[text].to_pylist()):
        notes.append(_left_out(table.num_rows - labelled.num_rows, "", "no label"))
        table = labelled
    if table.num_rows < 5:
        raise UsageError(f"{parts.where} has {table.num_rows} rows; at least 5 are needed to keep some for the test.")
    labels = np.array([str(value) for value in table[column].to_pylist()])
    if len(set(labels)) > _MOST_STRATA:
        labels = np.zeros(len(labels))
    order = stratified(labels, seed=0)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    single = counts[place][order] == 1
    if apart and 2 * (counts == 1).sum() < len(counts) and table.schema.field(column).type != arrow.float64():
        order = np.concatenate([order[~single], order[single]])
    test = np.sort(order[: max(1, round(0.2 * len(order)))])
    train = np.setdiff1d(np.arange(len(order)), test)
    told = f"{len(train):,} rows to train on, {len(test):,} to test on"
    notes.append(f"{parts.where} has no test part: {told} (80/20, always the same)")
    tables = {**parts.tables, "train": table.take(train), "test": table.take(test)}
    return replace(parts, tables=tables)


def _drop(
    parts: Parts, columns: Mapping[str, str], notes: list[str]
) -> tuple[dict[str, arrow.Table], dict[str, list[str]], dict[str, list[str]]]:
    """Leave out rows without a text or a label, and note how many; return labels, texts and second texts by split."""
    kept: dict[str, arrow.Table] = {}
    both: dict[str, dict[str, list[str]]] = {"text": {}, "text_pair": {}}
    for split, table in parts.tables.items():
        own = {key: texts(table, columns[key], parts.place(split)) for key in both if key in columns}
        filled = {key: np.array([bool(text.strip()) for text in column], dtype=bool) for key, column in own.items()}
        for key, there in filled.items():
            if not there.any():
                raise UsageError(f"{parts.where} ({split}): every text in column '{columns[key]}' is empty.")
        full = np.logical_and.reduce(list(filled.values()))
        labelled = np.asarray(table[columns["label"]].is_valid())
        if not labelled.any():
            raise UsageError(f"{parts.where} ({split}): every label in column '{columns['label']}' is missing.")
        if not (full & labelled).any():
            raise UsageError(f"{parts.where} ({split}): no row has both a text and a label.")
        for bad, what in ((~full, "an empty text"), (~labelled, "no label")):
            if bad.any():
                notes.append(_left_out(int(bad.sum()), f"{split} ", what))
        notes += _written_out(own["text"], split)
        keep = np.flatnonzero(full & labelled)
        kept[split] = table.select([columns[key] for key in ("label", "choices") if key in columns] + [ROW]).take(keep)
        for key, column in own.items():
            both[key][split] = column if len(keep) == len(column) else [column[row] for row in keep]
    return kept, both["text"], both["text_pair"]


def _written_out(column: list[str], split: str) -> list[str]:
    """Say so where texts are what programs write for a missing value: they may be texts all the same."""
    found = [text for text in column if text.strip() in MISSING]
    rows = "1 text" if len(found) == 1 else f"{len(found):,} texts"
    return (
        [f"{rows} of {split} say '{found[0].strip()}', as a missing value is written, and are read as texts"]
        if found
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

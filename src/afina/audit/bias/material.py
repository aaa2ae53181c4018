"""Gather the rows that a bias audit looks at: a study's test rows, or a file's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from afina.audit.bias.answers import BiasRows
from afina.config import StudyConfig
from afina.data.columns import find_columns
from afina.data.files.tables import read_table
from afina.data.groups.grouping import refuse_read
from afina.data.labels.given import NUMBERED, as_names
from afina.data.rows import Rows
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest
from afina.study.data import study_data
from afina.study.group_values import group_values

__all__ = ["of_file", "of_study"]


def of_study(
    study: Path, spec: DatasetSpec, names: Sequence[str], columns: Sequence[str], decisive: Sequence[str] = ()
) -> tuple[BiasRows, Rows]:
    """Return a study's test rows, and the rows that were trained on; raises `UsageError` for a column that is not there.

    `columns` are compared; by those of `decisive` adapters decide.
    """
    config = StudyConfig.read(study)
    data = study_data(config, spec)
    values: dict[str, list[object]] = {}
    if columns or decisive:
        (values,) = group_values(
            config, spec, [("test", data.test)], [*columns, *decisive], asked="--group",
            otherwise="; give them with --rows FILE",
        )  # fmt: skip
    source = f"test rows of {study.parent}"
    return BiasRows(data.test, tuple(names), *_parted(values, columns, decisive, source)), data.train


def _parted(
    values: dict[str, list[object]], columns: Sequence[str], decisive: Sequence[str], source: str
) -> tuple[dict[str, list[object]], str, dict[str, list[object]]]:
    """Return what is compared, the rows' source, and what adapters decide by."""
    return {name: values[name] for name in columns}, source, {name: values[name] for name in decisive}


def of_file(
    path: Path, spec: DatasetSpec, names: Sequence[str], columns: Sequence[str], decisive: Sequence[str] = ()
) -> tuple[BiasRows, list[str]]:
    """Return a file's rows whose labels an adapter knows, and notes on the others; raises `UsageError` where none is left."""
    table = read_table(path)
    where = find_columns({"file": table}, spec, str(path), named_by="--{key}")
    for column in (*columns, *decisive):
        if column not in table.column_names:
            why = "for --group" if column in columns else "by whose groups an adapter decides"
            raise UsageError(f"{path} has no column '{column}' {why}{nearest(column, table.column_names)}")
        refuse_read(column, where)
    written, are_places = as_names(table[where["label"]].to_pylist(), names)
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place.get(name, -1) for name in written], dtype=np.int64)
    texts = ["" if value is None else str(value) for value in table[where["text"]].to_pylist()]
    taken = np.flatnonzero((labels >= 0) & np.array([bool(text.strip()) for text in texts]))
    if not len(taken):
        raise UsageError(
            f"{path}: no row has a text and one of the adapter's labels ({', '.join(names[:8])}) in '{where['label']}'."
        )
    notes = [f"{path.name}: {NUMBERED.format(first=names[0])}"] if are_places else []
    if left := len(texts) - len(taken):
        notes.append(f"{left:,} rows of {path.name} have no text or none of the adapter's labels and are left out.")
        notes += _in_other_case(written, labels, names)
    second = where.get("text_pair")
    pairs = None if second is None else [str(value or "") for value in table[second].to_pylist()]
    rows = Rows(texts, pairs, labels, number=np.arange(1, len(texts) + 1)).take(taken)
    of_columns: dict[str, list[object]] = {}
    for column in (*columns, *decisive):
        values = table[column].to_pylist()
        of_columns[column] = [values[row] for row in taken]
    return BiasRows(rows, tuple(names), *_parted(of_columns, columns, decisive, str(path))), notes


def _in_other_case(written: Sequence[str], labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """Say which labels that the adapter does not have are one of its own in another case."""
    by_case = {name.casefold(): name for name in names}
    left = {label for label, place in zip(written, labels, strict=True) if place < 0}
    return [
        f"the label '{label}' is none of the adapter's, which has '{by_case[label.casefold()]}': write it so."
        for label in sorted(label for label in left if label) if label.casefold() in by_case
    ]  # fmt: skip

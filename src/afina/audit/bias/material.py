"""Gather the rows that a bias audit looks at: a study's test rows, or a file's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.audit.bias.answers import BiasRows
from afina.config import StudyConfig
from afina.data.columns import find_columns
from afina.data.files.tables import read_table
from afina.data.labels.label_texts import visible
from afina.data.rows import Rows
from afina.data.sources.finding import find
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest
from afina.study.data import study_data

__all__ = ["of_file", "of_study"]


def of_study(study: Path, spec: DatasetSpec, names: Sequence[str], columns: Sequence[str]) -> tuple[BiasRows, Rows]:
    """Return a study's test rows, and the rows that were trained on; raises `UsageError` for a column that is not there."""
    config = StudyConfig.read(study)
    data = study_data(config, spec)
    of_columns: dict[str, list[object]] = {}
    if columns:
        tables = find(spec, config.trust_remote_code).tables
        # A study's test rows are its data's own test part, or a part of the one file that there is.
        table = next((tables[part] for part in ("test", "validation", "train") if part in tables), None)
        if table is None or data.test.number is None:
            raise UsageError(f"{spec.path}: its rows cannot be found again by number; give them with --rows FILE.")
        for column in columns:
            if column not in table.column_names:
                raise UsageError(
                    f"{spec.path} has no column '{column}' for --group{nearest(column, table.column_names)}"
                )
            values = table[column].to_pylist()
            of_columns[column] = [values[int(number) - 1] for number in data.test.number]
    return BiasRows(data.test, tuple(names), of_columns, f"test rows of {study.parent}"), data.train


def of_file(path: Path, spec: DatasetSpec, names: Sequence[str], columns: Sequence[str]) -> tuple[BiasRows, list[str]]:
    """Return a file's rows whose labels an adapter knows, and notes on the others; raises `UsageError` where none is left."""
    table = read_table(path)
    where = find_columns({"file": table}, spec, str(path))
    for column in columns:
        if column not in table.column_names:
            raise UsageError(f"{path} has no column '{column}' for --group{nearest(column, table.column_names)}")
    labels = np.array([_label(value, names) for value in table[where["label"]].to_pylist()], dtype=np.int64)
    texts = ["" if value is None else str(value) for value in table[where["text"]].to_pylist()]
    taken = np.flatnonzero((labels >= 0) & np.array([bool(text.strip()) for text in texts]))
    if not len(taken):
        raise UsageError(
            f"{path}: no row has a text and one of the adapter's labels ({', '.join(names[:8])}) in '{where['label']}'."
        )
    notes = []
    if left := len(texts) - len(taken):
        notes.append(f"{left:,} rows of {path.name} have no text or none of the adapter's labels and are left out.")
    second = where.get("text_pair")
    pairs = None if second is None else [str(value or "") for value in table[second].to_pylist()]
    rows = Rows(texts, pairs, labels, number=np.arange(1, len(texts) + 1)).take(taken)
    of_columns: dict[str, list[object]] = {}
    for column in columns:
        values = table[column].to_pylist()
        of_columns[column] = [values[row] for row in taken]
    return BiasRows(rows, tuple(names), of_columns, str(path)), notes


def _label(value: Any, names: Sequence[str]) -> int:
    """Return the place of a label among names, -1 for none; a whole number that is no name is a place itself."""
    name = None if value is None else visible(str(value))
    if name is not None and name in names:
        return list(names).index(name)
    is_place = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names)
    return int(value) if is_place else -1

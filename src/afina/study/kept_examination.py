"""Keep in a study's folder what its rows looked like before anything was trained, for its report."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from afina.config import StudyConfig
from afina.corpus.balance import MOST_LABELS
from afina.corpus.examined import ExaminedRows, GroupColumns, examine
from afina.data.groups.grouping import by_column
from afina.data.rows import Rows, TextDataset
from afina.dataset_spec import DatasetSpec
from afina.drift.seen import whole_texts
from afina.errors import UsageError
from afina.mitigation.base import make_mitigation
from afina.results.examined_data import examination_path, read_examination
from afina.study.audits import make_audits
from afina.study.group_values import group_values
from afina.whole_file import write_json

__all__ = ["keep_examination"]


def keep_examination(config: StudyConfig, spec: DatasetSpec, data: TextDataset, directory: Path) -> None:
    """Examine a data set's texts and write what was found into the study's cache, once for all its runs.

    Raises `UsageError` for a column of `groups` that is not there or is no grouping.
    """
    if data.train.pixels is not None or data.passages is not None:
        if spec.groups:
            raise UsageError(f"{data.name}: groups counts the labels of texts, which these rows are not; leave it out.")
        return
    grouped = _grouped(config, spec, data)
    before = read_examination(directory, data.digest)
    if before is not None and list(before.grouped) == grouped.named:
        return
    train, test = (_rows(rows, data.label_names) for rows in (data.train, data.test))
    write_json(examination_path(directory, data.digest), examine(train, test, grouped).as_dict())


def _rows(rows: Rows, names: tuple[str, ...] | None) -> ExaminedRows:
    # Numbers, tags and answers of a row's own are no classes whose share or likeness says anything.
    classes = names is not None and rows.label.ndim == 1 and rows.choices is None and rows.words is None
    labels = [names[label] for label in rows.label.tolist()] if classes and names is not None else None
    return ExaminedRows(
        whole_texts(rows.text, rows.text_pair), labels, None if rows.number is None else rows.number.tolist()
    )


def _grouped(config: StudyConfig, spec: DatasetSpec, data: TextDataset) -> GroupColumns:
    """Return by what a study's labels are counted: what `groups`, audits and mitigations name."""
    audited = [each.grouped_by for each in make_audits(config.audits or ())]
    words = next((file for _, file in audited if file is not None), None)
    count, columns = len(data.label_names or ()), dict[str, Sequence[Any]]()
    counted = 2 <= count <= MOST_LABELS
    if spec.groups and not counted:
        raise UsageError(
            f"{data.name}: groups counts labels where there are from 2 to {MOST_LABELS} of them, not {count:,}; leave it out."
        )
    for column in spec.groups or ():
        columns[column] = _values(config, spec, data, column)
    for column in (*(own for each, _ in audited for own in each), *_mitigated_by(config)):
        if counted and column not in columns:
            # A column that they cannot use they refuse themselves, where they are made.
            with suppress(UsageError):
                columns[column] = _values(config, spec, data, column)
    return GroupColumns(columns, words)


def _mitigated_by(config: StudyConfig) -> Iterator[str]:
    """Yield the columns by which a study's mitigations put rows into groups."""
    for given in (*(config.mitigate or ()), *(own.settings.get("mitigate") for own in config.methods)):
        if given not in (None, "none") and (column := make_mitigation(given).column) is not None:
            yield column


def _values(config: StudyConfig, spec: DatasetSpec, data: TextDataset, column: str) -> Sequence[Any]:
    """Return the train rows' values of a column; raises `UsageError` for one that is no grouping of them."""
    (values,) = group_values(config, spec, [("train", data.train)], [column], asked="groups")
    by_column(column, values[column])
    return values[column]

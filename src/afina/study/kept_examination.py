"""Keep in a study's folder what its rows looked like before anything was trained, for its report."""

from pathlib import Path

from afina.corpus.examined import ExaminedRows, examine
from afina.data.rows import Rows, TextDataset
from afina.drift.seen import whole_texts
from afina.results.examined_data import examination_path, read_examination
from afina.whole_file import write_json

__all__ = ["keep_examination"]


def keep_examination(data: TextDataset, directory: Path) -> None:
    """Examine a data set's texts and write what was found into the study's cache, once for all its runs."""
    if (
        data.train.pixels is not None
        or data.passages is not None
        or read_examination(directory, data.digest) is not None
    ):
        return
    examination = examine(*(_rows(rows, data.label_names) for rows in (data.train, data.test)))
    write_json(examination_path(directory, data.digest), examination.as_dict())


def _rows(rows: Rows, names: tuple[str, ...] | None) -> ExaminedRows:
    # Numbers, tags and answers of a row's own are no classes whose share or likeness says anything.
    classes = names is not None and rows.label.ndim == 1 and rows.choices is None and rows.words is None
    labels = [names[label] for label in rows.label.tolist()] if classes and names is not None else None
    return ExaminedRows(
        whole_texts(rows.text, rows.text_pair), labels, None if rows.number is None else rows.number.tolist()
    )

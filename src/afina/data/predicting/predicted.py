"""Predictions as files for people and programs; a form is a row of `FORMS`.

A file that a spreadsheet opens (.csv, .tsv) has UTF-8 with a byte order mark, without which Excel takes it for another
encoding, a comma in numbers where a semicolon separates its columns, as Excel has it where that is so (Portuguese, German,
French ...), and an apostrophe before text that would be run as a formula.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from afina.data.files.spreadsheet import guarded
from afina.data.files.workbook import check_workbook, save_workbook
from afina.data.predicting.asked import Asked
from afina.errors import UsageError, likewise
from afina.whole_file import whole_file

__all__ = [
    "FORMS",
    "SEPARATORS",
    "Layout",
    "Predicted",
    "PredictionForm",
    "check_at_least",
    "check_separator",
    "form_of",
    "kept_columns",
    "write_predicted",
]

SEPARATORS = {",": ",", ";": ";", "tab": "\t"}
"""Separators of columns, by the words that a person may write for them."""


@dataclass(frozen=True)
class Predicted:
    """Holds what was predicted for one row."""

    row: int
    """Its number in the file or among the texts, from 1."""
    text: str
    kept: Mapping[str, Any]
    """Those of its columns that are written beside the prediction."""
    answer: Mapping[str, Any]
    """The answer's fields in JSON."""
    fields: Mapping[str, Any]
    """The answer's fields in a table, by the layout's names; a missing one is empty."""
    found: Any = None
    """The prediction itself, for whoever shows it."""


@dataclass(frozen=True)
class Layout:
    """Names the columns of a table of predictions."""

    kept: tuple[str, ...]
    fields: tuple[str, ...]
    separator: str = ","
    names: dict[str, str] = field(init=False)
    """The column of each field: its own name, unless a kept column has that."""

    def __post_init__(self) -> None:
        taken, names = set(self.kept), {}
        # As often as it takes: a file may have a column that was made by an earlier prediction.
        for column in ("row", *self.fields):
            name = column
            while name in taken:
                name += " (afina)"
            taken.add(name)
            names[column] = name
        # The class is frozen, and this field follows from the others.
        object.__setattr__(self, "names", names)

    @property
    def renamed(self) -> list[str]:
        """Return a sentence for each field that is called otherwise, as a kept column has its name."""
        return [
            f"The rows have a column '{own}' of their own; the predicted one is called '{name}'."
            for own, name in self.names.items() if own != name
        ]  # fmt: skip

    @property
    def columns(self) -> list[str]:
        """Return all columns, in order: the row's number, what was kept, the prediction."""
        return [self.names["row"], *self.kept, *(self.names[own] for own in self.fields)]

    def values(self, predicted: Predicted) -> list[Any]:
        """Return a row's values in the order of the columns."""
        return [
            predicted.row, *(predicted.kept.get(name) for name in self.kept),
            *(predicted.fields.get(own) for own in self.fields),
        ]  # fmt: skip


@dataclass(frozen=True)
class PredictionForm:
    """Says how predictions are written: to a stream of text, or where `write` is None into a file as `save` does."""

    write: Callable[[Iterable[Predicted], TextIO, Layout], None] | None
    save: Callable[[Iterable[Predicted], Path, Layout], None]
    table: bool = False
    """True for a form with columns, where the rows' own are kept unless asked otherwise."""
    check: Callable[[], None] = lambda: None
    """Raises `UsageError` where what it needs is not installed."""


def form_of(name: str | None, out: Path | None) -> str | None:
    """Return the form asked for, or the one that a file's ending says; raises `UsageError` for one that is none."""
    known = ", ".join(FORMS)
    form = name
    if name is not None and name not in FORMS:
        raise UsageError(f"--format is {known} or table, not '{name}'.")
    if name is None and out is not None:
        form = out.suffix.lower().removeprefix(".")
        # No form is guessed where the ending says none.
        if form not in FORMS:
            raise UsageError(f"{out}: its ending says in which form to write, and is one of {known}; or use --format.")
    if form is not None:
        FORMS[form].check()
    return form


def check_at_least(at_least: float | None) -> None:
    """Raise `UsageError` for a threshold that is no probability."""
    if at_least is not None and not 0 < at_least <= 1:
        raise UsageError(f"--at-least is a probability above 0 and at most 1, such as 0.8, not {at_least:g}.")


def check_separator(name: str | None) -> str | None:
    """Return what separates columns by its name; raises `UsageError` for another."""
    if name is not None and name not in SEPARATORS:
        raise UsageError(f"--separator is {', '.join(SEPARATORS)[:-5]} or tab, not '{name}'.")
    return None if name is None else SEPARATORS[name]


def kept_columns(asked: Asked, keep: Sequence[str] | None, form: str) -> list[str]:
    """Return the columns to write beside the predictions: those named, else in tables all, and in JSON none.

    `all` and `none` name them too. Raises `UsageError` for one that is not there.
    """
    if keep is None:
        return list(asked.columns) if FORMS[form].table else []
    if list(keep) in (["all"], ["none"]):
        return list(asked.columns) if keep[0] == "all" else []
    if missing := [name for name in keep if name not in asked.columns]:
        others = likewise([(f"'{name}'", "") for name in missing])
        there = ", ".join(asked.columns) or "none"
        raise UsageError(f"There is no column '{missing[0]}' to keep; there are {there}{others}.")
    # In the order in which they were named, each once.
    return list(dict.fromkeys(keep))


def write_predicted(rows: Iterable[Predicted], form: str, layout: Layout, out: Path) -> None:
    """Write predictions into a file, whole or not at all."""
    with whole_file(out) as partial:
        FORMS[form].save(rows, partial, layout)


# -- JSON ------------------------------------------------------------------------------------------------------------


def _json_row(predicted: Predicted, layout: Layout) -> dict[str, Any]:
    beside = {"row": predicted.row, "columns": dict(predicted.kept)} if layout.kept else {}
    return {**beside, **predicted.answer}


def _write_lines(rows: Iterable[Predicted], stream: TextIO, layout: Layout) -> None:
    for row in rows:
        stream.write(json.dumps(_json_row(row, layout), ensure_ascii=False, default=str) + "\n")
        # At once, as somebody may wait for each answer.
        stream.flush()


def _write_json(rows: Iterable[Predicted], stream: TextIO, layout: Layout) -> None:
    whole = [_json_row(own, layout) for own in rows]
    stream.write(json.dumps(whole, ensure_ascii=False, indent=1, default=str) + "\n")


# -- tables ----------------------------------------------------------------------------------------------------------


def _write_separated(rows: Iterable[Predicted], stream: TextIO, layout: Layout) -> None:
    writer = csv.writer(stream, delimiter=layout.separator, lineterminator="\r\n")
    writer.writerow(guarded(name) for name in layout.columns)
    for row in rows:
        writer.writerow(_cell(value, layout.separator) for value in layout.values(row))


def _write_tabbed(rows: Iterable[Predicted], stream: TextIO, layout: Layout) -> None:
    _write_separated(rows, stream, Layout(layout.kept, layout.fields, "\t"))


def _cell(value: Any, separator: str) -> str:
    if value is None:
        return ""
    # As JSON and spreadsheets have it, and not as Python.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # Ten digits: more are noise of float32.
        text = f"{value:.10g}"
        return text.replace(".", ",") if separator == ";" else text
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    # Texts alone can be formulas; numbers were written by us.
    return guarded(str(value))


def _save_parquet(rows: Iterable[Predicted], path: Path, layout: Layout) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    columns: list[list[Any]] = [[] for _ in layout.columns]
    for row in rows:
        for column, value in zip(columns, layout.values(row), strict=True):
            column.append(value)
    table = arrow.table([arrow.array(values) for values in columns], names=layout.columns)
    parquet.write_table(table, path, compression="zstd")


def _save_sheet(rows: Iterable[Predicted], path: Path, layout: Layout) -> None:
    save_workbook(layout.columns, map(layout.values, rows), path)


def _saving(
    write: Callable[[Iterable[Predicted], TextIO, Layout], None], encoding: str = "utf-8"
) -> Callable[[Iterable[Predicted], Path, Layout], None]:
    def save(rows: Iterable[Predicted], path: Path, layout: Layout) -> None:
        # Half of a surrogate pair is no UTF-8.
        with path.open("w", encoding=encoding, errors="replace", newline="") as stream:
            write(rows, stream, layout)

    return save


FORMS = {
    "csv": PredictionForm(_write_separated, _saving(_write_separated, "utf-8-sig"), table=True),
    "tsv": PredictionForm(_write_tabbed, _saving(_write_tabbed, "utf-8-sig"), table=True),
    "jsonl": PredictionForm(_write_lines, _saving(_write_lines)),
    "json": PredictionForm(_write_json, _saving(_write_json)),
    "parquet": PredictionForm(None, _save_parquet, table=True),
    "xlsx": PredictionForm(None, _save_sheet, table=True, check=check_workbook),
}

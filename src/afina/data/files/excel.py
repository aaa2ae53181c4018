"""Reading a spreadsheet's first sheet, values as they stand in its cells; formulas as what they last gave."""

import datetime
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as arrow

from afina.data.files.compression import COMPRESSED
from afina.data.files.delimited import header_of
from afina.errors import UsageError, likewise

__all__ = ["read_excel"]

_FORMULA = re.compile(rb"<(\w+:)?f[\s/>]")


def read_excel(path: Path, notes: list[str]) -> arrow.Table:
    """Return the table on the first sheet that holds anything; needs `pip install 'afina[excel]'`."""
    try:
        import openpyxl
    except ImportError:
        raise UsageError(
            f"{path}: reading .xlsx needs openpyxl (pip install 'afina[excel]'), or save the sheet as .csv (UTF-8)."
        ) from None
    if path.suffix.lower() in COMPRESSED:
        raise UsageError(f"{path}: a spreadsheet is compressed already; unpack it first.")
    try:
        sheets = _sheets(path, openpyxl)
    except Exception as error:  # a damaged file ends in any of a dozen kinds within openpyxl, XML and zip
        if isinstance(error, UsageError):
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UsageError(f"{path} is no readable .xlsx file ({why}); save the sheet as .csv (UTF-8).") from None
    filled = [title for title, rows in sheets.items() if rows]
    if not filled:
        raise UsageError(f"{path} is empty: none of its {len(sheets)} sheets holds anything.")
    if len(filled) > 1:
        notes.append(f"read its first sheet, '{filled[0]}', of {len(filled)} ({', '.join(filled)})")
    return _table(sheets[filled[0]], f"{path}, sheet '{filled[0]}'")


def _sheets(path: Path, openpyxl: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Return each sheet's rows from the first that holds anything; raises for formulas that nothing has computed yet."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and validations, which are no one's values
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
        # Formulas are in a second reading, which takes as long: only where there is one.
        if _has_formulas(file):
            # Read again with its formulas: the first reading has their values in place of them.
            formulas = openpyxl.load_workbook(file, read_only=True)
            for sheet in formulas.worksheets:
                _refuse_uncomputed(path, sheets[sheet.title], sheet)
    return {title: _from_first(rows) for title, rows in sheets.items()}


def _has_formulas(file: BinaryIO) -> bool:
    """Return whether a sheet's XML, prefixed or not, has an element `f`."""
    with zipfile.ZipFile(file) as parts:
        names = [name for name in parts.namelist() if "worksheets/" in name]
        return any(_FORMULA.search(parts.read(name)) for name in names)


def _from_first(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    first = next((place for place, row in enumerate(rows) if any(cell is not None for cell in row)), len(rows))
    return rows[first:]


def _refuse_uncomputed(path: Path, rows: list[tuple[Any, ...]], sheet: Any) -> None:
    """Raise where formulas have no stored values, so that their cells would seem empty: no spreadsheet has saved the file."""
    cells = [
        (value, cell)
        for values, row in zip(rows, sheet.iter_rows(), strict=False)
        for value, cell in zip(values, row, strict=False)
        if cell.data_type == "f"
    ]
    if cells and all(value is None for value, _ in cells):
        raise UsageError(
            f"{path}, sheet '{sheet.title}', cell {cells[0][1].coordinate}: the file does not hold this formula's value; "
            "open it in a spreadsheet and save it."
        )


def _table(rows: list[tuple[Any, ...]], place: str) -> arrow.Table:
    first, *rest = rows
    header = header_of(["" if cell is None else str(cell) for cell in first], place)
    # Notes beside the table have no name, and would be taken for texts of some row.
    width = len(header)
    wide = [number for number, row in enumerate(rest, start=2) if any(cell is not None for cell in row[width:])]
    if wide:
        others = likewise([(f"row {number}", "") for number in wide])
        raise UsageError(f"{place}, row {wide[0]}: it has more cells than the first row has column names{others}.")
    while rest and not any(cell is not None for cell in rest[-1]):
        rest.pop()  # rows that only have a format
    return arrow.table(
        {name: _cells([row[at] if at < len(row) else None for row in rest]) for at, name in enumerate(header)}
    )


def _cells(values: list[Any]) -> arrow.Array:
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    # A truth is a whole number to Python, so that only columns of one of the two are numbers.
    if kinds and (kinds <= {int} or kinds <= {bool}):
        return arrow.array(values)
    if kinds and kinds <= {int, float}:
        return arrow.array([None if value is None else float(value) for value in values], type=arrow.float64())
    written = [None if value is None or not str(value).strip() else _written(value) for value in values]
    return arrow.array(written, type=arrow.large_string())


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)

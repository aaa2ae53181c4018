"""Reading a spreadsheet's first sheet, values as they stand in its cells; formulas as what they last gave."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as arrow

from afina.data.compression import COMPRESSED
from afina.data.delimited import header_of
from afina.errors import UsageError

__all__ = ["read_excel"]


def read_excel(path: Path, notes: list[str]) -> arrow.Table:
    """Return the table on the first sheet that holds anything; needs `pip install 'afina[excel]'`."""
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise UsageError(
            f"{path}: reading .xlsx needs openpyxl (pip install 'afina[excel]'), or save the sheet as .csv (UTF-8)."
        ) from None
    if path.suffix.lower() in COMPRESSED:
        raise UsageError(f"{path}: a spreadsheet is compressed already; unpack it first.")
    try:
        with path.open("rb") as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UsageError(f"{path} is no readable .xlsx file ({error}); save the sheet as .csv (UTF-8).") from None
    filled = [title for title, rows in sheets.items() if any(cell is not None for row in rows for cell in row)]
    _refuse_formulas(path, sheets, openpyxl)
    if not filled:
        raise UsageError(f"{path} is empty: none of its {len(sheets)} sheets holds anything.")
    if len(filled) > 1:
        notes.append(f"read its first sheet, '{filled[0]}', of {len(filled)} ({', '.join(filled)})")
    return _table(sheets[filled[0]], f"{path}, sheet '{filled[0]}'")


def _refuse_formulas(path: Path, sheets: dict[str, list[tuple[Any, ...]]], openpyxl: Any) -> None:
    """Refuse formulas whose values no spreadsheet has stored yet: their cells would seem empty."""
    with path.open("rb") as file:
        book = openpyxl.load_workbook(file, read_only=True)
        for sheet in book.worksheets:
            for values, row in zip(sheets[sheet.title], sheet.iter_rows(), strict=False):
                for value, cell in zip(values, row, strict=False):
                    if value is None and cell.data_type == "f":
                        raise UsageError(
                            f"{path}, sheet '{sheet.title}', cell {cell.coordinate}: the file does not hold this formula's "
                            "value; open it in a spreadsheet and save it."
                        )
        book.close()


def _table(rows: list[tuple[Any, ...]], place: str) -> arrow.Table:
    first, *rest = rows
    header = header_of(["" if cell is None else str(cell) for cell in first], place)
    width = len(header)
    for number, row in enumerate(rest, start=2):
        if any(cell is not None for cell in row[width:]):
            raise UsageError(f"{place}, row {number}: it has more cells than the first row has column names.")
    while rest and not any(cell is not None for cell in rest[-1]):
        rest.pop()  # rows that only have a format
    return arrow.table(
        {name: _cells([row[at] if at < len(row) else None for row in rest]) for at, name in enumerate(header)}
    )


def _cells(values: list[Any]) -> arrow.Array:
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if kinds and (kinds <= {int} or kinds <= {bool}):
        return arrow.array(values)
    if kinds and kinds <= {int, float}:
        return arrow.array([None if value is None else float(value) for value in values], type=arrow.float64())
    written = [None if value is None or not str(value).strip() else _written(value) for value in values]
    return arrow.array(written, type=arrow.large_string())


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)

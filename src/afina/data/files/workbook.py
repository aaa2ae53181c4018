"""A table as a sheet of .xlsx: numbers stay numbers in any language's Excel, and no text is run as a formula."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from afina.errors import UsageError

__all__ = ["check_workbook", "save_workbook"]

_MOST_ROWS, _MOST_LETTERS = 1_048_576, 32_767
"""The most rows of a sheet, and the most characters of a cell."""


def check_workbook() -> None:
    """Raise `UsageError` where openpyxl is not installed."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise UsageError(
            "Writing .xlsx needs openpyxl (pip install 'afina[excel]'); .csv opens in Excel too."
        ) from None


def save_workbook(columns: Sequence[str], rows: Iterable[Sequence[Any]], path: Path) -> None:
    """Write a sheet with a line of names; raises `UsageError` for more rows than a sheet holds."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet("afina")

    def cell(value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else str(value)
        made = WriteOnlyCell(sheet, "")
        made.value = ILLEGAL_CHARACTERS_RE.sub("", text)[:_MOST_LETTERS]
        made.data_type = "s"  # also where it begins like a formula
        return made

    sheet.append([cell(name) for name in columns])
    for count, row in enumerate(rows, start=2):
        if count > _MOST_ROWS:
            raise UsageError(f"A sheet holds {_MOST_ROWS:,} rows, and there are more; write .csv or .parquet.")
        sheet.append([cell(value) for value in row])
    with path.open("wb") as file:
        book.save(file)

"""Tell what a person wrote into a cell of a table, whatever the program that kept the table made of it."""

from typing import Any

__all__ = ["cell_text"]


def cell_text(value: Any) -> str:
    """Return a cell's value as text, empty where it is missing.

    Whole numbers have no point: a column with a hole in it may hold 1 as 1.0.
    """
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()

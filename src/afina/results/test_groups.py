"""The groups of a study's test rows by a column of its data, stored in its folder: its report reads no data."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afina.data.cell_text import cell_text
from afina.errors import AfinaError
from afina.json_files import read_json_object
from afina.whole_file import write_json

__all__ = ["read_test_groups", "write_test_groups"]


def _path(directory: Path, digest: str, column: str) -> Path:
    # A column may be called by what no file may.
    name = hashlib.sha256(column.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return directory / "cache" / f"groups-{digest[:16]}-{name}.json"


def write_test_groups(directory: Path, digest: str, column: str, values: Sequence[Any]) -> None:
    """Keep the values of a column, one a test row."""
    texts = [cell_text(value) or None for value in values]
    write_json(_path(directory, digest, column), {"column": column, "values": texts})


def read_test_groups(directory: Path, digest: str, column: str, rows: int) -> list[str | None] | None:
    """Return a column's values of the test rows; None where they are gone, or are those of other rows."""
    try:
        stored = read_json_object(_path(directory, digest, column))
    except (AfinaError, FileNotFoundError):
        return None
    values = stored.get("values")
    if stored.get("column") != column or not isinstance(values, list) or len(values) != rows:
        return None
    return values if all(value is None or isinstance(value, str) for value in values) else None

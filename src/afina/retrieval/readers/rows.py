"""Tables: each row of a CSV, JSONL, parquet and so on is a page of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afina.data.files.tables import read_table
from afina.errors import UsageError, nearest
from afina.retrieval.readers.base import Document, FileReader, PageText, plain, reader

__all__ = ["RowsReader"]


@reader("rows")
class RowsReader(FileReader):
    """Reads a table's rows: all columns as lines `name: value`, or the columns that were named, one below the other."""

    endings = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".xlsx")
    most_bytes = 1 << 30
    counts = "row"

    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        assumed: list[str] = []
        table = read_table(path, assumed)
        for name in columns or ():
            if name not in table.column_names:
                raise UsageError(f"{path} has no column '{name}'{nearest(name, table.column_names)}")
        names = columns or tuple(table.column_names)
        values = [table.column(name).to_pylist() for name in names]
        # A single column is the text itself, whatever it is called.
        labels = names if columns is None and len(names) > 1 else None
        pages = [PageText(_text(row, labels), number) for number, row in enumerate(zip(*values, strict=True), start=1)]
        blank = sum(not page.text.strip() for page in pages)
        notes = [note.removeprefix(f"{path.name}: ") for note in assumed]
        if blank:
            notes.append(f"{blank:,} of {len(pages):,} rows without text")
        return Document([page for page in pages if page.text.strip()], notes)


def _text(row: Sequence[Any], labels: Sequence[str] | None) -> str:
    cells = ["" if value is None else plain(str(value)).strip() for value in row]
    if labels is None:
        return "\n\n".join(cell for cell in cells if cell)
    return "\n".join(f"{label}: {cell}" for label, cell in zip(labels, cells, strict=True) if cell)

"""DOCX: read paragraphs, tables and headings of a Word document (python-docx)."""

import re
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.retrieval.extra import needed
from afina.retrieval.readers.base import Document, FileReader, Heading, PageText, plain, reader

__all__ = ["Word"]

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


@reader("docx")
class Word(FileReader):
    """Reads Word documents; they know no pages before they are printed."""

    endings = (".docx",)

    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        docx = needed("docx", "Reading DOCX")
        try:
            file = docx.Document(str(path))
        except Exception:  # a foreign file may make anything go wrong in there
            raise UsageError(f"{path} is no readable DOCX; save it again.") from None
        parts: list[str] = []
        headings: list[Heading] = []
        start = 0
        for block in file.iter_inner_content():
            is_table = hasattr(block, "rows")
            text = plain(_table(block) if is_table else block.text).strip("\n")
            if not text.strip():
                continue
            if not is_table and (level := _level(block)):
                headings.append(Heading(start, level, text.strip()))
            parts.append(text)
            start += len(text) + 2
        return Document([PageText("\n\n".join(parts), headings=tuple(headings))])


def _level(paragraph: Any) -> int:
    """Return a heading's level, 0 for other paragraphs; the styles' names are English in the file in any language."""
    name = getattr(paragraph.style, "name", None) or ""
    if name.lower() == "title":
        return 1
    match = _HEADING.fullmatch(name)
    return int(match[1]) if match else 0


def _table(table: Any) -> str:
    """Return a table's rows as lines; a merged cell stands once."""
    lines = []
    for row in table.rows:
        cells = list({id(cell._tc): cell.text.replace("\n", " ").strip() for cell in row.cells}.values())
        lines.append(" | ".join(cells))
    return "\n".join(line for line in lines if line.strip(" |"))

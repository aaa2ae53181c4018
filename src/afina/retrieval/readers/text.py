"""Text: a file as it stands, in whatever encoding can be told."""

from pathlib import Path

from afina.data.files.tables import read_text
from afina.errors import UsageError
from afina.retrieval.readers.base import Document, FileReader, PageText, plain, reader

__all__ = ["Text", "decoded"]

_FEW = 0.01
"""Share of control characters from which a file is no text: a program's bytes are full of them."""


def decoded(path: Path, notes: list[str]) -> str:
    """Return the text of a file; raises `UsageError` for one that holds none."""
    if path.stat().st_size == 0:
        return ""
    text = read_text(path, notes)
    odd = sum(letter < " " and letter not in "\t\n\r\f\v\x1b" for letter in text[:100_000])
    if odd > _FEW * min(len(text), 100_000):
        raise UsageError(f"{path} is no text: it holds the bytes of another kind of file; name it by what it is.")
    return plain(text)


@reader("text")
class Text(FileReader):
    """Reads plain text; blank lines divide its paragraphs."""

    endings = (".txt", ".text", ".log")

    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        notes: list[str] = []
        return Document([PageText(decoded(path, notes))], notes)

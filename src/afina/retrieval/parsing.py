"""Read a file and cut it: what is kept of a document, by whose bytes it is file again."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from afina.errors import UsageError
from afina.retrieval.collecting import Found
from afina.retrieval.cutting import ChunkPlace, Cutter
from afina.retrieval.readers.base import reader_of

__all__ = ["CutPage", "ParsedFile", "parse"]


@dataclass(frozen=True)
class CutPage:
    """Holds a page's text with its chunks."""

    text: str
    number: int | None
    pieces: Sequence[ChunkPlace]


@dataclass(frozen=True)
class ParsedFile:
    """Holds a file's pages, or in `problem` why it has none."""

    reader: str
    pages: Sequence[CutPage] = ()
    notes: Sequence[str] = ()
    problem: str = ""

    def packed(self) -> bytes:
        """Return it as bytes, which `unpacked` reads."""
        pages = [[page.text, page.number, [vars(piece) for piece in page.pieces]] for page in self.pages]
        values = [self.reader, pages, list(self.notes), self.problem]
        # Hardly packed, as it is read back within minutes.
        return zlib.compress(json.dumps(values, ensure_ascii=False).encode(), level=1)

    @classmethod
    def unpacked(cls, data: bytes) -> "ParsedFile":
        """Return what was packed."""
        reader, pages, notes, problem = json.loads(zlib.decompress(data))
        made = [CutPage(text, number, [ChunkPlace(**piece) for piece in pieces]) for text, number, pieces in pages]
        return cls(reader, made, notes, problem)


def parse(file: Found, cutter: Cutter, columns: tuple[str, ...] | None) -> ParsedFile:
    """Read a file and cut its pages; what is wrong with it is a sentence in `problem`."""
    # By its size alone, before a byte of it is in memory.
    reader = reader_of(file.path)
    if file.size > reader.most_bytes:
        size, most = file.size / (1 << 20), reader.most_bytes >> 20
        problem = f"it has {size:,.0f} MB, and at most {most:,} MB are read as one document; divide it"
        return ParsedFile(reader.name, problem=problem)
    try:
        document = reader.read(file.path, columns)
    except UsageError as error:
        return ParsedFile(reader.name, problem=_without(str(error), file))
    except (OSError, MemoryError, RecursionError) as error:
        # A damaged file is one document less, and no end of the run.
        return ParsedFile(
            reader.name, problem=f"it cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
        )
    pages = [CutPage(page.text, page.number, cutter.cut(page)) for page in document.pages]
    notes = list(document.notes)
    # Scanned pages have no text; why is what the reader noted of the first.
    if not any(page.pieces for page in pages):
        return ParsedFile(reader.name, problem=f"it holds no text: {notes[0]}" if notes else "it holds no text")
    return ParsedFile(reader.name, pages, notes)


def _without(sentence: str, file: Found) -> str:
    """Return what is wrong with a file without its name, which stands before it wherever it is said."""
    for start in (f"{file.path} ", f"{file.path}, ", f"{file.path}: "):
        sentence = sentence.removeprefix(start)
    return sentence.rstrip(".")

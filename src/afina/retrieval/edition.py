"""Read and write one edition of an index: its files, their texts and the chunks, in a folder that is written once.

`chunks.db` (SQLite) holds them. A page's text lies in blocks, so that a chunk is read without its page. Chunks have rows,
0 to N-1, in the order of files, pages and places; a chunk whose text stands before it already has no row of its own (`same`).
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from afina.errors import AfinaError
from afina.registry import listing
from afina.retrieval.cutting import ChunkPlace
from afina.retrieval.parsing import CutPage, ParsedFile

__all__ = ["Chunk", "Edition", "EditionWriter", "FileRow", "text_digest"]

_BLOCK = 1 << 16
"""Characters of a block of text."""
_LEAD = 200
"""Characters of the headings before a chunk that are read with it, the lowest ones."""

_TABLES = """
CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT UNIQUE, digest TEXT, size INTEGER, reader TEXT, notes TEXT,
                    problem TEXT);
CREATE TABLE pages (id INTEGER PRIMARY KEY, file INTEGER, number INTEGER, characters INTEGER);
CREATE TABLE blocks (page INTEGER, place INTEGER, text TEXT, PRIMARY KEY (page, place)) WITHOUT ROWID;
CREATE TABLE chunks (id INTEGER PRIMARY KEY, page INTEGER, start INTEGER, stop INTEGER, heading TEXT, lead TEXT, digest BLOB,
                     row INTEGER, same INTEGER);
"""
_INDICES = """
CREATE UNIQUE INDEX chunk_of_row ON chunks (row) WHERE row IS NOT NULL;
CREATE INDEX chunks_of_same ON chunks (same) WHERE same IS NOT NULL;
CREATE INDEX pages_of_file ON pages (file);
CREATE INDEX chunks_of_page ON chunks (page);
"""


@dataclass(frozen=True)
class FileRow:
    """Says what the index knows of a file."""

    name: str
    digest: str
    size: int
    reader: str
    notes: tuple[str, ...]
    problem: str
    """Why nothing of it is in the index, where nothing is."""


@dataclass(frozen=True)
class Chunk:
    """A passage with its place: `text` is the page's text from `start` to `stop`."""

    file: str
    page: int | None
    heading: str
    start: int
    stop: int
    text: str
    lead: str = ""
    reader: str = ""

    @property
    def counts(self) -> str:
        """Return what its page's number counts: pages, or rows of a table."""
        entry = listing("afina.retrieval.readers", "reader").get(self.reader)
        return str(entry.constants.get("counts", "page")) if entry else "page"

    @property
    def read(self) -> str:
        """Return what is compared with questions: the headings above it, and the passage."""
        return read_text(self.lead, self.text)


def read_text(lead: str, text: str) -> str:
    """Return a chunk's text below the headings that stand before it."""
    return f"{lead[-_LEAD:]}\n{text}" if lead else text


def text_digest(text: str) -> bytes:
    """Return 16 bytes that tell texts apart, whatever their spaces and line ends."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=16).digest()


class EditionWriter:
    """Writes the files and chunks of a new edition."""

    def __init__(self, folder: Path) -> None:
        self.base = sqlite3.connect(folder / "chunks.db")
        # No journal: a folder that was not finished is never opened, and is thrown away whole.
        self.base.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES}")

    def add(self, name: str, digest: str, size: int, parsed: ParsedFile) -> None:
        """Add a file, after those whose names come before its own."""
        cursor = self.base.cursor()
        cursor.execute(
            "INSERT INTO files (name, digest, size, reader, notes, problem) VALUES (?, ?, ?, ?, ?, ?)",
            (name, digest, size, parsed.reader, json.dumps(list(parsed.notes)), parsed.problem),
        )
        file = cursor.lastrowid
        for page in parsed.pages:
            cursor.execute(
                "INSERT INTO pages (file, number, characters) VALUES (?, ?, ?)", (file, page.number, len(page.text))
            )
            number = cursor.lastrowid
            # In blocks, as a chunk is read without the rest of a long page.
            blocks = range(0, len(page.text), _BLOCK)
            cursor.executemany(
                "INSERT INTO blocks VALUES (?, ?, ?)",
                ((number, place, page.text[start : start + _BLOCK]) for place, start in enumerate(blocks)),
            )
            cursor.executemany(
                "INSERT INTO chunks (page, start, stop, heading, lead, digest) VALUES (?, ?, ?, ?, ?, ?)",
                ((number, one.start, one.stop, one.heading, one.lead, _digest(page, one)) for one in page.pieces),
            )

    def once(self) -> list[tuple[int, bytes]]:
        """Return number and digest of each chunk whose text no chunk before it has; note of the others whose it is."""
        first: dict[bytes, int] = {}
        same: list[tuple[int, int]] = []
        for number, digest in self.base.execute("SELECT id, digest FROM chunks ORDER BY id"):
            # The first by place is kept; the others are its further places.
            if (earlier := first.setdefault(digest, number)) != number:
                same.append((earlier, number))
        self.base.executemany("UPDATE chunks SET same = ? WHERE id = ?", same)
        return [(number, digest) for digest, number in first.items()]

    def near(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Note chunks (later, earlier) that are nearly the same; what was the same as the later one is the earlier one's."""
        # Chains end at the earliest: what was the same as a later one is now the earlier one's.
        self.base.executemany("UPDATE chunks SET same = ? WHERE same = ?", [(first, later) for later, first in pairs])
        self.base.executemany("UPDATE chunks SET same = ? WHERE id = ?", [(first, later) for later, first in pairs])

    def number(self) -> int:
        """Give rows to the chunks that are kept, and return how many they are."""
        ids = [row[0] for row in self.base.execute("SELECT id FROM chunks WHERE same IS NULL ORDER BY id")]
        self.base.executemany("UPDATE chunks SET row = ? WHERE id = ?", enumerate(ids))
        # Indices after all rows: kept up row by row they would take most of the time.
        self.base.executescript(_INDICES)
        self.base.commit()
        return len(ids)


def _digest(page: CutPage, piece: ChunkPlace) -> bytes:
    return text_digest(read_text(piece.lead, page.text[piece.start : piece.stop]))


class Edition:
    """Reads the files and chunks of an edition."""

    def __init__(self, folder: Path, *, base: sqlite3.Connection | None = None) -> None:
        """Open it to be read only; raises `AfinaError` where it is damaged."""
        self.folder = folder
        path = folder / "chunks.db"
        if base is None and not path.is_file():
            raise AfinaError(f"{path} is gone; make the index again.")
        # Immutable: an edition is written once, and SQLite need not lock or look for a journal.
        uri = f"file:{_quoted(path)}?mode=ro&immutable=1"
        self.base = base or sqlite3.connect(uri, uri=True, check_same_thread=False)

    def close(self) -> None:
        """Close the data base."""
        self.base.close()

    def files(self) -> list[FileRow]:
        """Return all files by name."""
        rows = self.base.execute("SELECT name, digest, size, reader, notes, problem FROM files ORDER BY name")
        return [
            FileRow(name, digest, size, reader, tuple(json.loads(notes)), problem)
            for name, digest, size, reader, notes, problem in rows
        ]

    def parsed(self, digest: str, reader: str) -> ParsedFile | None:
        """Return the pages and chunks of a file with these bytes, if it has one that was read so."""
        row = self.base.execute(
            "SELECT id, notes, problem FROM files WHERE digest = ? AND reader = ?", (digest, reader)
        ).fetchone()
        if row is None:
            return None
        pages = []
        for page, number in self.base.execute(
            "SELECT id, number FROM pages WHERE file = ? ORDER BY id", row[:1]
        ).fetchall():
            # In order, so that blocks put together are the page.
            blocks = self.base.execute("SELECT text FROM blocks WHERE page = ? ORDER BY place", (page,))
            pieces = self.base.execute(
                "SELECT start, stop, heading, lead FROM chunks WHERE page = ? ORDER BY id", (page,)
            )
            pages.append(
                CutPage("".join(block[0] for block in blocks), number, [ChunkPlace(*piece) for piece in pieces])
            )
        return ParsedFile(reader, pages, json.loads(row[1]), row[2])

    def chunk(self, row: int) -> Chunk:
        """Return the chunk of a row, read from its page's text."""
        return self._chunks("c.row = ?", row)[0]

    def places(self, row: int) -> list[Chunk]:
        """Return where else a row's text stands: chunks that are the same, or nearly."""
        return self._chunks("c.same = (SELECT id FROM chunks WHERE row = ?)", row)

    def _chunks(self, where: str, row: int) -> list[Chunk]:
        rows = self.base.execute(
            "SELECT c.page, f.name, p.number, c.heading, c.start, c.stop, c.lead, f.reader FROM chunks c "
            f"JOIN pages p ON p.id = c.page JOIN files f ON f.id = p.file WHERE {where} ORDER BY c.id",
            (row,),
        ).fetchall()
        return [
            Chunk(file, number, heading, start, stop, self._text(page, start, stop), lead, reader)
            for page, file, number, heading, start, stop, lead, reader in rows
        ]

    def _text(self, page: int, start: int, stop: int) -> str:
        # Only the blocks that the span touches.
        first = start // _BLOCK
        rows = self.base.execute(
            "SELECT text FROM blocks WHERE page = ? AND place BETWEEN ? AND ? ORDER BY place",
            (page, first, max(first, (stop - 1) // _BLOCK)),
        )
        return "".join(row[0] for row in rows)[start - first * _BLOCK : stop - first * _BLOCK]

    def page_text(self, file: str, page: int | None) -> str:
        """Return the text of a file's page, of which spans count the characters; empty where there is none."""
        rows = self.base.execute(
            "SELECT b.text FROM blocks b JOIN pages p ON p.id = b.page JOIN files f ON f.id = p.file "
            "WHERE f.name = ? AND p.number IS ? ORDER BY b.place",
            (file, page),
        )
        return "".join(row[0] for row in rows)

    def pages(self) -> Iterator[tuple[int, str, str]]:
        """Yield every page: its number here, its file's name and its text."""
        query = "SELECT p.id, f.name, p.characters FROM pages p JOIN files f ON f.id = p.file ORDER BY p.id"
        for page, file, size in self.base.execute(query).fetchall():
            yield page, file, self._text(page, 0, size)

    def rows_at(self, page: int, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return the chunks of a page that have any of a span: each one's row (that of the same words), start and stop."""
        rows: list[tuple[int, int, int]] = self.base.execute(
            "SELECT coalesce(c.row, s.row), c.start, c.stop FROM chunks c LEFT JOIN chunks s ON s.id = c.same "
            "WHERE c.page = ? AND c.start < ? AND c.stop > ? ORDER BY c.start",
            (page, stop, start),
        ).fetchall()
        return rows

    def texts(self, start: int = 0) -> Iterator[str]:
        """Yield what is compared of each row, in order, from a row on."""
        page, whole = -1, ""
        query = "SELECT page, start, stop, lead FROM chunks WHERE row >= ? ORDER BY row"
        for number, begin, end, lead in self.base.execute(query, (start,)):
            # Chunks come page by page, so that each page is read once.
            if number != page:
                (size,) = self.base.execute("SELECT characters FROM pages WHERE id = ?", (number,)).fetchone()
                page, whole = number, self._text(number, 0, size)
            yield read_text(lead, whole[begin:end])

    def text_of(self, number: int) -> str:
        """Return what is compared of a chunk by its number, whether it has a row or not."""
        query = "SELECT page, start, stop, lead FROM chunks WHERE id = ?"
        page, start, stop, lead = self.base.execute(query, (number,)).fetchone()
        return read_text(lead, self._text(page, start, stop))

    def digests(self) -> list[bytes]:
        """Return the digest of each row's text, in order."""
        return [row[0] for row in self.base.execute("SELECT digest FROM chunks WHERE row IS NOT NULL ORDER BY row")]

    def counts(self) -> dict[str, int]:
        """Return how many files, pages and chunks there are, and how many chunks stand there already."""
        queries = {
            "files": "SELECT count(*) FROM files WHERE problem = ''",
            "pages": "SELECT count(*) FROM pages",
            "chunks": "SELECT count(*) FROM chunks WHERE row IS NOT NULL",
            "same": "SELECT count(*) FROM chunks WHERE same IS NOT NULL",
            "characters": "SELECT coalesce(sum(characters), 0) FROM pages",
        }
        return {name: int(self.base.execute(query).fetchone()[0]) for name, query in queries.items()}


def _quoted(path: Path) -> str:
    """Return a path as a URI of SQLite's takes it."""
    from urllib.parse import quote

    return quote(str(path.absolute()))

"""Keep what a run has done until its index stands: texts that were read, vectors that were computed.

A data base of its own beside the editions; each entry is written whole, so that after a kill at any moment the next run has
all but what was in hand.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from afina.retrieval.parsing import ParsedFile

__all__ = ["IndexJournal"]


class IndexJournal:
    """Holds the work of a run that may be broken off."""

    def __init__(self, path: Path, key: str) -> None:
        """Open what an earlier run left, if it was done by the same settings (`key`); else begin anew."""
        self.path = path
        self._base = self._opened(key)

    def _opened(self, key: str) -> sqlite3.Connection:
        try:
            base = self._made()
            row = base.execute("SELECT key FROM settings").fetchone()
            # Other settings would have cut and computed otherwise.
            if row is not None and row[0] == key:
                return base
            base.close()
        except sqlite3.DatabaseError:  # of a disk that was full, say
            pass
        self.path.unlink(missing_ok=True)
        base = self._made()
        base.execute("INSERT INTO settings VALUES (?)", (key,))
        base.commit()
        return base

    def _made(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.path)
        base.execute("CREATE TABLE IF NOT EXISTS settings (key TEXT)")
        base.execute("CREATE TABLE IF NOT EXISTS files (digest TEXT PRIMARY KEY, parsed BLOB)")
        base.execute("CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, vector BLOB)")
        return base

    def parsed(self, digest: str) -> ParsedFile | None:
        """Return what was read of a file with these bytes, if it was."""
        row = self._base.execute("SELECT parsed FROM files WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else ParsedFile.unpacked(row[0])

    def keep_parsed(self, digest: str, parsed: ParsedFile) -> None:
        """Keep what was read of a file."""
        self._base.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (digest, parsed.packed()))
        # After each file: what is in hand is all that a kill may cost.
        self._base.commit()

    def has_vectors(self) -> set[bytes]:
        """Return the digests of texts whose vectors were computed."""
        return {row[0] for row in self._base.execute("SELECT digest FROM vectors")}

    def keep_vectors(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep vectors (N, D) float32 of texts."""
        # As bytes of float32, whatever the order in which they are asked for again.
        rows = ((digest, vector.tobytes()) for digest, vector in zip(digests, vectors, strict=True))
        self._base.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        self._base.commit()

    def vectors(self, digests: Iterable[bytes]) -> Iterator[np.ndarray]:
        """Yield the vectors of texts, each (D,)."""
        for digest in digests:
            (data,) = self._base.execute("SELECT vector FROM vectors WHERE digest = ?", (digest,)).fetchone()
            yield np.frombuffer(data, dtype=np.float32)

    def close(self) -> None:
        """Close the data base; what it holds stays."""
        self._base.close()

    def remove(self) -> None:
        """Close it and remove it: the index stands."""
        self.close()
        self.path.unlink(missing_ok=True)

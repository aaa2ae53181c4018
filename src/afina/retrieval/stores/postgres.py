"""PostgreSQL: compare a question with every vector in a data base with pgvector, which several machines may search.

A table holds the vectors of all indices, each edition under a name of its own that its folder knows. They are compared one by
one, so that the answers are those of exact search.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.retrieval.extra import needed
from afina.retrieval.representations.base import NOTHING
from afina.retrieval.stores.base import ELSEWHERE, Store, store

__all__ = ["Postgres"]

_TABLE = "afina_vectors"
_LOCK = 4_127_023_117
"""Number of the lock under which the table is made: two that make it at one time would fail."""
_OPERATORS = {"cosine": "<#>", "dot": "<#>", "euclidean": "<->"}
"""pgvector's distances: minus the dot product, which of vectors of length 1 is minus the cosine, and Euclid's."""
_WAIT = 10
"""Seconds that a data base may take to answer the first time."""


@store("postgresql")
class Postgres(Store):
    """Searches all vectors in a data base."""

    scheme = "postgresql://"

    def __init__(self, address: str) -> None:
        super().__init__(address)
        if urlsplit(address).password:
            raise UsageError(
                "--store keeps its address in the index, where a password would be read: leave it out there, and give it by "
                "the variable PGPASSWORD or the file ~/.pgpass."
            )

    def build(self, vectors: np.ndarray, folder: Path, corpus: Any, similarity: str) -> dict[str, Any]:
        name = str(uuid.uuid4())
        # The name is written first: what a kill leaves in the data base is found again, and removed with the folder.
        (folder / ELSEWHERE).write_text(json.dumps([self.address, name]), "utf-8")
        with self._connected() as base:
            # For this transaction: two that make the table at one time would fail.
            base.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            try:
                base.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except needed("psycopg", "A store in PostgreSQL").Error as error:
                raise AfinaError(
                    f"The data base at {self._place()} lacks pgvector ({_first(error)}): install it there, and CREATE "
                    "EXTENSION vector."
                ) from None
            base.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} (edition uuid, row integer, vector vector, PRIMARY KEY (edition, row))"
            )
            # COPY, as a row at a time would take hours for a million.
            with base.cursor().copy(f"COPY {_TABLE} (edition, row, vector) FROM STDIN") as copy:
                for row, vector in enumerate(vectors):
                    if row % 1000 == 0:
                        corpus.tell("storing vectors", row, len(vectors))
                    copy.write_row((name, row, _text(vector)))
        return {}

    def open(self, vectors: np.ndarray, folder: Path, similarity: str) -> None:
        self.similarity, self.edition = similarity, json.loads((folder / ELSEWHERE).read_text("utf-8"))[1]

    def search(self, questions: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        best = np.full((len(questions), most), -np.inf, dtype=np.float32)
        rows = np.full((len(questions), most), NOTHING, dtype=np.int64)
        operator = _OPERATORS[self.similarity]
        with self._connected() as base:
            for number, question in enumerate(questions):
                nearest = base.execute(
                    f"SELECT row, vector {operator} %s::vector AS away FROM {_TABLE} WHERE edition = %s ORDER BY away, row "
                    "LIMIT %s",
                    (_text(question), self.edition, most),
                ).fetchall()
                # The folder is there and its rows are not: somebody emptied the data base.
                if not nearest:
                    raise AfinaError(
                        f"The vectors of the index are gone from {self._place()}: make it anew with --force."
                    )
                rows[number, : len(nearest)] = [row for row, _ in nearest]
                # Distances are smaller the nearer, scores larger.
                best[number, : len(nearest)] = [-away for _, away in nearest]
        return best, rows

    def remove(self, folder: Path) -> None:
        with self._connected() as base:
            name = json.loads((folder / ELSEWHERE).read_text("utf-8"))[1]
            # Where there is no table there is nothing to remove.
            if base.execute("SELECT to_regclass(%s)", (_TABLE,)).fetchone()[0] is not None:
                base.execute(f"DELETE FROM {_TABLE} WHERE edition = %s", (name,))

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Give a connection, whose work stands when the block ends well; raises `AfinaError` where there is none."""
        psycopg = needed("psycopg", "A store in PostgreSQL")
        try:
            connection = psycopg.connect(self.address, connect_timeout=_WAIT)
        except psycopg.Error as error:
            raise AfinaError(f"The data base at {self._place()} does not answer ({_first(error)}).") from None
        try:
            with connection:
                yield connection
        except psycopg.Error as error:
            raise AfinaError(
                f"The data base at {self._place()} refused ({_first(error)}); what stood before stays."
            ) from None

    def _place(self) -> str:
        """Return the address without what may be secret in it."""
        # Names of users are in the address too, and not in the sentence.
        parts = urlsplit(self.address)
        return f"{parts.hostname or 'this machine'}{parts.path}"


def _text(vector: np.ndarray) -> str:
    # By `repr`, which gives every digit back.
    return f"[{','.join(map(repr, np.asarray(vector, np.float32).tolist()))}]"


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]

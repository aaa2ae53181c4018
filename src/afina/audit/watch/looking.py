"""Look at windows of rows through an adapter: what is kept of each, from an earlier look where there was one."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.audit.watch.rows import NewRow
from afina.audit.watch.windows import RowWindow
from afina.data.labels.given import as_names
from afina.drift.answering import named_truth, seen_of
from afina.drift.reference import AdapterReference, read_seen, save_seen
from afina.drift.seen import Seen
from afina.drift.timeline import FEWEST, Window
from afina.errors import AfinaError
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task

__all__ = ["Look", "Unlike"]

_VECTORS = 256
"""Rows of a window that get a vector."""
_NEAREST = 5
"""Earlier rows whose mean distance says how unlike a row is."""


@dataclass(frozen=True)
class Unlike:
    """Holds a row that is unlike what the adapter was tested on."""

    place: str
    text: str
    distance: float
    """The mean distance to the nearest five earlier rows, in that of an earlier row to its own nearest five."""
    label: str | None


@dataclass
class Look:
    """Looks at windows one after another; the adapter is loaded when a window is new."""

    reference: AdapterReference
    task: Task
    load: Callable[[], Predictor]
    labels: Mapping[str, Any] = field(default_factory=dict)
    """Right answers that came later, by the id of their row."""
    cache: Path | None = None
    """The folder of what was kept of earlier looks."""
    batch_size: int = 32
    labelled: int = 0
    """Rows whose right answer is known, of all that were looked at."""
    numbered: bool = False
    """True where right answers are places among the adapter's labels, and not their names."""
    strange: Counter[str] = field(default_factory=Counter)
    """Right answers that are none of the adapter's labels, which no answer of its can be."""

    def at(self, window: RowWindow) -> tuple[Window, list[NewRow]]:
        """Return what is kept of a window, and its rows in the same order."""
        # In an order of chance: the first rows get a vector, and those of a morning are not those of a day.
        order = np.random.default_rng([0, *window.name.encode()]).permutation(len(window.rows))
        rows = [window.rows[place] for place in order]
        # Too few to be tested are not answered either.
        if len(rows) < FEWEST:
            return Window(
                window.name, self.reference.seen.take(np.zeros(0, dtype=int)), window.start, window.count
            ), rows
        seen = self._seen(rows)
        truth = [self._right(row) for row in rows]
        if self.task.label_names is not None and not self.task.several:
            self.numbered = self.numbered or as_names(truth, self.task.label_names)[1]
        more: dict[str, Any] = {"truth": named_truth(self.task, truth)}
        if any(row.group for row in rows):
            more["group"] = np.array([row.group for row in rows], dtype=str)
        seen = replace(seen, **more)
        self._count(seen)
        return Window(window.name, seen, window.start, window.count), rows

    def _count(self, seen: Seen) -> None:
        self.labelled += int(seen.known.sum())
        names = self.task.label_names
        if names is not None and seen.truth is not None and not self.task.several:
            self.strange.update(name for name in seen.truth[seen.known].tolist() if name not in names)

    def _right(self, row: NewRow) -> Any:
        return row.label if row.label is not None else self.labels.get(row.id or "")

    def _seen(self, rows: Sequence[NewRow]) -> Seen:
        """Return what is kept of rows, from an earlier look at these very rows with this very adapter if there was one."""
        path = None if self.cache is None else self.cache / f"{self._mark(rows)}.npz"
        if path is not None and path.is_file():
            try:
                return read_seen(path)
            except AfinaError:
                pass  # it is damaged, and is made again
        pairs = [row.text_pair or "" for row in rows] if any(row.text_pair is not None for row in rows) else None
        seen = seen_of(
            self.load(), self.reference.vocabulary, [row.text for row in rows], pairs, vectors=_VECTORS,
            batch_size=self.batch_size,
        )  # fmt: skip
        if path is not None:
            save_seen(path, seen)
        return seen

    def _mark(self, rows: Sequence[NewRow]) -> str:
        """Return what tells these rows, in this order, from any others; labels may come later and are no part of it."""
        digest = hashlib.sha256(f"{self.reference.adapter} {self.reference.mark} {_VECTORS}\0".encode())
        for row in rows:
            for text in (row.text, row.text_pair or ""):
                digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()[:32]

    def unlike(self, window: Window, rows: Sequence[NewRow], most: int) -> list[Unlike]:
        """Return those of a window's rows that are most unlike the earlier ones."""
        earlier, vectors = (each.astype(np.float32) for each in (self.reference.seen.vectors, window.seen.vectors))
        if len(earlier) <= _NEAREST or not len(vectors):
            return []
        # Of an earlier row the nearest is itself.
        usual = np.median(np.sort(_distances(earlier, earlier), axis=1)[:, 1 : _NEAREST + 1].mean(axis=1)) or 1.0
        far = np.sort(_distances(vectors, earlier), axis=1)[:, :_NEAREST].mean(axis=1) / usual
        labels = window.seen.label
        return [
            Unlike(
                rows[place].place, rows[place].text, float(far[place]), None if labels is None else str(labels[place])
            )
            for place in np.argsort(-far, kind="stable")[:most]
        ]


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))

"""Find test rows that stand among the train rows, word for word or nearly: what they measure was learned by heart.

Word for word is whatever the case, the spaces and the punctuation; nearly is by MinHash (`near_duplicates.py`).
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from afina.corpus.near_duplicates import PERMUTATIONS, digest, most_alike, signature

__all__ = ["LeakedRow", "Leaks", "TrainMarks"]

_MOST_TRAIN, _MOST_TEST = 200_000, 20_000
"""Rows that are looked at for near-duplicates; equal ones are looked for among all."""
_LETTERS = 5_000
"""Letters of a text that are compared: of a long one its beginning tells."""
_KEPT = 1_000
"""Rows of each kind that are listed."""
_SHOWN = 160


@dataclass(frozen=True)
class LeakedRow:
    """Shows a test row that stands among the train rows."""

    test: str
    """Its place."""
    train: str
    """The place of the train row that it is, or is nearly."""
    similarity: float
    text: str


@dataclass(frozen=True)
class Leaks:
    """Says how many test rows stand among the train rows."""

    train_rows: int
    test_rows: int
    exact: int
    """Test rows that are train rows, whatever the case, spaces and punctuation."""
    near: int
    """Test rows that are nearly one and none of these."""
    similarity: float
    looked_near: int
    """Test rows that were looked at for near ones."""
    rows: list[LeakedRow] = field(default_factory=list)
    """The first thousand equal ones, then a thousand near ones, the nearest first."""

    @property
    def share(self) -> float:
        """Return the share of the test rows that stand among the train rows; of a sample where only one was looked at."""
        return self.exact / max(1, self.test_rows) + self.near / max(1, self.looked_near)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "rows": [vars(row) for row in self.rows], "share": self.share}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Leaks":
        """Return what `as_dict` gave; raises `KeyError` or `TypeError` for anything else."""
        rows = [LeakedRow(**row) for row in values["rows"]]
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name != "rows"}, rows=rows)


class TrainMarks:
    """Keeps what tells train rows again: eight bytes a row, and the signatures of as many as are looked at for near ones."""

    def __init__(self) -> None:
        self._digests = array("Q")
        self._step = 1
        self._numbers: list[int] = []
        self._signatures: list[np.ndarray] = []

    def add(self, text: str, made: np.ndarray | None = None) -> None:
        """Take a train row, with its signature where that is known."""
        number = len(self._digests)
        self._digests.append(digest(text))
        if number % self._step:
            return
        self._numbers.append(number)
        self._signatures.append(signature(text[:_LETTERS]) if made is None or len(text) > _LETTERS else made)
        if len(self._numbers) > _MOST_TRAIN:
            # Every second one goes, so that those that stay are from everywhere in the file.
            self._step, self._numbers, self._signatures = 2 * self._step, self._numbers[::2], self._signatures[::2]

    def found_in(
        self, texts: Sequence[str], similarity: float, *, train: Callable[[int], str], test: Callable[[int], str]
    ) -> Leaks:
        """Return which test rows stand among the train rows; `train` and `test` tell a row's place by its number."""
        known = np.frombuffer(self._digests, dtype=np.uint64)
        order = np.argsort(known, kind="stable")
        wanted = np.fromiter((digest(text) for text in texts), dtype=np.uint64, count=len(texts))
        places = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
        equal = known[order][places] == wanted if len(known) else np.zeros(len(texts), dtype=bool)

        rows = [
            LeakedRow(test(row), train(int(order[places[row]])), 1.0, shown(texts[row]))
            for row in np.flatnonzero(equal)[:_KEPT].tolist()
        ]
        others = np.flatnonzero(~equal)
        others = others[:: max(1, -(-len(others) // _MOST_TEST))]
        ours = [signature(texts[row][:_LETTERS]) for row in others.tolist()]
        near, alike = most_alike(
            np.array(ours, dtype=np.uint16).reshape(-1, PERMUTATIONS),
            np.array(self._signatures, dtype=np.uint16).reshape(-1, PERMUTATIONS), similarity,
        )  # fmt: skip
        alike_rows = np.flatnonzero(near >= 0)
        rows_of = others.tolist()
        rows += [
            LeakedRow(test(rows_of[i]), train(self._numbers[near[i]]), float(alike[i]), shown(texts[rows_of[i]]))
            for i in sorted(alike_rows.tolist(), key=lambda i: -alike[i])[:_KEPT]
        ]
        looked = int(equal.sum()) + len(others)
        return Leaks(len(known), len(texts), int(equal.sum()), len(alike_rows), similarity, looked, rows)


def shown(text: str) -> str:
    """Return what is shown of a text: enough to know it again, and no copy of it."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."

"""Hybrid: add up several representations' ranks, sum of 1 / (60 + rank).  Cormack et al., 2009."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import UsageError
from afina.retrieval.representations.base import (
    NOTHING,
    REPRESENTATIONS,
    Corpus,
    Ranker,
    Representation,
    representation,
    top,
)
from afina.retrieval.settings import IndexSettings
from afina.retrieval.terms import Terms

__all__ = ["Hybrid", "fused"]

_USUAL = ("bm25", "bert")
_CONSTANT = 60
_DEPTH = 100
"""Rows of each part that are looked at, or five times as many as were asked for."""


@representation("hybrid")
class Hybrid(Representation):
    """Finds what several representations rank high: words that stand there, and meanings."""

    def __init__(self, settings: IndexSettings) -> None:
        super().__init__(settings)
        names = settings.parts or _USUAL
        # One representation twice would only double its own ranks.
        if len(set(names)) < 2 or self.name in names:
            raise UsageError(f"A hybrid is of two or more different representations, not {', '.join(names)}.")
        self._parts = [REPRESENTATIONS.named(name)(settings) for name in names]

    @property
    def parts(self) -> list[Representation]:
        return self._parts

    def build(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        facts = {}
        for part in self._parts:
            # A folder each, as parts write files of the same names.
            (folder / part.name).mkdir()
            facts[part.name] = part.build(corpus, folder / part.name)
        return facts

    def open(self, folder: Path, terms: Terms, device: str) -> "Fused":
        return Fused({part.name: part.open(folder / part.name, terms, device) for part in self._parts})


class Fused(Ranker):
    """Ranks rows by several rankers."""

    def __init__(self, rankers: dict[str, Ranker]) -> None:
        self.rankers = rankers

    def rank(self, questions: Sequence[str], most: int) -> tuple[np.ndarray, np.ndarray]:
        # Deeper than what is asked for: a row that one part ranks low may be first of all together.
        depth = max(_DEPTH, 5 * most)
        ranked = [ranker.rank(questions, depth)[1] for ranker in self.rankers.values()]
        answers = [fused([rows[number] for rows in ranked], most) for number in range(len(questions))]
        return np.stack([scores for scores, _ in answers]), np.stack([rows for _, rows in answers])


def fused(ranked: Sequence[np.ndarray], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and rows, each (most,), of rows that were ranked several times, each from the best."""
    scores: dict[int, float] = {}
    for rows in ranked:
        for place, row in enumerate(rows.tolist(), start=1):
            if row != NOTHING:
                scores[row] = scores.get(row, 0.0) + 1 / (_CONSTANT + place)
    # By row, so that equal sums come in one order.
    names = np.array(sorted(scores), dtype=np.int64)
    best, order = top(np.array([scores[row] for row in names.tolist()], np.float32), most)
    rows = np.where(order == NOTHING, NOTHING, names[order] if len(names) else NOTHING)
    return best, rows

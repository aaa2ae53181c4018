"""Define what a representation is, and keep the registry: one more is one file in this folder.

It is built over all rows of an edition, into a folder of its own, and opened from there to rank rows by questions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from afina.registry import Registry
from afina.retrieval.edition import Edition
from afina.retrieval.journal import IndexJournal
from afina.retrieval.settings import IndexSettings
from afina.retrieval.terms import Terms

__all__ = ["NOTHING", "REPRESENTATIONS", "Corpus", "OneByOne", "Ranker", "Representation", "representation", "top"]

NOTHING = -1
"""Stands for a row where there are fewer than were asked for."""

Tell = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is, and of how much."""


@dataclass
class Corpus:
    """Holds what a representation is built over."""

    edition: Edition
    count: int
    """Number of rows."""
    terms: Terms
    settings: IndexSettings
    before: Path | None
    """The folder of the edition that stands, if there is one by the same settings."""
    journal: IndexJournal
    device: str
    tell: Tell
    notes: list[str]
    address: Any = None
    """Name of this edition among others, where vectors lie in a data base."""

    def texts(self) -> Iterator[str]:
        """Yield the texts of all rows."""
        return self.edition.texts()


class Ranker(ABC):
    """Ranks rows by questions."""

    @abstractmethod
    def rank(self, questions: Sequence[str], most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (Q, most) float32, larger the better, and rows (Q, most) int64, `NOTHING` where there are no more."""


class OneByOne(Ranker):
    """Ranks rows by each question for itself."""

    def rank(self, questions: Sequence[str], most: int) -> tuple[np.ndarray, np.ndarray]:
        ranked = [self.ranked(question, most) for question in questions]
        return np.stack([scores for scores, _ in ranked]), np.stack([rows for _, rows in ranked])

    @abstractmethod
    def ranked(self, question: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (most,) and rows (most,) of one question, as `rank` does."""


class Representation(ABC):
    """Defines a way of comparing texts, by an index's settings."""

    name: ClassVar[str] = ""
    lexical: ClassVar[bool] = False
    """True if it compares words and needs the documents' language."""
    embeds: ClassVar[bool] = False
    """True if it needs the encoder."""

    def __init__(self, settings: IndexSettings) -> None:
        """Take an index's settings; raises `UsageError` for those that it has no sense for."""
        self.settings = settings

    @property
    def parts(self) -> "list[Representation]":
        """Return what it is made of: itself, or those that it puts together."""
        return [self]

    @abstractmethod
    def build(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        """Write into a folder what `open` reads; return facts that are worth knowing."""

    @abstractmethod
    def open(self, folder: Path, terms: Terms, device: str) -> Ranker:
        """Open what was built."""


REPRESENTATIONS: Registry[type[Representation]] = Registry("representation", "afina.retrieval.representations")
"""All of them by name."""

representation = REPRESENTATIONS.register


def top(scores: np.ndarray, most: int, *, above: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of scores (N,) and their rows, each (most,); of equal ones the lower row first.

    Those that are not above a number are left out.
    """
    # None asked for leaves shapes with no columns.
    most = max(most, 0)
    chosen = np.arange(len(scores)) if above is None else np.flatnonzero(scores > above)
    # Partitioned first, as sorting a million scores for ten of them would take longer than finding them.
    if len(chosen) > most > 0:
        # All that equal the last are looked at: which of them come first is not the partition's to choose.
        values = scores[chosen]
        least = values[np.argpartition(-values, most - 1)[most - 1]]
        chosen = chosen[values >= least]
    # By score and then by row, so that equal scores come in one order everywhere.
    order = chosen[np.lexsort((chosen, -scores[chosen]))][:most]
    rows = np.full(most, NOTHING, dtype=np.int64)
    best = np.full(most, -np.inf, dtype=np.float32)
    rows[: len(order)], best[: len(order)] = order, scores[order]
    return best, rows

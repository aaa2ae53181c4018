"""Hold the rows of a bias audit and what one model answered to them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from afina.data.rows import Rows

__all__ = ["Answerer", "BiasRows", "ClassAnswers", "shortened_text"]

_LONGEST = 240
"""Letters of a row that are shown."""


@dataclass(frozen=True)
class ClassAnswers:
    """Holds what a model answered to rows."""

    scores: np.ndarray
    """(N, K) probability of each class."""

    @property
    def chosen(self) -> np.ndarray:
        """Return the likeliest class of each row (N,)."""
        chosen: np.ndarray = self.scores.argmax(axis=1)
        return chosen

    @property
    def sure(self) -> np.ndarray:
        """Return the probability of the likeliest class (N,)."""
        highest: np.ndarray = self.scores.max(axis=1)
        return highest


Answerer = Callable[[list[str], list[str] | None, np.ndarray], ClassAnswers]
"""Answers texts, with their second texts where rows have any; the places of the rows that they are, or were made of."""


@dataclass(frozen=True)
class BiasRows:
    """Holds the rows that are looked at, their classes' names, and columns that may put them into groups."""

    rows: Rows
    names: tuple[str, ...]
    columns: dict[str, list[object]]
    source: str
    """The file, or the study whose test rows they are."""
    decisive: dict[str, list[object]] = field(default_factory=dict)
    """Columns by whose groups an adapter decides, which are compared only where somebody asks for it."""

    def take(self, rows: np.ndarray) -> "BiasRows":
        """Return only these rows."""

        def some(columns: dict[str, list[object]]) -> dict[str, list[object]]:
            return {name: [values[row] for row in rows] for name, values in columns.items()}

        return BiasRows(self.rows.take(rows), self.names, some(self.columns), self.source, some(self.decisive))

    @cached_property
    def texts(self) -> list[str]:
        """Return each row's text, its second one behind it: groups are found by words in both."""
        if self.rows.text_pair is None:
            return self.rows.text
        return [f"{text} {pair}" for text, pair in zip(self.rows.text, self.rows.text_pair, strict=True)]

    def shown(self, row: int) -> str:
        """Return a row's text, cut to what a person reads."""
        return shortened_text(self.texts[row])

    def number(self, row: int) -> int:
        """Return a row's number in its file where that is known, else its place, from 1."""
        return row + 1 if self.rows.number is None else int(self.rows.number[row])


def shortened_text(text: str) -> str:
    """Return a text without what is beyond its beginning."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …"

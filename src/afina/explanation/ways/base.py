"""Define what a way of attributing is, and keep the registry: one more is one file in this folder."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from afina.explanation.asker import Asker
from afina.registry import Registry

__all__ = ["WAYS", "Attributed", "AttributionWay", "all_words", "way"]


@dataclass(frozen=True, eq=False)
class Attributed:
    """Holds what each word added to a score, and how far that can be trusted by itself."""

    values: np.ndarray
    """(W,) nats (numbers: deviations) that each word added; below 0 where it spoke against."""
    missing: float | None = None
    """The part of the score, less the baseline's, that the values do not add up to; None where none is promised."""
    error: float | None = None
    """The largest standard error of a word's value, where it was found by drawing."""
    points: int | None = None
    """Points on the way at which gradients were taken; None where none were."""
    moved: float | None = None
    """The largest move of a word's value since half as many points; None where these were not asked for apart."""


class AttributionWay(ABC):
    """Attributes a score to words; a frozen dataclass of its settings."""

    name: ClassVar[str] = ""
    told: ClassVar[str] = ""
    """A sentence on what its values are."""
    gradients: ClassVar[bool] = False
    """True if it needs a model that has gradients."""

    @abstractmethod
    def attribute(self, asker: Asker) -> list[Attributed]:
        """Return what each word added, question by question."""


WAYS: Registry[type[AttributionWay]] = Registry("way of attributing", "afina.explanation.ways", "way")
"""All of them by name."""
way = WAYS.register


def all_words(asker: Asker, *, there: bool) -> list[tuple[int, np.ndarray]]:
    """Return every question with all of its words, or with none."""
    return [(number, np.full(len(each.words), there)) for number, each in enumerate(asker.questions)]

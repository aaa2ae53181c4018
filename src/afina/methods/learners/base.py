"""Define what a classical model is to `features`, and keep the registry: one more is one file in this folder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from afina.registry import Registry

__all__ = ["LEARNERS", "Arrays", "FitSettings", "Learner", "Vectors", "learner"]

Arrays = Mapping[str, np.ndarray]
"""Numbers that were fitted, as a file keeps them: never pickled."""
Vectors = Any
"""(N, D) float32: an array, or scipy's sparse rows where most entries are zero."""


@dataclass(frozen=True)
class FitSettings:
    """Holds what a person may set of a fit."""

    c: float
    """Inverse strength of a linear model's penalty."""
    trees: int
    """Trees of a forest, rounds of boosting."""
    seed: int


class Learner(ABC):
    """Fits a model on fixed vectors, for classes and for numbers."""

    name: ClassVar[str] = ""
    scaled: ClassVar[bool] = True
    """True if dense vectors are standardised for it, and divided by the root of their width: length about one."""

    @abstractmethod
    def fit(self, x: Vectors, labels: np.ndarray, classes: int, settings: FitSettings) -> dict[str, np.ndarray]:
        """Return what was fitted on vectors (N, D); `classes` is 1 for standardised numbers."""

    @abstractmethod
    def scores(self, arrays: Arrays, x: Vectors) -> np.ndarray:
        """Return (N, K) for vectors (N, D): linear scores, or logarithms of probabilities, or a number (K = 1)."""

    def learned(self, arrays: Arrays) -> int:
        """Return how many numbers were learned."""
        raise NotImplementedError(f"{self.name} does not count what it learned")


LEARNERS: Registry[type[Learner]] = Registry("learner", "afina.methods.learners")
"""All of them by name."""
learner = LEARNERS.register

"""Metrics of tags, one a word: entities as conlleval counts them (measure/entities.py), and words."""

import numpy as np

from afina.measure.entities import count_entities
from afina.measure.metrics.base import Answered, Share, metric

__all__ = ["EntityF1", "EntityPrecision", "EntityRecall", "WordAccuracy"]


class _OfEntities(Share):
    of = ("entities",)

    def counts(self, answers: Answered) -> np.ndarray:
        """Return of each row's entities how many were found rightly, how many predicted, and how many there are, (3, N)."""
        rows = zip(answers.label.tolist(), answers.prediction.tolist(), strict=True)
        return np.array([count_entities(*row, self.part) for row in rows], dtype=float).reshape(-1, 3).T


@metric("f1")
class EntityF1(_OfEntities):
    """Measures the F1 of all entities, and that of each type's."""

    parted = True
    portuguese = "F1"

    def parts(self, answers: Answered) -> np.ndarray:
        right, predicted, there = self.counts(answers)
        # Numerator and denominator add up over rows, as F1 itself does not.
        return np.stack([2 * right, predicted + there], axis=1)


@metric("precision")
class EntityPrecision(_OfEntities):
    """Share of the entities predicted that are there."""

    portuguese = "precisão"

    def parts(self, answers: Answered) -> np.ndarray:
        right, predicted, _ = self.counts(answers)
        return np.stack([right, predicted], axis=1)


@metric("recall")
class EntityRecall(_OfEntities):
    """Share of the entities there that were predicted."""

    portuguese = "revocação"

    def parts(self, answers: Answered) -> np.ndarray:
        right, _, there = self.counts(answers)
        return np.stack([right, there], axis=1)


@metric("word_accuracy")
class WordAccuracy(Share):
    """Share of the words with the right tag."""

    of = ("entities", "words")
    portuguese = "acurácia por palavra"

    def parts(self, answers: Answered) -> np.ndarray:
        rows = zip(answers.label.tolist(), answers.prediction.tolist(), strict=True)
        return np.array([[sum(map(str.__eq__, a, b)), len(a)] for a, b in rows], dtype=float).reshape(-1, 2)

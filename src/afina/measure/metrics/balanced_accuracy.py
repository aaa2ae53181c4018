"""Balanced accuracy: the mean over the classes of the share of each one's rows that were found, rare ones like frequent."""

import numpy as np

from afina.measure.metrics.base import metric
from afina.measure.metrics.classes import ByCounts

__all__ = ["BalancedAccuracy"]


@metric("balanced_accuracy")
class BalancedAccuracy(ByCounts):
    """Mean recall of the classes that have rows (Brodersen et al., 2010)."""

    percent = True
    portuguese = "acurácia balanceada"

    def of_counts(self, hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
        there = actual > 0
        return float((hits[there] / actual[there]).mean())

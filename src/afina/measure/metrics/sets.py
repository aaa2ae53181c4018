"""Metrics of sets of labels, none or several a row (`macro_f1`, of each label by itself, is in classes.py)."""

import numpy as np

from afina.measure.metrics.base import RightRows, metric
from afina.measure.metrics.classes import ByCounts

__all__ = ["ExactMatch", "MicroF1"]


@metric("micro_f1")
class MicroF1(ByCounts):
    """F1 of all labels of all rows taken together."""

    of = ("sets",)
    percent = True
    portuguese = "F1 micro"

    def of_counts(self, hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
        total = actual.sum() + predicted.sum()
        return float(2 * hits.sum() / total) if total else 0.0


@metric("exact_match")
class ExactMatch(RightRows):
    """Share of the rows whose labels are all there and no others."""

    of = ("sets",)
    portuguese = "acerto exato"

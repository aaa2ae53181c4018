"""Weigh rows so that group and label are independent: w(g, y) = P(g) P(y) / P(g, y).  Kamiran and Calders, 2012.

Rows of no group are a group of their own, so that the weights of all rows are 1 on the average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.mitigation.base import MitigatedRows, Mitigation, mitigation

__all__ = ["Reweigh"]


@mitigation("reweigh")
@dataclass(frozen=True, kw_only=True)
class Reweigh(Mitigation):
    """Weighs each row's loss by how rare its label is in its group, beside how rare it would be were groups alike."""

    def learned(self, texts: Sequence[str], labels: np.ndarray, values: Sequence[Any] | None = None) -> MitigatedRows:
        grouping = self.grouped(texts, values)
        group = grouping.of + 1  # those of none are the first
        counts = np.zeros((len(grouping.groups) + 1, int(labels.max()) + 1))
        np.add.at(counts, (group, labels), 1)
        expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / len(labels)
        weights = (expected / np.maximum(counts, 1))[group, labels]
        note = f"reweigh by {self.groups_by}: rows weigh from {weights.min():.2f} to {weights.max():.2f}"
        return MitigatedRows((note,), weights=weights)

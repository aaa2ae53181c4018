"""Draw batches that have as many rows of each group, and in it of each label.  Idrissi et al., 2022, arXiv:2110.14503.

An epoch has as many rows as without it. Rows of no group come once in each; those of the groups share the others' places
evenly, rows of rare cells again and again, of frequent ones some in one epoch and some in another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.data.groups.grouping import NONE
from afina.mitigation.base import MitigatedRows, Mitigation, cells_of, mitigation

__all__ = ["BalancedBatches"]


@mitigation("balance")
@dataclass(frozen=True, kw_only=True)
class BalancedBatches(Mitigation):
    """Balances batches by group and label."""

    def learned(self, texts: Sequence[str], labels: np.ndarray, values: Sequence[Any] | None = None) -> MitigatedRows:
        cells = cells_of(self.grouped(texts, values), labels)
        counts = np.bincount(cells[cells != NONE])
        counts = counts[counts > 0]
        note = (
            f"balance by {self.groups_by}: {len(counts)} cells of group and label, of {counts.min():,} to "
            f"{counts.max():,} rows, come equally often"
        )
        return MitigatedRows((note,), cells=cells)

"""Feature-based: compute embeddings of the frozen backbone once, and fit a classical model on them.

Peters et al., 2019, arXiv:1903.05987, call the choice between this and fine-tuning "to tune or not to tune".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from afina.errors import UsageError
from afina.methods.base import method
from afina.methods.classical import Classical, FittedMethod, fit_classical

__all__ = ["Features"]


@method("features")
@dataclass(frozen=True, kw_only=True)
class Features(FittedMethod):
    """Fits a classical model on frozen, cached embeddings.

    For regression its regressor twin is fitted.
    """

    portuguese = "Ajusta um modelo clássico sobre vetores congelados e guardados."

    model: Literal["logistic", "forest", "xgboost"] = "logistic"
    """`logistic` regression (for numbers: ridge), random `forest`, or `xgboost` (an extra)."""
    pooling: Literal["mean", "cls"] = "mean"
    """One vector a text: the mean over its tokens, or the first (decoders: the last) token's."""
    c: float = 1.0
    """Inverse strength of logistic regression's and ridge's penalty; scikit-learn's default."""
    trees: int = 200
    """Trees of the forest, rounds of XGBoost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trees < 1 or self.c <= 0:
            raise UsageError(f"{self.name}: trees should be at least 1 and c above 0, not {self.trees} and {self.c}.")

    def fit(self, vectors: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Classical:
        return fit_classical(self.model, vectors, labels, classes, seed, c=self.c, trees=self.trees)

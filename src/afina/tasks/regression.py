"""Regression: squared error on targets standardised with the train split's mean and deviation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from afina.data.batching import Tokens
from afina.tasks.base import Decoded, Task

__all__ = ["Regression"]


class Regression(Task):
    """One number a row; the head learns it in standard units, so that any scale of target can be learned."""

    name = "regression"
    answers = "numbers"
    metric = "pearson"
    outputs = 1

    def __init__(self, *, mean: float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation

    def loss(self, logits: Tensor, labels: Tensor, weights: Mapping[str, float] | None = None) -> Tensor:
        target = ((labels - self.mean) / self.deviation).to(logits.dtype)
        return (logits[:, 0] - target).square().sum()

    def decode(self, logits: np.ndarray) -> Decoded:
        values = logits[:, 0].astype(np.float64) * self.deviation + self.mean
        return Decoded(values, values[:, None])

    def compared(self, outputs: Tensor) -> Tensor:
        return outputs * self.deviation + self.mean

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        return Decoded(values[:, 0], values)

    def same(self, first: Tensor, second: Tensor) -> None:
        return None

    def own_state(self) -> dict[str, Any]:
        return {"name": self.name, "mean": self.mean, "deviation": self.deviation}

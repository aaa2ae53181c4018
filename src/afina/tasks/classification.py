"""Classification: softmax cross-entropy over K classes, smoothed and weighted where a study says so."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from afina.tasks.base import Decoded, Task

__all__ = ["Classification"]


class Classification(Task):
    """One of K classes a row."""

    name = "classification"
    answers = "classes"
    metric = "accuracy"

    def __init__(
        self, label_names: tuple[str, ...], *, smoothing: float = 0.0, weights: Sequence[float] | None = None
    ) -> None:
        """`smoothing` spreads that share of a label over all classes, `weights` has each class's weight in the loss."""
        self.label_names = label_names
        self.outputs = len(label_names)
        self.smoothing = smoothing
        self.weights = None if weights is None else torch.tensor(weights)

    def loss(self, logits: Tensor, labels: Tensor, weights: Mapping[str, float] | None = None) -> Tensor:
        by_class = None if self.weights is None else self.weights.to(logits)
        return cross_entropy(logits, labels, weight=by_class, label_smoothing=self.smoothing, reduction="sum")

    def decode(self, logits: np.ndarray) -> Decoded:
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Decoded(logits.argmax(axis=1), shifted / shifted.sum(axis=1, keepdims=True))

    def own_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"name": self.name, "label_names": list(self.label_names)}
        if self.smoothing:
            state["smoothing"] = self.smoothing
        if self.weights is not None:
            state["weights"] = self.weights.tolist()
        return state

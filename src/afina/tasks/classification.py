"""Classification: softmax cross-entropy over K classes."""

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from afina.measure.metrics import classification_metrics
from afina.tasks.base import Decoded, Task

__all__ = ["Classification"]


class Classification(Task):
    """One of K classes a row."""

    name = "classification"
    metric = "accuracy"

    def __init__(self, label_names: tuple[str, ...]) -> None:
        self.label_names = label_names
        self.outputs = len(label_names)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, reduction="sum")

    def decode(self, logits: np.ndarray) -> Decoded:
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Decoded(logits.argmax(axis=1), shifted / shifted.sum(axis=1, keepdims=True))

    def metrics(self, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        return classification_metrics(labels, predictions, self.outputs)

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "label_names": list(self.label_names)}

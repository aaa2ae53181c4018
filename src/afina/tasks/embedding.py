"""Texts as vectors: what an adapter without a head gives.

It is nothing to train on here: adapters of this kind are made elsewhere (PEFT's FEATURE_EXTRACTION).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from afina.errors import UsageError
from afina.tasks.base import Decoded, Task

__all__ = ["Embedding"]


class Embedding(Task):
    """One vector a text."""

    name = "embedding"
    answers = "vectors"
    metric = "none"
    embeds = True
    outputs = 0

    def loss(self, logits: Tensor, labels: Tensor, weights: Mapping[str, float] | None = None) -> Tensor:
        raise _headless()

    def decode(self, logits: np.ndarray) -> Decoded:
        raise _headless()

    def same(self, first: Tensor, second: Tensor) -> None:
        return None

    def own_state(self) -> dict[str, Any]:
        return {"name": self.name}


def _headless() -> UsageError:
    return UsageError("This is an embedding adapter: it has no task head, so that it gives vectors, and no labels.")

"""Hold what `features` fitted as plain arrays in safetensors, never pickled, and have it stand where a head stands."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from afina.backbone.head import Head, Hidden
from afina.backbone.load import Backbone
from afina.backbone.pooling import pooled
from afina.data.tokens.as_text import texts_of_ids
from afina.methods.base import Method
from afina.methods.learners.base import FitSettings, Learner, Vectors
from afina.methods.representations.base import OfTexts
from afina.ops.dropout import DropoutSource

__all__ = ["Classical", "ClassicalHead", "FittedMethod", "TextHead", "fit_classical"]


class Classical:
    """A fitted model as named arrays; `logits` is all that it can do, which is all that is asked of it."""

    def __init__(self, arrays: Mapping[str, np.ndarray], learner: Learner) -> None:
        self.arrays, self.learner = dict(arrays), learner

    def tensors(self) -> dict[str, Tensor]:
        return {f"classical.{name}": torch.from_numpy(np.ascontiguousarray(a)) for name, a in self.arrays.items()}

    def logits(self, vectors: Vectors) -> np.ndarray:
        """Return (N, K) for vectors (N, D): linear scores, or log-probabilities of trees."""
        if "mean" in self.arrays:
            vectors = ((vectors - self.arrays["mean"]) / self.arrays["deviation"]).astype(np.float32)
        return self.learner.scores(self.arrays, vectors)

    def parameter_count(self) -> int:
        """Count the numbers learned: weights of a linear model, thresholds and leaf values of trees."""
        return self.learner.learned(self.arrays)


class ClassicalHead(Head):
    """Holds a fitted model in the place of a head: it says of each text's vector, or of each word's, what the model says."""

    def __init__(self, fitted: Classical, backbone: Backbone, outputs: int, pooling: str) -> None:
        super().__init__(backbone.config, outputs)
        self.fitted, self._pooling = fitted, pooling
        self._causal, self._by_word = backbone.anatomy.row.causal, backbone.tags

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.states if self._by_word else pooled(hidden, self._pooling, causal=self._causal)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        # scikit-learn and XGBoost compute on the CPU, in numpy.
        logits = self.fitted.logits(pooled.flatten(0, -2).cpu().numpy())
        return torch.from_numpy(logits.astype(np.float32)).view(*pooled.shape[:-1], -1)


class TextHead(Head):
    """Holds a fitted model that looks at a text's words, and at nothing that the backbone makes of them."""

    def __init__(self, fitted: Classical, texts: OfTexts, backbone: Backbone, outputs: int) -> None:
        super().__init__(backbone.config, outputs)
        self.fitted, self._texts, self._tokenizer = fitted, texts, backbone.tokenizer

    def forward(self, hidden: Hidden, source: DropoutSource | None = None) -> Tensor:
        assert hidden.ids is not None, "what reads words is given tokens"
        ids = hidden.ids.cpu().numpy()
        seen = np.ones_like(ids) if hidden.mask is None else hidden.mask.cpu().numpy()
        rows = [own[mask.astype(bool)] for own, mask in zip(ids, seen, strict=True)]
        logits = self.fitted.logits(self._texts.vectors(texts_of_ids(self._tokenizer, rows)))
        return torch.from_numpy(logits.astype(np.float32)).to(hidden.states.device)


class FittedMethod(Method):
    """Is fitted on fixed vectors of texts, without gradients; what it fits is then a head."""

    gradient_free = True
    pooling: Literal["mean", "cls"]

    @property
    def texts(self) -> OfTexts | None:
        """Return what makes vectors of the texts' words, not fitted yet; None where they are the frozen model's."""
        return None

    @property
    def learner(self) -> Learner:
        """Return the kind of model that it fits."""
        raise NotImplementedError(f"{self.name} fits nothing")

    def fit(self, vectors: Vectors, labels: np.ndarray, classes: int, seed: int) -> Classical:
        """Fit on vectors (N, D); `classes` is 1 for regression on standardised labels."""
        raise NotImplementedError(f"{self.name} fits nothing")

    def head(self, tensors: Mapping[str, Tensor], backbone: Backbone, outputs: int) -> Head:
        """Return the head that an adapter's file holds."""
        arrays = _of(tensors, "classical.")
        fitted = Classical(arrays, self.learner)
        if self.texts is None:
            return ClassicalHead(fitted, backbone, outputs, self.pooling)
        return TextHead(fitted, self.texts.restored(_of(tensors, "texts.")), backbone, outputs)


def _of(tensors: Mapping[str, Tensor], start: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(start): value.numpy() for name, value in tensors.items() if name.startswith(start)}


def fit_classical(
    learner: Learner, vectors: Vectors, labels: np.ndarray, classes: int, settings: FitSettings
) -> Classical:
    """Fit a model on vectors (N, D); `classes` is 1 for regression on standardised labels."""
    if not learner.scaled or not isinstance(vectors, np.ndarray):
        # Sparse vectors stay so: less their mean none of their entries would be zero. They are made with length one.
        return Classical(learner.fit(vectors, labels, classes, settings), learner)

    # Standardised, then divided by the root of the width: vectors of length about one, for which c = 1 is a fair penalty.
    mean, deviation = vectors.mean(axis=0), (vectors.std(axis=0) + 1e-6) * np.sqrt(vectors.shape[1])
    scaled = ((vectors - mean) / deviation).astype(np.float32)
    common = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    return Classical(common | learner.fit(scaled, labels, classes, settings), learner)

"""Tagging (token classification): softmax cross-entropy over K tags at each word's first token.

The loss of a step is the sum over its tagged words over their number, so that a long text counts by its words. Entities
are counted as conlleval counts them (measure/entities.py); tags that mark no entities are scored word by word.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from afina.data.batching import IGNORED, Tokens
from afina.data.rows import Rows
from afina.data.words import tokenize_words
from afina.measure.entities import count_entities, entity_types, is_entity_tag
from afina.tasks.base import Decoded
from afina.tasks.classification import Classification

__all__ = ["Tagging"]


class Tagging(Classification):
    """One of K tags a word; labels and predictions are (N, W), `IGNORED` behind a row's words."""

    name = "tagging"
    metric = "f1"
    tags = True

    def __init__(
        self, label_names: tuple[str, ...], *, smoothing: float = 0.0, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(label_names, smoothing=smoothing, weights=weights)
        self.marks_entities = all(map(is_entity_tag, label_names))
        self.answers = "entities" if self.marks_entities else "words"
        if not self.marks_entities:
            self.metric = "word_accuracy"  # type: ignore[misc]
        self._fallback = label_names.index("O") if "O" in label_names else 0

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        return tokenize_words(tokenizer, rows, max_length)

    def loss(self, logits: Tensor, labels: Tensor, weights: Mapping[str, float] | None = None) -> Tensor:
        """Return the loss summed over the tagged tokens of logits (B, T, K)."""
        return super().loss(logits.flatten(0, 1), labels.flatten())

    def decode_rows(self, tokens: Tokens, logits: np.ndarray) -> Decoded:
        """Return tags (N, W) for logits of words in order, and of each row its entities: right, predicted and there.

        A word that was cut off is taken for no entity's.
        """
        labels = tokens.labels
        predictions = np.where(labels == IGNORED, IGNORED, self._fallback).astype(labels.dtype)
        predictions[np.arange(labels.shape[1]) < tokens.trained[:, None]] = logits.argmax(axis=1)
        counts = [(0, 0, 0)] * len(labels)
        if self.marks_entities:
            counts = [count_entities(*row) for row in zip(self.named(labels), self.named(predictions), strict=True)]
        return Decoded(predictions, np.array(counts, dtype=np.float32))

    def named(self, tags: np.ndarray) -> list[tuple[str, ...]]:
        """Return the names of tags (N, W), row by row."""
        names = (*self.label_names, "O")  # of words whose tag nobody knows, -1
        return [tuple(names[tag] for tag in row[row != IGNORED]) for row in tags]

    def shown(self, values: np.ndarray) -> np.ndarray:
        return np.fromiter(self.named(values), dtype=object, count=len(values))

    def parts(self) -> Sequence[str]:
        return entity_types(self.label_names) if self.marks_entities else ()

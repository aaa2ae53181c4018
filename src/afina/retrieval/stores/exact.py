"""Exact: compare a question with every vector, which lie in a memory-mapped file."""

from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.representations.base import top
from afina.retrieval.stores.base import Store, store

__all__ = ["Exact", "compared"]

_BLOCK = 1 << 16
"""Rows that are compared at once: their scores, and what is mapped of the file, stay small."""


@store("exact")
class Exact(Store):
    """Searches all vectors."""

    automatic = "few"

    def build(self, vectors: np.ndarray, folder: Path, corpus: Any, similarity: str) -> dict[str, Any]:
        return {}

    def open(self, vectors: np.ndarray, folder: Path, similarity: str) -> None:
        self.vectors, self.similarity = vectors, similarity

    def search(self, questions: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        scores = np.concatenate(
            [
                compared(questions, np.asarray(self.vectors[start : start + _BLOCK]), self.similarity)
                for start in range(0, len(self.vectors), _BLOCK)
            ]
            or [np.zeros((len(questions), 0), np.float32)],
            axis=1,
        )
        ranked = [top(row, most) for row in scores]
        return np.stack([best for best, _ in ranked]), np.stack([rows for _, rows in ranked])


def compared(questions: np.ndarray, vectors: np.ndarray, similarity: str) -> np.ndarray:
    """Return how alike questions (Q, D) and vectors (N, D) are, (Q, N), larger the better."""
    dots: np.ndarray = questions @ vectors.T
    if similarity != "euclidean":
        return dots
    squares = (questions**2).sum(axis=1)[:, None] + np.einsum("nd,nd->n", vectors, vectors)[None, :] - 2 * dots
    distances: np.ndarray = -np.sqrt(np.maximum(squares, 0))
    return distances

"""Define what `features` makes of a text before a classical model is fitted, and keep the registry.

One more is one file in this folder. Those that look at words read what the model's tokenizer reads: a text cut at
`max_length` tokens, of a pair two texts.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from afina.methods.learners.base import Vectors
from afina.registry import Registry

__all__ = ["REPRESENTATIONS", "OfTexts", "TextRepresentation", "as_array", "of_array", "representation"]

Texts = Sequence[tuple[str, ...]]
"""A tuple a row: one text, or the two of a pair."""


class TextRepresentation:
    """Says of what a text's vector is made."""

    name: ClassVar[str] = ""
    reads_model: ClassVar[bool] = False
    """True if the vectors are the frozen model's, and not made of the texts' words."""
    takes_lexicon: ClassVar[bool] = False
    """True if a person's own dictionary may say which words count."""


class OfTexts(TextRepresentation, ABC):
    """Makes vectors of texts' words; what it learned of the train rows is kept as arrays."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the method's settings."""
        self.settings = settings
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        """Sentences on what was found while learning, for whoever trains it."""
        self.parts = 1

    def fitted(self, texts: Texts, labels: np.ndarray, classes: int, seed: int) -> Self:
        """Learn from train rows, for `classes` (1: numbers), and return itself; raises `UsageError` for what cannot be."""
        self.parts = max(map(len, texts), default=1)
        self.arrays = self.learn([each for row in texts for each in row], _repeated(texts, labels), classes, seed)
        self.arrays["parts"] = np.array([self.parts])
        self.open()
        return self

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Self:
        """Take back what was learned, and return itself."""
        self.arrays, self.parts = dict(arrays), int(arrays["parts"][0])
        self.open()
        return self

    def vectors(self, texts: Texts) -> Vectors:
        """Return (N, D) for rows; of pairs both vectors, their distance, their product and their cosine."""
        columns = [self.of_texts([row[part] if part < len(row) else "" for row in texts]) for part in range(self.parts)]
        return columns[0] if len(columns) == 1 else _of_pairs(*columns[:2])

    @abstractmethod
    def learn(self, texts: Sequence[str], labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
        """Return what is to be kept of train texts with a label each."""

    def open(self) -> None:
        """Make ready what `arrays` hold."""
        return

    @abstractmethod
    def of_texts(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text, (N, D)."""

    def learned(self) -> int:
        """Return how many numbers were learned, beside the words themselves."""
        return sum(value.size for value in self.arrays.values() if value.dtype.kind == "f")


REPRESENTATIONS: Registry[type[TextRepresentation]] = Registry("representation", "afina.methods.representations")
"""All of them by name."""
representation = REPRESENTATIONS.register


def as_array(value: Any) -> np.ndarray:
    """Return what JSON can hold as an array of bytes, for a file that holds arrays alone."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), dtype=np.uint8).copy()


def of_array(array: np.ndarray) -> Any:
    """Return what `as_array` was given."""
    return json.loads(array.tobytes())


def _repeated(texts: Texts, labels: np.ndarray) -> np.ndarray:
    return np.repeat(labels, [len(row) for row in texts])


def _of_pairs(first: Vectors, second: Vectors) -> Vectors:
    """Return [u, v, |u - v|, u v, cos(u, v)], as Conneau et al., 2017, arXiv:1705.02364, without the cosine."""
    if isinstance(first, np.ndarray):
        product = first * second
        return np.concatenate([first, second, abs(first - second), product, _cosine(first, second, product)], axis=1)
    from scipy import sparse

    product = first.multiply(second).tocsr()
    parts = [first, second, abs(first - second), product, sparse.csr_matrix(_cosine(first, second, product))]
    return sparse.hstack(parts, format="csr", dtype=np.float32)


def _cosine(first: Vectors, second: Vectors, product: Vectors) -> np.ndarray:
    def total(matrix: Vectors) -> np.ndarray:
        return np.asarray(matrix.sum(axis=1), dtype=np.float64).reshape(-1, 1)

    squares = [total(own * own if isinstance(own, np.ndarray) else own.multiply(own)) for own in (first, second)]
    # Zero is like nothing.
    cosine: np.ndarray = (total(product) / np.maximum(np.sqrt(squares[0] * squares[1]), 1e-12)).astype(np.float32)
    return cosine

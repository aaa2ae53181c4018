"""Share what all representations by vectors have: the store that they lie in, and how vectors are compared."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.representations.base import Corpus, Ranker, Representation
from afina.retrieval.stores.base import Store, store_for
from afina.retrieval.terms import Terms

__all__ = ["VECTORS", "Dense", "unit"]

VECTORS = "vectors.npy"
"""(N, D) float32, row by row; of unit length where they are compared by cosine."""


class Dense(Representation):
    """Compares vectors, which lie in a store."""

    def build(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        facts = self.write_vectors(corpus, folder)
        # Mapped and not read: vectors may be larger than memory.
        vectors = np.load(folder / VECTORS, mmap_mode="r")
        store = store_for(self.settings.store, corpus.count)
        return {**facts, "store": store.name, **store.build(vectors, folder, corpus, self.settings.similarity)}

    def open(self, folder: Path, terms: Terms, device: str) -> Ranker:
        vectors = np.load(folder / VECTORS, mmap_mode="r")
        store = store_for(self.settings.store, len(vectors))
        store.open(vectors, folder, self.settings.similarity)
        return _ByVectors(self.reader(folder, terms, device), store, cosine=self.settings.similarity == "cosine")

    @abstractmethod
    def write_vectors(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        """Write `VECTORS` into a folder, and return facts that are worth knowing."""

    @abstractmethod
    def reader(self, folder: Path, terms: Terms, device: str) -> Callable[[Sequence[str]], np.ndarray]:
        """Return what makes vectors (Q, D) of questions."""

    def finished(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors as the store has them."""
        return unit(vectors) if self.settings.similarity == "cosine" else vectors


class _ByVectors(Ranker):
    def __init__(self, read: Callable[[Sequence[str]], np.ndarray], store: Store, *, cosine: bool) -> None:
        self.read, self.store, self.cosine = read, store, cosine

    def rank(self, questions: Sequence[str], most: int) -> tuple[np.ndarray, np.ndarray]:
        vectors = self.read(questions)
        return self.store.search(unit(vectors) if self.cosine else vectors, most)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (N, D) of length 1; what is zero stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # An empty text has no direction, and dividing by its length would make it no number.
    made: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return made

"""Define what a store of vectors is, and keep the registry: one more is one file in this folder."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from afina.errors import UsageError, nearest, shown
from afina.registry import Registry

__all__ = ["ELSEWHERE", "MOST_EXACT", "STORES", "Store", "store", "store_for"]

ELSEWHERE = "elsewhere.json"
"""The file that tells where vectors lie that are not in the folder: an address, and the store's name for them there."""
MOST_EXACT = 100_000
"""Rows up to which `auto` compares a question with every one."""


class Store(ABC):
    """Finds the vectors that are most like a question's."""

    name: ClassVar[str] = ""
    automatic: ClassVar[str] = ""
    """`few` or `many` for that which `auto` is of so many rows."""
    scheme: ClassVar[str] = ""
    """Beginning of an address that stands for it."""

    def __init__(self, address: str) -> None:
        """Take the address that a person gave; the name alone where it needs none."""
        self.address = address

    @abstractmethod
    def build(self, vectors: np.ndarray, folder: Path, corpus: Any, similarity: str) -> dict[str, Any]:
        """Make what is needed to search vectors (N, D), which lie in the same folder; return facts worth knowing."""

    @abstractmethod
    def open(self, vectors: np.ndarray, folder: Path, similarity: str) -> None:
        """Open what was built."""

    @abstractmethod
    def search(self, questions: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (Q, most), larger the better, and rows (Q, most) for vectors (Q, D).

        A score is the cosine, the dot product, or the Euclidean distance with a minus before it.
        """

    def remove(self, folder: Path) -> None:  # noqa: B027
        """Remove what of an edition lies elsewhere than in its folder, which is removed next; nothing unless said."""


STORES: Registry[type[Store]] = Registry("store", "afina.retrieval.stores")
"""All of them by name."""

store = STORES.register


def store_for(name: str, rows: int) -> Store:
    """Return the store that a person names by its name or an address, or `auto` by the number of rows.

    Raises `UsageError` for a store that there is not.
    """
    if name == "auto":
        wanted = "few" if rows <= MOST_EXACT else "many"
        return next(kind(key) for key, kind in STORES.items() if kind.automatic == wanted)
    # An address names its store by how it begins.
    for kind in STORES.values():
        if kind.scheme and name.startswith(kind.scheme):
            return kind(name)
    # A store with an address is not to be had by its name alone.
    if name not in STORES or STORES[name].scheme:
        names = ["auto", *(STORES[key].scheme or key for key in STORES)]
        raise UsageError(f"There is no store {shown(name)}{nearest(name, names)}")
    return STORES[name](name)

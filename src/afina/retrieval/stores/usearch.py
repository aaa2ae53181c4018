"""usearch: walk a graph of near vectors to a question's neighbours (HNSW).  Malkov and Yashunin, 2018.

What it misses beside exact search is measured where it is built, on some of the index's own vectors.
"""

from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.extra import needed
from afina.retrieval.representations.base import NOTHING
from afina.retrieval.stores.base import Store, store
from afina.retrieval.stores.exact import Exact, compared

__all__ = ["Usearch"]

_METRICS = {"cosine": "ip", "dot": "ip", "euclidean": "l2sq"}
"""Vectors that are compared by cosine have length 1, so that their dot product is it."""
_ADD, _SEARCH, _CONNECTIONS = 128, 256, 32
_PROBES, _NEIGHBOURS = 200, 10


@store("usearch")
class Usearch(Store):
    """Searches some of the vectors, those that a graph leads to."""

    automatic = "many"

    def _made(self, width: int, similarity: str) -> Any:
        index = needed("usearch.index", "A store of many vectors")
        return index.Index(
            ndim=width, metric=_METRICS[similarity], dtype="f32", connectivity=_CONNECTIONS, expansion_add=_ADD,
            expansion_search=_SEARCH,
        )  # fmt: skip

    def build(self, vectors: np.ndarray, folder: Path, corpus: Any, similarity: str) -> dict[str, Any]:
        made = self._made(vectors.shape[1], similarity)
        # Some thousand at a time, so that a person sees how far it is.
        for start in range(0, len(vectors), 10_000):
            corpus.tell("linking vectors", start, len(vectors))
            part = np.asarray(vectors[start : start + 10_000])
            made.add(np.arange(start, start + len(part)), part)
        made.save(str(folder / "graph.usearch"))
        self.open(vectors, folder, similarity)
        recall = self._recall(vectors, similarity)
        corpus.notes.append(
            f"usearch finds {100 * recall:.1f}% of the {_NEIGHBOURS} nearest that exact search finds, on {_PROBES} of the "
            "index's own vectors, moved a little"
        )
        return {"recall": round(recall, 4)}

    def _recall(self, vectors: np.ndarray, similarity: str) -> float:
        """Return the share of exact search's nearest that are nearest from vectors near some of the index's."""
        draw = np.random.default_rng(0)
        rows = np.sort(draw.choice(len(vectors), min(_PROBES, len(vectors)), replace=False))
        probes = np.asarray(vectors[rows])
        # Moved as far as a third of a number's usual size: questions are near the documents' vectors, and not one of
        # them.
        spread = np.linalg.norm(probes, axis=1, keepdims=True) / np.sqrt(probes.shape[1])
        probes = (probes + 0.3 * spread * draw.standard_normal(probes.shape)).astype(np.float32)
        exact = Exact("exact")
        exact.open(vectors, Path(), similarity)
        nearest, wanted = self.search(probes, _NEIGHBOURS)[1], exact.search(probes, _NEIGHBOURS)[1]
        hits = sum(len(np.intersect1d(a[a != NOTHING], b[b != NOTHING])) for a, b in zip(nearest, wanted, strict=True))
        # Of those that there are, as a small index has fewer than asked for.
        return hits / max(1, int((wanted != NOTHING).sum()))

    def open(self, vectors: np.ndarray, folder: Path, similarity: str) -> None:
        self.vectors, self.similarity = vectors, similarity
        self.graph = self._made(vectors.shape[1], similarity)
        # Mapped, so that opening a graph of gigabytes takes no time.
        self.graph.view(str(folder / "graph.usearch"))

    def search(self, questions: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        best = np.full((len(questions), most), -np.inf, dtype=np.float32)
        rows = np.full((len(questions), most), NOTHING, dtype=np.int64)
        if not len(self.vectors) or not most:
            return best, rows
        for number, question in enumerate(questions):
            # One thread, as its results are otherwise in the order of the threads.
            nearest = self.graph.search(question, min(most, len(self.vectors)), threads=1)
            near = np.sort(np.asarray(nearest.keys, dtype=np.int64))
            # Scores are computed again from the vectors themselves, so that they are the exact search's.
            scores = compared(question[None], np.asarray(self.vectors[near]), self.similarity)[0]
            order = np.lexsort((near, -scores))
            best[number, : len(near)], rows[number, : len(near)] = scores[order], near[order]
        return best, rows

"""Look a second time at what was found: a cross-encoder reads question and passage together.  Nogueira and Cho, 2019.

It is any adapter of ours that tells pairs of texts apart by two labels, or gives a pair a number.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from afina.errors import UsageError, shown
from afina.retrieval.index import Hit

__all__ = ["Reranker"]

_RELEVANT = frozenset({"1", "yes", "sim", "true", "relevant", "relevante", "entailment", "answers"})


class Reranker:
    """Ranks passages anew by an adapter on an encoder."""

    def __init__(self, adapter: str | Path, *, model: str | None = None, device: str = "auto") -> None:
        """Load it; raises `UsageError` for an adapter that gives pairs neither one of two labels nor a number."""
        from afina.predictor.loading import Loading

        self.loaded = Loading(model=model, device=device).load(adapter)
        outputs = self.loaded.task.outputs
        if self.loaded.task.tags or self.loaded.task.speaks or outputs not in (1, 2):
            raise UsageError(
                f"{adapter} cannot rank passages: an adapter with two labels, or with a number, is needed."
            )
        names = [str(name).lower() for name in self.loaded.record.task.get("label_names") or ("0", "1")]
        known = [place for place, name in enumerate(names) if name in _RELEVANT]
        if outputs == 2 and len(known) != 1:
            raise UsageError(
                f"{adapter} has the labels {', '.join(names)}, and which of them a passage has that answers cannot be told; "
                f"name it {shown('relevant')}."
            )
        self._place = known[0] if outputs == 2 else 0
        self._several = outputs == 2

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """Return how well each text answers a question, (N,); of two labels the difference of their logits."""
        if not texts:
            return np.zeros(0, np.float32)
        logits = self.loaded.logits([question] * len(texts), list(texts))
        scores: np.ndarray = logits[:, 0]
        return logits[:, self._place] - logits[:, 1 - self._place] if self._several else scores

    def ranked(self, question: str, hits: Sequence[Hit], most: int) -> list[Hit]:
        """Return the best of what was found, by this second look; what it gave each is among the parts' scores."""
        scores = self.scores(question, [hit.chunk.read for hit in hits])
        order = np.argsort(-scores, kind="stable")[:most].tolist()
        return [
            replace(hits[old], rank=new, parts={**hits[old].parts, "rerank": (new, float(scores[old]))})
            for new, old in enumerate(order, start=1)
        ]

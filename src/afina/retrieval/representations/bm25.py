"""BM25: sum over a question's terms of idf(t) tf / (tf + k1 (1 - b + b |d| / avg|d|)).  Robertson et al., 1994; bm25s.

idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)), k1 = 1.5, b = 0.75.
"""

from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.extra import needed
from afina.retrieval.representations.base import Corpus, OneByOne, Ranker, Representation, representation, top
from afina.retrieval.terms import Terms

__all__ = ["BM25"]


@representation("bm25")
class BM25(Representation):
    """Compares words: rare ones count most, and how often they come."""

    lexical = True

    def build(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        bm25s = needed("bm25s", "Search by words")
        vocabulary: dict[str, int] = {}
        rows: list[list[int]] = []
        for number, text in enumerate(corpus.texts()):
            rows.append([vocabulary.setdefault(term, len(vocabulary)) for term in corpus.terms.of(text)])
            if number % 1000 == 0:
                corpus.tell("counting words", number, corpus.count)
        vocabulary.setdefault("", len(vocabulary))
        made = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        made.index((rows, vocabulary), show_progress=False)
        made.save(folder, show_progress=False)
        return {"terms": len(vocabulary) - 1}

    def open(self, folder: Path, terms: Terms, device: str) -> Ranker:
        bm25s = needed("bm25s", "Search by words")
        return _ByWords(bm25s.BM25.load(folder, mmap=True, show_progress=False), terms)


class _ByWords(OneByOne):
    def __init__(self, made: Any, terms: Terms) -> None:
        self.made, self.terms = made, terms

    def ranked(self, question: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        known = self.made.get_tokens_ids(self.terms.of(question))
        if not known:
            return top(np.zeros(0, np.float32), most)
        return top(self.made.get_scores_from_ids(known), most, above=0.0)

"""TF-IDF of words and of pairs of words: (1 + ln tf) (1 + ln((1 + N) / (1 + df))), length one.  Salton, 1975."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from afina.data.plain_words import plain_words
from afina.errors import UsageError
from afina.methods.learners.base import Vectors
from afina.methods.representations.base import OfTexts, as_array, of_array, representation

__all__ = ["TfIdfWords"]


@representation("tfidf")
class TfIdfWords(OfTexts):
    """Counts the train texts' most frequent words and pairs of neighbours, as many as `terms` says."""

    def learn(self, texts: Sequence[str], labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
        most = int(self.settings["terms"])
        try:
            # What one text alone has tells nothing of another; in a handful of texts nearly everything is so.
            made = self._counter(max_features=most, min_df=2 if len(texts) > 50 else 1).fit(texts)
        except ValueError:
            raise UsageError("tfidf: no word stands in two train texts; take representation: embeddings.") from None
        words = sorted(made.vocabulary_, key=made.vocabulary_.__getitem__)
        return {"words": as_array(words), "idf": made.idf_.astype(np.float32)}

    def open(self) -> None:
        words = of_array(self.arrays["words"])
        self._vectoriser = self._counter(vocabulary={word: place for place, word in enumerate(words)})
        self._vectoriser.idf_ = self.arrays["idf"].astype(np.float64)

    def of_texts(self, texts: Sequence[str]) -> Vectors:
        return self._vectoriser.transform(texts).tocsr()

    def _counter(self, **settings: Any) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(analyzer=_terms, sublinear_tf=True, dtype=np.float32, **settings)


def _terms(text: str) -> list[str]:
    words = plain_words(text)
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]

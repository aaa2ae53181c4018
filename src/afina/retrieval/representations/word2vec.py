"""Word2Vec: words' vectors trained on the documents, a text's the mean of its words' by idf.  Mikolov et al., 2013.

v(d) = sum over terms of idf(t) v(t) / sum of idf(t), as in Arora et al., 2017, without their common component.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.extra import needed
from afina.retrieval.representations.base import Corpus, representation
from afina.retrieval.representations.dense import VECTORS, Dense
from afina.retrieval.terms import Terms

__all__ = ["Word2Vec"]

_WIDTH = 100
_EPOCHS = 20


@representation("word2vec")
class Word2Vec(Dense):
    """Compares the company that words keep in these documents; the same seed gives the same vectors."""

    lexical = True

    def write_vectors(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        gensim = needed("gensim.models", "Word2Vec")
        corpus.tell("training word2vec", 0, None)
        texts = [corpus.terms.of(text) for text in corpus.texts()]
        counts = Counter(term for text in texts for term in set(text))
        # In a handful of texts most words stand once, and all of them are wanted.
        least = 2 if len(texts) > 50 else 1
        # One thread: with several the order in which they write is the machine's.
        made = gensim.Word2Vec(
            # A seed of 0 would be the library's own choice.
            vector_size=_WIDTH, window=5, min_count=least, sg=1, negative=5, workers=1, seed=self.settings.seed + 1,
            epochs=_EPOCHS,
        )  # fmt: skip
        words: list[str] = []
        table = np.zeros((0, _WIDTH), np.float32)
        # gensim refuses to train on no word at all.
        if any(count >= least for count in Counter(term for text in texts for term in text).values()):
            made.build_vocab(texts)
            made.train(texts, total_examples=made.corpus_count, epochs=_EPOCHS)
            words, table = list(made.wv.index_to_key), np.asarray(made.wv.vectors, np.float32)
        idf = np.array([np.log(1 + len(texts) / (1 + counts[word])) for word in words], np.float32)
        (folder / "words.json").write_text(json.dumps(words, ensure_ascii=False), "utf-8")
        np.save(folder / "table.npy", table)
        np.save(folder / "idf.npy", idf)
        place = {word: number for number, word in enumerate(words)}
        vectors = np.stack([_mean(text, place, table, idf) for text in texts])
        np.save(folder / VECTORS, self.finished(vectors))
        return {"terms": len(words), "width": _WIDTH}

    def reader(self, folder: Path, terms: Terms, device: str) -> Callable[[Sequence[str]], np.ndarray]:
        words = json.loads((folder / "words.json").read_text("utf-8"))
        place = {word: number for number, word in enumerate(words)}
        table, idf = np.load(folder / "table.npy"), np.load(folder / "idf.npy")
        return lambda questions: np.stack([_mean(terms.of(each), place, table, idf) for each in questions])


def _mean(text: Sequence[str], place: dict[str, int], table: np.ndarray, idf: np.ndarray) -> np.ndarray:
    """Return a text's vector (D,), zero where none of its words is known."""
    known = [place[term] for term in text if term in place]
    # Zero is like no vector.
    if not known:
        return np.zeros(_WIDTH, np.float32)
    mean: np.ndarray = (idf[known] @ table[known] / idf[known].sum()).astype(np.float32)
    return mean

"""Word2Vec: words' vectors trained on the documents, a text's the mean of its words' by idf.  Mikolov et al., 2013.

v(d) = sum over terms of idf(t) v(t) / sum of idf(t), as in Arora et al., 2017, without their common component.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.word_vectors import WIDTH, mean_vector, train_words
from afina.retrieval.representations.base import Corpus, representation
from afina.retrieval.representations.dense import VECTORS, Dense
from afina.retrieval.terms import Terms

__all__ = ["Word2Vec"]


@representation("word2vec")
class Word2Vec(Dense):
    """Compares the company that words keep in these documents; the same seed gives the same vectors."""

    lexical = True

    def write_vectors(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        corpus.tell("training word2vec", 0, None)
        texts = [corpus.terms.of(text) for text in corpus.texts()]
        words, table, idf = train_words(texts, self.settings.seed)
        (folder / "words.json").write_text(json.dumps(words, ensure_ascii=False), "utf-8")
        np.save(folder / "table.npy", table)
        np.save(folder / "idf.npy", idf)
        place = {word: number for number, word in enumerate(words)}
        vectors = np.stack([mean_vector(text, place, table, idf) for text in texts])
        np.save(folder / VECTORS, self.finished(vectors))
        return {"terms": len(words), "width": WIDTH}

    def reader(self, folder: Path, terms: Terms, device: str) -> Callable[[Sequence[str]], np.ndarray]:
        words = json.loads((folder / "words.json").read_text("utf-8"))
        place = {word: number for number, word in enumerate(words)}
        table, idf = np.load(folder / "table.npy"), np.load(folder / "idf.npy")
        return lambda questions: np.stack([mean_vector(terms.of(each), place, table, idf) for each in questions])

"""TF-IDF: compare vectors of (1 + ln tf) (1 + ln((1 + N) / (1 + df))) for each term.  Salton, 1975; scikit-learn."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.representations.base import Corpus, OneByOne, Ranker, Representation, representation, top
from afina.retrieval.terms import Terms

__all__ = ["TfIdf"]


@representation("tfidf")
class TfIdf(Representation):
    """Compares the weights of words; with cosine a text's length does not count."""

    lexical = True

    def build(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        from scipy import sparse
        from sklearn.feature_extraction.text import TfidfVectorizer

        # Cosine is the dot product of vectors of length 1.
        norm = "l2" if self.settings.similarity == "cosine" else None
        made = TfidfVectorizer(analyzer=corpus.terms.of, sublinear_tf=True, norm=norm, dtype=np.float32)
        corpus.tell("counting words", 0, None)
        try:
            matrix = made.fit_transform(corpus.texts())
        except ValueError:  # no text has a term
            made.vocabulary_, matrix = {}, sparse.csr_matrix((corpus.count, 0), dtype=np.float32)
        # By columns, as a question asks for its words' columns; uncompressed, as it is opened at each question.
        sparse.save_npz(folder / "weights.npz", matrix.tocsc(), compressed=False)
        words = {word: int(place) for word, place in made.vocabulary_.items()}
        (folder / "words.json").write_text(json.dumps(words, ensure_ascii=False), "utf-8")
        np.save(folder / "idf.npy", made.idf_.astype(np.float32) if words else np.zeros(0, np.float32))
        return {"terms": len(words)}

    def open(self, folder: Path, terms: Terms, device: str) -> Ranker:
        return _ByWeights(folder, terms, self.settings.similarity)


class _ByWeights(OneByOne):
    def __init__(self, folder: Path, terms: Terms, similarity: str) -> None:
        from scipy import sparse

        self.terms, self.similarity = terms, similarity
        self.matrix = sparse.load_npz(folder / "weights.npz")
        self.words = json.loads((folder / "words.json").read_text("utf-8"))
        self.idf = np.load(folder / "idf.npy")
        # Euclid's distance needs each text's length, which is computed once.
        squares = self.matrix.multiply(self.matrix).sum(axis=1)
        self.squares = np.asarray(squares, dtype=np.float32).ravel()

    def ranked(self, question: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        counts: dict[int, int] = {}
        for term in self.terms.of(question):
            if (place := self.words.get(term)) is not None:
                counts[place] = counts.get(place, 0) + 1
        places = np.array(sorted(counts), dtype=np.int64)
        # The question's words are weighted as the documents' are.
        weights = np.array([1 + np.log(counts[place]) for place in places], np.float32) * self.idf[places]
        if not len(places):
            return top(np.zeros(0, np.float32), most)
        if self.similarity == "cosine":
            weights /= np.linalg.norm(weights)
        dots = np.asarray(self.matrix[:, places] @ weights, dtype=np.float32)
        if self.similarity != "euclidean":
            return top(dots, most, above=0.0)
        # The nearest are those that share no word and are short; what shares none is no answer all the same.
        distances = np.sqrt(np.maximum(self.squares + float(weights @ weights) - 2 * dots, 0))
        return top(np.where(dots > 0, -distances, -np.inf), most, above=-np.inf)

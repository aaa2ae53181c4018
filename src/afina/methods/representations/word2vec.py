"""Word2vec: words' vectors trained on the train rows, a text's the mean of its words' by idf.  Mikolov et al., 2013."""

from collections.abc import Sequence

import numpy as np

from afina.data.plain_words import plain_words
from afina.data.word_vectors import mean_vector, train_words
from afina.methods.learners.base import Vectors
from afina.methods.representations.base import OfTexts, as_array, of_array, representation

__all__ = ["TrainedVectors"]


@representation("word2vec")
class TrainedVectors(OfTexts):
    """Compares the company that words keep in the train rows; an extra (`rag`)."""

    def learn(self, texts: Sequence[str], labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
        words, table, idf = train_words([plain_words(text) for text in texts], seed)
        return {"words": as_array(words), "table": table, "idf": idf}

    def open(self) -> None:
        self._place = {word: number for number, word in enumerate(of_array(self.arrays["words"]))}

    def of_texts(self, texts: Sequence[str]) -> Vectors:
        table, idf = self.arrays["table"], self.arrays["idf"]
        return np.stack([mean_vector(plain_words(text), self._place, table, idf) for text in texts])

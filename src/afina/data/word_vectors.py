"""Train words' vectors on texts: word2vec's skip-gram.  Mikolov et al., 2013, arXiv:1301.3781; gensim."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from afina.errors import UsageError

__all__ = ["WIDTH", "mean_vector", "train_words"]

WIDTH = 100
_EPOCHS = 20


def train_words(texts: Sequence[Sequence[str]], seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return words, their vectors (W, 100) and their idf (W,), of texts as lists of words; the same seed gives the same.

    idf(t) = ln(1 + N / (1 + df)). Raises `UsageError` where gensim is not installed.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise UsageError("word2vec needs gensim, which is not installed: pip install 'afina[rag]'.") from None
    # In a handful of texts most words stand once, and all of them are wanted.
    least = 2 if len(texts) > 50 else 1
    # One thread: with several the order in which they write is the machine's.
    made = Word2Vec(
        # A seed of 0 would be the library's own choice.
        vector_size=WIDTH, window=5, min_count=least, sg=1, negative=5, workers=1, seed=seed + 1, epochs=_EPOCHS,
    )  # fmt: skip
    # gensim refuses to train on no word at all.
    if not any(count >= least for count in Counter(term for text in texts for term in text).values()):
        return [], np.zeros((0, WIDTH), np.float32), np.zeros(0, np.float32)
    made.build_vocab(texts)
    made.train(texts, total_examples=made.corpus_count, epochs=_EPOCHS)
    words = list(made.wv.index_to_key)
    counts = Counter(term for text in texts for term in set(text))
    idf = np.array([np.log(1 + len(texts) / (1 + counts[word])) for word in words], np.float32)
    return words, np.asarray(made.wv.vectors, np.float32), idf


def mean_vector(text: Sequence[str], place: Mapping[str, int], table: np.ndarray, idf: np.ndarray) -> np.ndarray:
    """Return a text's vector (D,), the mean of its words' by idf, zero where none of them is known.

    v(d) = sum over terms of idf(t) v(t) / sum of idf(t), as in Arora et al., 2017, without their common component.
    """
    known = [place[term] for term in text if term in place]
    # Zero is like no vector.
    if not known:
        return np.zeros(WIDTH, np.float32)
    mean: np.ndarray = (idf[known] @ table[known] / idf[known].sum()).astype(np.float32)
    return mean

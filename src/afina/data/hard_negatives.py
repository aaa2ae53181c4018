"""Find hard negatives: passages with much of a question's words that do not answer it, by BM25.

    score(q, p) = sum over words w of q of idf(w) f(w, p) (k + 1) / (f(w, p) + k (1 - b + b |p| / mean |p|))

Robertson and Zaragoza, 2009. What scores nearly as high as the passage that answers is likely to answer too, and is left
out: a negative has at most `share` of that passage's score (Moreira et al., 2024, arXiv:2407.15831, "TopK-PercPos").
"""

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from afina.data.rows import Passages
from afina.errors import UsageError

__all__ = ["hard_negatives"]

_DEPTH = 30
"""The best passages of which negatives are drawn: those before it are mostly right or nearly so, those far behind easy."""


def hard_negatives(
    questions: Sequence[str], answers: np.ndarray, passages: Passages, *, count: int, share: float, seed: int = 0
) -> list[list[int]]:
    """Return for each row the numbers of at most `count` passages that do not answer its question.

    `answers` (N,) are the passages that the rows have. What the data give as wrong comes first; the rest is drawn from the
    best by BM25 that score at most `share` of what a row's own passage does, of which there may be too few. Raises
    `UsageError` where that takes a package that is not there.
    """
    # One generator for all rows, so that the same data and seed have the same negatives.
    random = np.random.default_rng(seed)
    chosen = [_some(passages.wrong.get(question, ()), count, random) for question in questions]
    # Before the package is asked for: data with wrong passages of their own need none.
    if all(len(some) == count for some in chosen):
        return chosen
    scores_of = _bm25(passages.texts)
    for question, answer, negatives in zip(questions, answers.tolist(), chosen, strict=True):
        scores = scores_of(question)
        most = share * scores[answer]
        # Neither what answers the question nor what is chosen already may be drawn.
        scores[[*passages.right[question], *negatives]] = 0.0
        allowed = np.where(scores <= most, scores, 0.0)
        # Sorted stably, so that passages of equal scores are taken in the data's order.
        best = np.argsort(-allowed, kind="stable")[:_DEPTH]
        negatives += _some(best[allowed[best] > 0].tolist(), count - len(negatives), random)
    return chosen


def _some(passages: Sequence[int], count: int, random: np.random.Generator) -> list[int]:
    """Return at most `count` of these, drawn where there are more."""
    order = range(len(passages)) if len(passages) <= count else random.permutation(len(passages))[:count]
    return [passages[place] for place in order]


def _bm25(texts: Sequence[str]) -> Callable[[str], np.ndarray]:
    """Return the function that gives a question's scores (P,) of all passages."""
    try:
        import bm25s
    except ImportError:
        raise UsageError(
            "hard_negatives: finding them needs an extra package; pip install 'afina[rag]', or set hard_negatives: 0."
        ) from None
    index = bm25s.BM25()
    # A passage without a word still has its place, which is its number.
    index.index([_words(text) or [""] for text in texts], show_progress=False)
    known = index.vocab_dict

    def scores(question: str) -> np.ndarray:
        # A word of no passage tells none apart, and the package does not know it.
        words = [word for word in _words(question) if word in known]
        if not words:
            return np.zeros(len(texts))
        of_all: np.ndarray = index.get_scores(words).astype(np.float64)
        return of_all

    return scores


def _words(text: str) -> list[str]:
    """Return a text's words without case and accents, as people who ask may leave them out."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"\w+", "".join(letter for letter in letters if not unicodedata.combining(letter)))

"""Metrics of what is found for a question: its scores are the ranks of the passages that answer it, from 1, 0 for none."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from afina.measure.metrics.base import Answered, Share, metric

__all__ = ["MRR10", "NDCG10", "Recall1", "Recall10", "Recall100"]


class _OfRanks(Share):
    """Averages over questions what the ranks (N, R) of each one's answering passages give, R at most."""

    of = ("ranks",)
    of_scores = True

    @abstractmethod
    def each(self, ranks: np.ndarray, answering: np.ndarray) -> np.ndarray:
        """Return each question's value (N,), of which `answering` (N,) passages answer it; a rank of 0 is none."""

    def parts(self, answers: Answered) -> np.ndarray:
        values = self.each(np.asarray(answers.scores, dtype=np.float64), np.asarray(answers.label))
        # A denominator of one: each question counts alike.
        return np.stack([values, np.ones(len(values))], axis=1)


@metric("ndcg@10")
class NDCG10(_OfRanks):
    """Gain 1/log2(1 + rank) of answering passages among the first ten, by the most that it could be.

    Järvelin and Kekäläinen, 2002; a passage answers or does not, as in trec_eval's `ndcg_cut_10` with grades of 1.
    """

    portuguese = "nDCG@10"

    def each(self, ranks: np.ndarray, answering: np.ndarray) -> np.ndarray:
        gain = _within(ranks, 10, 1 / np.log2(1 + np.maximum(ranks, 1)))
        # The most that can be gained: all answering passages first, ten at the most.
        best = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, 12)))])
        value: np.ndarray = gain / best[np.clip(answering, 1, 10).astype(int)]
        return value


@metric("mrr@10")
class MRR10(_OfRanks):
    """One by the rank of the first passage that answers, where it is among the first ten."""

    portuguese = "MRR@10"

    def each(self, ranks: np.ndarray, answering: np.ndarray) -> np.ndarray:
        # Passages that were not found have rank 0, which must not count as the first.
        first = np.where(ranks > 0, ranks, np.inf).min(axis=1)
        value: np.ndarray = np.where(first <= 10, 1 / first, 0.0)
        return value


class _Recall(_OfRanks):
    first: ClassVar[int]

    def each(self, ranks: np.ndarray, answering: np.ndarray) -> np.ndarray:
        # By all passages that answer, also where more of them than places.
        value: np.ndarray = _within(ranks, self.first, np.ones_like(ranks)) / np.maximum(answering, 1)
        return value


@metric("recall@1")
class Recall1(_Recall):
    """Share of the passages that answer a question which the first passage is."""

    portuguese = "revocação@1"
    first = 1


@metric("recall@10")
class Recall10(_Recall):
    """Share of the passages that answer a question which are among the first ten."""

    portuguese = "revocação@10"
    first = 10


@metric("recall@100")
class Recall100(_Recall):
    """Share of the passages that answer a question which are among the first hundred."""

    portuguese = "revocação@100"
    first = 100


def _within(ranks: np.ndarray, most: int, values: np.ndarray) -> np.ndarray:
    """Return the sum (N,) of the values (N, R) whose rank is one of the first."""
    total: np.ndarray = np.where((ranks > 0) & (ranks <= most), values, 0.0).sum(axis=1)
    return total

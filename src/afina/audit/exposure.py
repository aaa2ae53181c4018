"""Exposure of a secret, in bits: log2 |R| - log2 rank(s), its rank by loss among all secrets R that it could have been.

Carlini et al., 2019, The Secret Sharer, arXiv:1802.08232, definition 3. A model that knows nothing gives a secret any rank,
log2 e = 1.44 bits in the mean; one that has it by heart gives it rank 1, which is log2 |R| bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Rank", "chance", "modelled_bits", "rank_of"]


@dataclass(frozen=True)
class Rank:
    """Where a secret stands by loss: 1 is the likeliest of `of`, itself among them."""

    rank: int
    of: int

    @property
    def bits(self) -> float:
        """Exposure, by the definition where `of` is all of R; else by sampling (section 4.3), log2 `of` at the most."""
        return math.log2(self.of) - math.log2(self.rank)


def rank_of(loss: float, references: np.ndarray) -> Rank:
    """Return the rank of a secret's loss among those of other secrets (N,); one as likely counts as likelier."""
    return Rank(1 + int((references <= loss).sum()), 1 + len(references))


def modelled_bits(loss: float, references: np.ndarray, space: int) -> float:
    """Return exposure by distribution modelling: -log2 P(X <= loss), X skew-normal as the references are (section 4.3).

    The distribution has their mean, deviation and skewness. log2 `space` at the most.
    """
    from scipy.stats import skewnorm

    deviation = float(references.std())
    if deviation == 0:
        return 0.0 if loss >= references[0] else math.log2(space)
    skewness = float((((references - references.mean()) / deviation) ** 3).mean())
    # What a skew-normal distribution can have is below 0.9953.
    power = min(abs(skewness), 0.99) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * power / (power + ((4 - math.pi) / 2) ** (2 / 3))), skewness)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    place = float(references.mean()) - scale * delta * math.sqrt(2 / math.pi)
    below = float(skewnorm.cdf(loss, delta / math.sqrt(1 - delta**2), place, scale))
    return min(math.log2(space), -math.log2(max(below, 2.0**-1000)))


def chance(ranks: Sequence[Rank]) -> float:
    """Return how probable ranks as low as these are together where nothing was learned (Fisher's combined test)."""
    from scipy.stats import chi2

    return float(chi2.sf(2 * math.log(2) * sum(rank.bits for rank in ranks), 2 * len(ranks)))

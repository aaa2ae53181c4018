"""Compute a secret's exposure in bits: log2 |R| - log2 rank(s), its rank by loss among all possible secrets R.

Carlini et al., 2019, The Secret Sharer, arXiv:1802.08232, definition 3. To a model that never saw the secret every
rank is equally likely, which is log2 e = 1.44 bits on average; a model that memorised it gives rank 1, log2 |R| bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Rank", "chance", "modelled_bits", "rank_of"]


@dataclass(frozen=True)
class Rank:
    """Holds the place of a secret by loss: 1 is the likeliest of `of` secrets, itself included."""

    rank: int
    of: int

    @property
    def bits(self) -> float:
        """Return the exposure: exact where all of R was ranked, else an estimate of at most log2 `of` (section 4.3)."""
        return math.log2(self.of) - math.log2(self.rank)


def rank_of(loss: float, references: np.ndarray) -> Rank:
    """Return the rank of a secret's loss among those of other secrets (N,); a tie counts against the secret."""
    # Counted against the secret, as a model that finds all alike gives nothing away.
    return Rank(1 + int((references <= loss).sum()), 1 + len(references))


def modelled_bits(loss: float, references: np.ndarray, space: int) -> float:
    """Estimate the exposure by modelling the distribution: -log2 P(X <= loss), at most log2 `space` (section 4.3).

    X follows the skew-normal distribution with the references' mean, standard deviation and skewness.
    """
    from scipy.stats import skewnorm

    # Three moments of the references give the three parameters of the distribution.
    deviation = float(references.std())

    # All other secrets have one loss: the secret is below them or it is not.
    if deviation == 0:
        return 0.0 if loss >= references[0] else math.log2(space)
    skewness = float((((references - references.mean()) / deviation) ** 3).mean())

    # A skew-normal distribution cannot be more skewed than 0.9953.
    power = min(abs(skewness), 0.99) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * power / (power + ((4 - math.pi) / 2) ** (2 / 3))), skewness)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    place = float(references.mean()) - scale * delta * math.sqrt(2 / math.pi)
    below = float(skewnorm.cdf(loss, delta / math.sqrt(1 - delta**2), place, scale))
    # Beyond the smallest probability the distribution says nothing; the space bounds the exposure before that.
    return min(math.log2(space), -math.log2(max(below, 2.0**-1000)))


def chance(ranks: Sequence[Rank]) -> float:
    """Return the p-value of ranks as low as these together if nothing was learned (Fisher's combined test)."""
    from scipy.stats import chi2

    # A rank among R is a uniform p-value, rank / R but for rounding, and minus log of it is the exposure.
    return float(chi2.sf(2 * math.log(2) * sum(rank.bits for rank in ranks), 2 * len(ranks)))

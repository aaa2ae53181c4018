"""Compare how often names stand in two samples of rows, and say which name's share has changed most."""

import numpy as np

from afina.drift.channel import Measured
from afina.drift.two_samples import counts_of, same_shares, stability_of
from afina.results.certainty import wilson

__all__ = ["of_shares"]


def of_shares(first: np.ndarray, second: np.ndarray, random: np.random.Generator, *, smallest: float) -> Measured:
    """Return the share, in names (M,), of the name whose share differs most from that in names (N,)."""
    names, counts = counts_of(first, second)
    shares = counts / counts.sum(axis=1, keepdims=True)
    # By the spread that chance gives: of a rare name a small difference is much.
    pooled = counts.sum(axis=0) / counts.sum()
    most = int((np.abs(shares[1] - shares[0]) / np.sqrt(pooled * (1 - pooled) + 1e-9)).argmax())
    p = same_shares(counts, random, smallest=smallest)
    low, high = wilson(float(counts[1, most]), len(second))
    return Measured(float(shares[1, most]), low, high, float(shares[0, most]), p, stability_of(counts), names[most])

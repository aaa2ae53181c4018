"""Watch what texts are about: maximum mean discrepancy of their vectors (Gretton et al., 2012)."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import discrepancy

__all__ = ["Vectors"]

_FEWEST = 8
_MOST = 256
"""Rows of a window that are compared; more make it slower and hardly surer."""


@channel("vectors")
class Vectors(Channel):
    """The squared discrepancy of vectors; 0 where both kinds of rows are alike."""

    title = "what texts are about"
    portuguese = "do que tratam os textos"
    digits = 4

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        first, second = earlier.vectors, rows.vectors[:_MOST]
        if min(len(first), len(second)) < _FEWEST:
            return None
        apart = discrepancy(first, second, random, smallest=smallest)
        return Measured(apart.value, apart.low, apart.high, 0.0, apart.p)

"""Watch how long texts are."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel, means_compared
from afina.drift.seen import Seen

__all__ = ["TextLengths"]


@channel("lengths")
class TextLengths(Channel):
    """The mean number of words."""

    title = "words a text"
    portuguese = "palavras por texto"
    digits = 1

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured:
        return means_compared(earlier.length, rows.length)

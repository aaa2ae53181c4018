"""Watch how long texts are."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import interval, same_law, stability

__all__ = ["TextLengths"]


@channel("lengths")
class TextLengths(Channel):
    """The mean number of words."""

    title = "words a text"
    portuguese = "palavras por texto"
    digits = 1

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured:
        first, second = earlier.length, rows.length
        return Measured(
            float(second.mean()), *interval(second), float(first.mean()), same_law(first, second),
            stability(first, second),
        )  # fmt: skip

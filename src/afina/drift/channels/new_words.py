"""Watch words that no train row has."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import greater, interval

__all__ = ["NewWords"]


@channel("new_words")
class NewWords(Channel):
    """The share of a text's words that are new; rows that were not trained on have some, and are what it is held against."""

    title = "new words"
    portuguese = "palavras novas"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured:
        first, second = earlier.unseen, rows.unseen
        return Measured(float(second.mean()), *interval(second), float(first.mean()), greater(first, second))

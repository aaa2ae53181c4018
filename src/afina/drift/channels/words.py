"""Watch which words texts have: how rare they are among the train rows' words, in bits a word."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel, means_compared
from afina.drift.seen import Seen

__all__ = ["Rarity"]


@channel("words")
class Rarity(Channel):
    """The mean of a text's bits a word.

    By text and not by word: words of one text come together, and a test that takes each for a draw of its own would find
    drift in every window.
    """

    title = "rarity of words, bits"
    portuguese = "raridade das palavras, bits"
    digits = 2

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured:
        return means_compared(earlier.surprise, rows.surprise)

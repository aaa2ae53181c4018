"""Watch the languages of texts."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.shares import of_shares

__all__ = ["Languages"]


@channel("languages")
class Languages(Channel):
    """The share of the language whose share has changed most."""

    title = "languages"
    portuguese = "línguas"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured:
        return of_shares(earlier.spoken, rows.spoken, random, smallest=smallest)

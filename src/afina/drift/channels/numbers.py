"""Watch the numbers that are predicted."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel, means_compared
from afina.drift.seen import Seen

__all__ = ["Numbers"]


@channel("numbers")
class Numbers(Channel):
    """The mean predicted number."""

    title = "predicted numbers"
    portuguese = "números previstos"
    part = "answers"

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        first, second = earlier.value, rows.value
        if first is None or second is None:
            return None
        return means_compared(first, second)

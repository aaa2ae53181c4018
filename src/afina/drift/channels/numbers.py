"""Watch the numbers that are predicted."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import interval, same_law, stability

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
        return Measured(
            float(second.mean()), *interval(second), float(first.mean()), same_law(first, second),
            stability(first, second),
        )  # fmt: skip

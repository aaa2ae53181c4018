"""Watch how far off predicted numbers are, where right ones are known by now."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import greater, interval

__all__ = ["Off"]

_FEWEST = 20


@channel("off")
class Off(Channel):
    """The mean absolute error of the numbers that can be judged."""

    title = "mean absolute error"
    portuguese = "erro absoluto médio"
    part = "labels"

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        first, second = earlier.right, rows.right
        if rows.value is None or min(len(first), len(second)) < _FEWEST:
            return None
        # Further off alone is an alarm.
        return Measured(float(second.mean()), *interval(second), float(first.mean()), greater(first, second))

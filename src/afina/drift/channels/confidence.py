"""Watch how sure the adapter is."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel, means_compared
from afina.drift.seen import Seen

__all__ = ["Confidence"]


@channel("confidence")
class Confidence(Channel):
    """The mean probability of what was predicted."""

    title = "confidence"
    portuguese = "confiança"
    part = "answers"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        first, second = earlier.confidence, rows.confidence
        if first is None or second is None:
            return None
        return means_compared(first, second)

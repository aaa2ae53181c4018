"""Watch which labels are predicted."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.shares import of_shares

__all__ = ["Labels"]


@channel("labels")
class Labels(Channel):
    """The share of the label whose share has changed most."""

    title = "predicted labels"
    portuguese = "rótulos previstos"
    part = "answers"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        if earlier.label is None or rows.label is None:
            return None
        return of_shares(earlier.label, rows.label, random, smallest=smallest)

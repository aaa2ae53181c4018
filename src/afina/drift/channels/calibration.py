"""Watch whether the adapter is as often right as it says."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.drift.two_samples import further, interval

__all__ = ["CalibrationGap"]

_FEWEST = 30


@channel("calibration")
class CalibrationGap(Channel):
    """The mean confidence less the share of right answers: above 0 it is surer than it should be."""

    title = "confidence less right answers"
    portuguese = "confiança menos respostas certas"
    part = "labels"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        first, second = _gaps(earlier), _gaps(rows)
        if min(len(first), len(second)) < _FEWEST:
            return None
        return Measured(
            float(second.mean()),
            *interval(second),
            float(first.mean()),
            further(first, second),
        )


def _gaps(rows: Seen) -> np.ndarray:
    """Return confidence less right (0 or 1) of each row that can be judged."""
    if rows.confidence is None:
        return np.zeros(0)
    return np.asarray(rows.confidence[rows.known] - rows.right)

"""Watch how often answers are right, where right ones are known by now."""

import numpy as np

from afina.drift.channel import Channel, Measured, channel
from afina.drift.seen import Seen
from afina.results.certainty import wilson

__all__ = ["Right"]

_FEWEST = 8


@channel("right")
class Right(Channel):
    """The share of right answers among those that can be judged."""

    title = "right answers"
    portuguese = "respostas certas"
    part = "labels"
    share = True

    @classmethod
    def measure(cls, earlier: Seen, rows: Seen, random: np.random.Generator, *, smallest: float) -> Measured | None:
        first, second = earlier.right, rows.right
        if rows.value is not None or min(len(first), len(second)) < _FEWEST:
            return None
        from scipy.stats import fisher_exact

        # Worse alone is an alarm; better is good news.
        table = [[first.sum(), len(first) - first.sum()], [second.sum(), len(second) - second.sum()]]
        p = float(fisher_exact(table, alternative="greater").pvalue)
        return Measured(float(second.mean()), *wilson(float(second.sum()), len(second)), float(first.mean()), p)

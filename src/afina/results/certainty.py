"""Tell how sure a figure is by its test rows: what other rows of the same kind might have given.

A share is right so many times of n: Wilson's interval (1927), which holds for few rows and near 0 and 1. Any other metric:
the percentiles of the bootstrap over rows.
"""

import math

import numpy as np

from afina.measure.bootstrap import interval_of, redrawn
from afina.measure.metrics.base import RightRows, metric_named
from afina.results.predictions import Predictions
from afina.results.statistics import Interval

__all__ = ["row_interval", "wilson"]

_Z = 1.959963984540054
"""Standard deviations about the mean that hold 95% of a normal distribution."""
_RESAMPLES = 500


def wilson(right: float, rows: int) -> tuple[float, float]:
    """Return the 95% interval of a share that held in `right` of `rows`; of none, all from 0 to 1."""
    if rows == 0:
        return 0.0, 1.0
    # Wilson's interval and not the usual one: at shares near 0 or 1, and for few rows, that one is too narrow or leaves
    # [0, 1].
    share, spread = right / rows, _Z**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def row_interval(predictions: Predictions, metric: str, *, seed: int = 0) -> Interval:
    """Return a run's metric with the 95% interval that its test rows give."""
    rows = len(predictions.item)
    measured = metric_named(metric)
    if isinstance(measured, RightRows):
        right = int(measured.right(predictions).sum())
        return Interval(right / rows, *wilson(right, rows), 1)
    # A seed that stays: a report that is written again shows the same interval.
    random = np.random.default_rng(seed)
    (drawn,) = redrawn([measured.over(predictions)], rows, resamples=_RESAMPLES, random=random)
    return Interval(measured.value(predictions), *interval_of(drawn), 1)

"""Measure gaps between groups: the largest difference of a rate between two groups, tested by permuting who is in which.

A rate of group g is sum(hit) / sum(counted) over its rows: selection counts all rows and hits those predicted as a class, a
false positive rate counts rows of other classes, and so on (Hardt et al., 2016, arXiv:1610.02413; fairlearn's `MetricFrame`
gives the same rates). The gap is the largest rate minus the smallest, and the largest gap of all classes where there are
several. A largest difference is above 0 by chance alone, the more so the more groups there are, so that its p-value is the
share of permutations of the groups whose gap is as large: one test however many groups and classes there are. Where a rate
depends on the labels, groups are permuted within each label: that a group has more rows of a hard class is no bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afina.measure.bootstrap import Measure

__all__ = ["RATES", "Gap", "Rate", "gap_measure", "gap_of", "permuted_ps", "rates_of"]

_PERMUTATIONS = 20_000
"""Most permutations: a p-value that is still below 0.05 when it is corrected for a hundred tests."""
_ENOUGH = 20
"""Permutations with a gap as large after which no further ones are drawn: chance explains it."""


@dataclass(frozen=True)
class Rate:
    """Defines a rate for each of C classes: (N, C) what a row adds above and below the line."""

    name: str
    hit: np.ndarray
    counted: np.ndarray
    classes: tuple[str, ...]
    """Names of the classes; one empty name for a rate that is of all classes together."""
    within_labels: bool
    """True where groups are permuted within labels."""

    def counted_in(self, group: np.ndarray, groups: int) -> np.ndarray:
        """Return how many rows count for each class in each group (G, C); `group` (N,) numbers the rows' groups."""
        return _sums(self.counted, group, groups)


@dataclass(frozen=True)
class Gap:
    """Holds the largest gap of a rate between two groups."""

    value: float
    column: int
    """Place of the class."""
    high: int
    low: int
    """Numbers of the groups with the largest and the smallest rate."""
    rates: np.ndarray
    """(G, C) rate of each group; nan where it counts too few rows."""


RATES = ("accuracy", "selection", "excess_selection", "false_positives", "false_negatives", "calibration")
"""Names of the rates, which are the checks' names."""


def rates_of(label: np.ndarray, answer: np.ndarray, sure: np.ndarray, names: Sequence[str]) -> list[Rate]:
    """Return all rates of answers (N,), each with the probability (N,) that the model gave it, beside labels (N,).

    Of two classes only the second is looked at: what is selected more is the other one less.
    """
    classes = [1] if len(names) == 2 else list(range(len(names)))
    shown, ones = tuple(names[c] for c in classes), np.ones((len(label), 1))
    truly, chosen = (np.stack([own == c for c in classes], axis=1).astype(float) for own in (label, answer))
    right = (label == answer).astype(float)[:, None]
    return [
        Rate("accuracy", 1 - right, ones, ("",), True),
        Rate("selection", chosen, np.ones_like(chosen), shown, False),
        Rate("excess_selection", chosen - truly, np.ones_like(chosen), shown, True),
        Rate("false_positives", chosen * (1 - truly), 1 - truly, shown, True),
        Rate("false_negatives", (1 - chosen) * truly, truly, shown, True),
        Rate("calibration", sure[:, None] - right, ones, ("",), True),
    ]


def gap_of(rate: Rate, group: np.ndarray, groups: int, fewest: int = 1) -> Gap | None:
    """Return the largest gap among groups (N,) that count at least `fewest` rows; None where two do not."""
    counted = rate.counted_in(group, groups)
    rates = np.where(counted >= fewest, _sums(rate.hit, group, groups) / np.maximum(counted, 1e-12), np.nan)
    enough = (~np.isnan(rates)).sum(axis=0) > 1
    if not enough.any():
        return None
    # A class of which two groups have too few rows has no gap.
    spread = np.where(
        enough, np.nanmax(np.where(enough, rates, 0), axis=0) - np.nanmin(np.where(enough, rates, 0), axis=0), -1
    )
    column = int(spread.argmax())
    # Where all are alike the last stands beside the first.
    order = np.argsort(-rates[:, column], kind="stable")[: int((~np.isnan(rates[:, column])).sum())]
    return Gap(float(spread[column]), column, int(order[0]), int(order[-1]), rates)


def permuted_ps(
    rates: Sequence[Rate], group: np.ndarray, groups: int, label: np.ndarray, *, fewest: int = 1, seed: int = 0,
    permutations: int = _PERMUTATIONS,
) -> list[float]:  # fmt: skip
    """Return for each rate the share of permutations of the groups whose gap is as large, this one counted among them.

    A rate that chance has exceeded twenty times is drawn no further, and its p-value is twenty in so many draws (Besag and
    Clifford, 1991).
    """
    p_values = [1.0] * len(rates)
    for within in (True, False):
        strata = [np.flatnonzero(label == value) for value in np.unique(label)] if within else [np.arange(len(group))]
        tested = [place for place, rate in enumerate(rates) if rate.within_labels == within]
        p_of_tested = _exceeded([rates[place] for place in tested], group, groups, strata, (fewest, seed, permutations))
        for place, p in zip(tested, p_of_tested, strict=True):
            p_values[place] = p
    return p_values


def _exceeded(
    rates: Sequence[Rate], group: np.ndarray, groups: int, strata: Sequence[np.ndarray], how: tuple[int, int, int]
) -> list[float]:
    """Return the p-value of each rate, by groups permuted within strata."""
    fewest, seed, permutations = how
    random = np.random.default_rng(seed)
    gaps = [gap_of(rate, group, groups, fewest) for rate in rates]
    assert all(gap is not None for gap in gaps), "a rate without a gap is not tested"
    # Only the groups and classes whose rates count: a small group's would be far away in most permutations.
    tests = [
        (place, rate.hit.T, rate.counted.T, ~np.isnan(gap.rates), gap.value)
        for place, (rate, gap) in enumerate(zip(rates, gaps, strict=True)) if gap is not None
    ]  # fmt: skip
    as_large, drawn = np.ones(len(rates), dtype=int), np.ones(len(rates), dtype=int)
    permuted, numbers = group.copy(), np.arange(groups)
    for _ in range(permutations):
        if not tests:
            break
        for rows in strata:
            permuted[rows] = group[random.permutation(rows)]
        one_hot = (permuted[:, None] == numbers).astype(float)
        for place, hit, below, counts, value in tests:
            counted = (below @ one_hot).T
            values = np.where(counts & (counted > 0), (hit @ one_hot).T / np.maximum(counted, 1e-12), np.nan)
            as_large[place] += _largest(values) >= value - 1e-12
            drawn[place] += 1
        tests = [test for test in tests if as_large[test[0]] <= _ENOUGH]
    return [float(count / of) for count, of in zip(as_large, drawn, strict=True)]


def gap_measure(rate: Rate, group: np.ndarray, gap: Gap) -> Measure:
    """Return the gap of the two groups and the class that are furthest apart as a measure, for the bootstrap.

    The two stay the same in all draws: the largest of many redrawn gaps would be larger than the true one.
    """
    parts = [
        own * (group == number) for number in (gap.high, gap.low)
        for own in (rate.hit[:, gap.column], rate.counted[:, gap.column])
    ]  # fmt: skip
    return Measure(
        rate.name, np.stack(parts, axis=1),
        lambda sums: float(sums[0] / max(sums[1], 1e-12) - sums[2] / max(sums[3], 1e-12)),
    )  # fmt: skip


def _largest(rates: np.ndarray) -> float:
    high = np.where(np.isnan(rates), -np.inf, rates).max(axis=0)
    low = np.where(np.isnan(rates), np.inf, rates).min(axis=0)
    return float(np.max(high - low, initial=-np.inf))


def _sums(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, group, values)
    return sums

"""Tell which differences are real: intervals over seeds, and paired tests of methods on the same test items.

The test is a hierarchical bootstrap (Efron and Tibshirani, 1993, chapter 16): items are drawn again jointly for both
methods, and seeds within each, so that both the test set's and training's chance are in the interval. One seed each and
accuracy is McNemar's exact test. P-values of all pairs are corrected together by Holm's method (1979).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from afina.measure.bootstrap import Figure, Measure, interval_of, redrawn
from afina.measure.metrics.base import Metric, RightRows, higher_is_better, metric_named
from afina.results.predictions import Predictions
from afina.results.result import Result

__all__ = [
    "Cell",
    "Comparison",
    "Interval",
    "Verdict",
    "bootstrap_p",
    "cells",
    "compare",
    "holm",
    "mcnemar",
    "mean_interval",
    "verdict",
]

_FEW_CROSSINGS = 10
"""Redrawn differences beyond zero below which their count says too little of a p-value."""
LEVEL = 0.05
"""A difference whose corrected p-value is not below this is called a tie."""


@dataclass(frozen=True)
class Interval:
    """Mean of some values and its 95% interval; without bounds for a single value."""

    mean: float
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same test items; `difference` is first minus second, in units of the metric."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    tie: bool
    test: str
    seeds: int
    items: int


@dataclass(frozen=True)
class Cell:
    """One method on one model and data set, over its seeds."""

    model: str
    dataset: str
    method: str
    task: str
    metric: str
    runs: Sequence[Result]
    failed: Sequence[Result]
    test: Interval | None
    train: Interval | None
    memory_bytes: Interval | None
    seconds: Interval | None
    trainable_parameters: int | None


@dataclass(frozen=True)
class Verdict:
    """The best method of one model and data set, and those that cannot be told from it."""

    best: str
    tied: tuple[str, ...]
    certain: bool
    single_seed: bool = field(default=False)


def mean_interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Return the mean with Student's t interval over the values."""
    numbers = np.asarray(list(values), dtype=float)
    if len(numbers) < 2:
        return Interval(float(numbers.mean()), None, None, len(numbers))
    from scipy.stats import t

    # Student's t and not a bootstrap: a handful of seeds is too few to be drawn again.
    half = float(t.ppf((1 + level) / 2, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers)))
    mean = float(numbers.mean())
    return Interval(mean, mean - half, mean + half, len(numbers))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down corrected p-values, in the order given."""
    order = np.argsort(p_values)
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        # The k-th smallest p-value is multiplied by the hypotheses that are left; a later one is never below an earlier
        # one.
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def cells(results: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Group results by model, data set and method, in the order in which they first came."""
    grouped: dict[tuple[str, str, str], list[Result]] = {}
    for result in map(Result, results):
        grouped.setdefault((result.model, result.dataset, result.method_label), []).append(result)
    return [_cell(key, group) for key, group in grouped.items()]


def _cell(key: tuple[str, str, str], group: list[Result]) -> Cell:
    runs = [result for result in group if result.is_finished]

    def over(values: Iterable[float | None]) -> Interval | None:
        known = [value for value in values if value is not None]
        return mean_interval(known) if known else None

    # Where no run finished, the first of the others says task and metric.
    first = runs[0] if runs else group[0]
    return Cell(
        *key, task=first.task, metric=first.metric or "accuracy", runs=runs,
        failed=[result for result in group if result.status == "failed"],
        test=over(run.test_metric for run in runs), train=over(run.train_metric for run in runs),
        memory_bytes=over(run.peak_memory_bytes for run in runs), seconds=over(run.train_seconds for run in runs),
        trainable_parameters=first.trainable_parameters,
    )  # fmt: skip


def compare(
    predictions: Mapping[str, Mapping[int, Predictions]], metric: str, *, resamples: int = 2000, seed: int = 0
) -> list[Comparison]:
    """Compare every pair of methods; `predictions` maps method to seed to predictions on the same test items."""
    pairs = list(combinations(predictions, 2))
    if not pairs:
        return []
    measured = metric_named(metric)
    draws = _Draws(predictions, measured, resamples, seed)
    raw = [_compare_pair(first, second, predictions, measured, draws) for first, second in pairs]
    corrected = holm([entry.p_value for entry in raw])
    return [
        Comparison(**{**vars(entry), "p_holm": p, "tie": p >= LEVEL}) for entry, p in zip(raw, corrected, strict=True)
    ]


class _Draws:
    """Bootstrap values of the metric of every run, on the same redrawn items for all, and redrawn seeds."""

    def __init__(
        self, predictions: Mapping[str, Mapping[int, Predictions]], metric: Metric, count: int, seed: int
    ) -> None:
        # One generator for all draws: the comparisons of a report come out the same whenever it is written.
        self.random = np.random.default_rng(seed)
        runs = {(method, own): run for method, mine in predictions.items() for own, run in mine.items()}
        self.count, self.items = count, len(next(iter(runs.values())).item)
        # All runs are measured on the same redrawn items, so that what makes an item hard cancels out in differences.
        figures = [_figure(metric, run) for run in runs.values()]
        drawn = redrawn(figures, self.items, resamples=count, random=self.random)
        self.values: dict[tuple[str, int], np.ndarray] = dict(zip(runs, drawn, strict=True))

    def difference(self, first: str, second: str) -> np.ndarray:
        """Return redrawn differences: shared seeds are drawn jointly, as they saw the same batches; others apart."""
        mine = {seed: values for (method, seed), values in self.values.items() if method == first}
        theirs = {seed: values for (method, seed), values in self.values.items() if method == second}
        rows = np.arange(self.count)
        # Methods of a study share their seeds, unless one of a seed's runs failed.
        shared = sorted(set(mine) & set(theirs))
        if shared:
            gaps = _widened(np.stack([mine[seed] - theirs[seed] for seed in shared]))
            return np.asarray(np.mean([gaps[pick, rows] for pick in self._pick(len(gaps))], axis=0))
        # No seed in common: the two methods' seeds are independent, and are drawn apart.
        a, b = _widened(np.stack(list(mine.values()))), _widened(np.stack(list(theirs.values())))
        first_mean = np.mean([a[pick, rows] for pick in self._pick(len(a))], axis=0)
        return np.asarray(first_mean - np.mean([b[pick, rows] for pick in self._pick(len(b))], axis=0))

    def _pick(self, seeds: int) -> np.ndarray:
        return self.random.integers(0, seeds, (seeds, self.count))


def _figure(metric: Metric, run: Predictions) -> Measure | Figure:
    """Return a run's metric as the bootstrap takes it; a share of right rows as a sum, which is faster."""
    if not isinstance(metric, RightRows):
        return metric.over(run)
    right = metric.right(run).astype(np.float64)
    return Measure("right", right[:, None], lambda sums: float(sums[0]) / len(right))


def _widened(values: np.ndarray) -> np.ndarray:
    """Spread (S, draws) about its mean over seeds by sqrt(S / (S - 1)): redrawing few seeds shows too little variance."""
    seeds = len(values)
    if seeds == 1:
        return values
    centre = values.mean(axis=0)
    return np.asarray(centre + (values - centre) * np.sqrt(seeds / (seeds - 1)))


def _compare_pair(
    first: str, second: str, predictions: Mapping[str, Mapping[int, Predictions]], metric: Metric, draws: _Draws
) -> Comparison:
    mine, theirs = predictions[first], predictions[second]
    observed = float(
        np.mean([metric.value(one) for one in mine.values()]) - np.mean([metric.value(one) for one in theirs.values()])
    )
    gaps = draws.difference(first, second)
    low, high = interval_of(gaps)

    # One run against one, row by row right or wrong: the exact test of what only one of them gets right.
    if isinstance(metric, RightRows) and len(mine) == len(theirs) == 1:
        right, other = (metric.right(next(iter(runs.values()))) for runs in (mine, theirs))
        p_value, test = mcnemar(right, other), "McNemar"
    else:
        p_value, test = bootstrap_p(observed, gaps, lambda: _seed_variance(mine, theirs, metric)), "paired bootstrap"
    return Comparison(
        first, second, observed, low, high, p_value, p_holm=p_value, tie=False, test=test,
        seeds=min(len(mine), len(theirs)), items=draws.items,
    )  # fmt: skip


def bootstrap_p(observed: float, gaps: np.ndarray, seeds: Callable[[], tuple[float, int]] = lambda: (0.0, 0)) -> float:
    """Return a two-sided p-value of a difference from its redrawn values (draws,).

    `seeds` gives the part of its variance that comes from seeds, and the degrees of freedom of that; none unless given.
    """
    # Twice the smaller tail, with one added so that a finite number of draws never claims zero.
    tail = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(gaps) + 1))

    # Counts of a few crossings are coarse; the smaller of both is taken, as the count with its added one is an upper
    # bound.
    return p_value if tail >= _FEW_CROSSINGS else min(p_value, _far_tail(observed, gaps, seeds()))


def _seed_variance(
    mine: Mapping[int, Predictions], theirs: Mapping[int, Predictions], metric: Metric
) -> tuple[float, int]:
    """Return the part of the difference's variance that comes from seeds, and its degrees of freedom."""
    a, b = ({seed: metric.value(one) for seed, one in runs.items()} for runs in (mine, theirs))
    shared = sorted(set(a) & set(b))
    if shared:
        return _variance_of_mean([a[seed] - b[seed] for seed in shared]), len(shared) - 1
    return _variance_of_mean(list(a.values())) + _variance_of_mean(list(b.values())), min(len(a), len(b)) - 1


def _variance_of_mean(values: Sequence[float]) -> float:
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0


def _far_tail(observed: float, gaps: np.ndarray, seeds: tuple[float, int]) -> float:
    """Return a two-sided p of a difference so far from zero that hardly any redrawn one crosses it: Student's tail.

    Two thousand draws cannot show a p below 0.001, and the correction for 171 pairs (19 methods) wants 0.0003. The spread
    is that of the redrawn differences; of their variance only the seeds' part is known from few values, so that the
    degrees of freedom are Satterthwaite's (1946), infinite without that part.
    """
    from scipy.stats import norm, t

    total = float(gaps.var())

    # No redrawn difference differs from another: the methods answer alike on every item, or one is always better.
    if total == 0:
        return 0.0 if observed else 1.0
    distance = abs(observed) / total**0.5
    part, freedom = seeds
    if part == 0 or freedom < 1:
        return float(2 * norm.sf(distance))
    return float(2 * t.sf(distance, max(freedom, freedom * (total / part) ** 2)))


def mcnemar(right: np.ndarray, other: np.ndarray) -> float:
    """Return the exact two-sided p-value of McNemar's test: what only the first of two has, against what only the other."""
    from scipy.stats import binomtest

    # Rows on which both are right or wrong say nothing of which is better.
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def verdict(group: Sequence[Cell], comparisons: Sequence[Comparison]) -> Verdict | None:
    """Return the best of one model's and data set's cells and what ties with it; None when nothing finished."""
    done = [cell for cell in group if cell.test is not None]
    if not done:
        return None
    # Larger is worse of errors and losses.
    sign = 1 if higher_is_better(done[0].metric) else -1
    best = max(done, key=lambda cell: sign * cell.test.mean if cell.test else -np.inf)

    # Ties with the best alone: of two others that tie with each other nothing is said here.
    tied = {
        entry.second if entry.first == best.method else entry.first
        for entry in comparisons
        if entry.tie and best.method in (entry.first, entry.second)
    }
    order = tuple(cell.method for cell in done if cell.method in tied)
    return Verdict(best.method, order, certain=not order, single_seed=max(len(cell.runs) for cell in done) == 1)

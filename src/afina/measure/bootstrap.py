"""Estimate figures over items (documents, questions) with bootstrap intervals, and paired differences between them.

A `Measure` is a function of sums over items: accuracy is sum(right) / sum(1), perplexity exp(sum(-log p) / sum(tokens)).
Drawing the items again with replacement (Efron and Tibshirani, 1993, chapter 13) is then one matrix product: how often
each item was drawn, times what it adds to the sums. A difference compares both on the same redrawn items (paired).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "Figure", "Measure", "estimates", "interval_of", "mean_of", "perplexity_of", "redrawn"]

Figure = Callable[[np.ndarray], float]
"""A figure that is no function of sums: it is computed from the items' places (N,), some of which stand there again."""
_AT_ONCE = 100
"""Draws that are made at once: the counts of all would fill memory."""


@dataclass(frozen=True)
class Measure:
    """Defines a figure over N items."""

    name: str
    parts: np.ndarray
    """(N, S) what each item adds to each of the S sums."""
    value: Callable[[np.ndarray], float]
    """Computes the figure from the sums (S,)."""
    higher_is_better: bool = True

    @property
    def overall(self) -> float:
        """Return the figure over all N items."""
        return self.value(self.parts.sum(axis=0))


@dataclass(frozen=True)
class Estimate:
    """Holds a value with its 95% interval; a single item has no interval."""

    value: float
    low: float | None = None
    high: float | None = None


def mean_of(name: str, values: np.ndarray, *, higher_is_better: bool = True) -> Measure:
    """Return the mean of values (N,) as a measure."""
    parts = np.stack([values, np.ones(len(values))], axis=1)
    return Measure(name, parts, lambda sums: float(sums[0] / sums[1]), higher_is_better)


def perplexity_of(name: str, lost: np.ndarray, counts: np.ndarray) -> Measure:
    """Return the perplexity per token as a measure: items have `counts` (N,) tokens, which lose `lost` (N,) nats together."""
    parts = np.stack([lost, counts], axis=1)
    return Measure(name, parts, lambda sums: float(np.exp(sums[0] / sums[1])), False)


def estimates(
    measures: list[Measure], *, resamples: int = 2000, seed: int = 0, groups: np.ndarray | None = None
) -> tuple[list[Estimate], list[Estimate]]:
    """Return an estimate of each measure, and of its difference from the first; all are measured on the same items.

    With `groups` (N,) items are drawn within their group, so that every resample has as many of each group.
    """
    items = len(measures[0].parts)
    assert all(len(measure.parts) == items for measure in measures), "paired measures are of the same items"
    values = np.array([measure.overall for measure in measures])
    # One item drawn again is the same item: there is no interval.
    if items < 2:
        return [Estimate(float(value)) for value in values], [Estimate(float(value)) for value in values - values[0]]
    drawn = redrawn(measures, items, resamples=resamples, random=np.random.default_rng(seed), groups=groups)

    # Paired: both figures of a difference are of the same draw.
    gaps = drawn - drawn[0]
    return _intervals(values, drawn), _intervals(values - values[0], gaps)


def redrawn(
    figures: Sequence[Measure | Figure], items: int, *, resamples: int, random: np.random.Generator,
    groups: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Return (F, resamples): each figure on the items drawn again with replacement, the same items for all figures.

    With `groups` (items,) each group's items are drawn again among themselves: as many of each as there are.
    """
    drawn = np.empty((len(figures), resamples))
    for start in range(0, resamples, _AT_ONCE):
        rows = _drawn(random, min(_AT_ONCE, resamples - start), items, groups)
        counts = None
        for values, figure in zip(drawn, figures, strict=True):
            if isinstance(figure, Measure):
                if counts is None:
                    # How often each item was drawn: the sums of any measure over redrawn items are then one product of
                    # matrices, made once for all measures.
                    counts = np.stack([np.bincount(row, minlength=items) for row in rows]).astype(np.float64)
                results = [figure.value(sums) for sums in counts @ figure.parts]
            else:
                results = [figure(row) for row in rows]
            values[start : start + len(rows)] = results
    return drawn


def interval_of(drawn: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile interval of a figure's redrawn values."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _drawn(random: np.random.Generator, times: int, items: int, groups: np.ndarray | None) -> np.ndarray:
    if groups is None:
        return random.integers(0, items, (times, items))
    # Groups are drawn apart, each as large as it is.
    by_group = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    return np.concatenate(
        [places[random.integers(0, len(places), (times, len(places)))] for places in by_group], axis=1
    )


def _intervals(values: np.ndarray, drawn: np.ndarray) -> list[Estimate]:
    bounds = [interval_of(own) for own in drawn]
    return [Estimate(float(value), low, high) for value, (low, high) in zip(values, bounds, strict=True)]

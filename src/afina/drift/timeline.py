"""Compare windows of rows, in their order, with what was before, at a rate of false alarms that holds for many windows.

`false_alarms` is the probability that so many windows (`over`) without any drift raise an alarm at all. Each window has the
same part of it, so that what is said of one never changes when others follow, and within a window the channels share that
part by Holm's correction: both hold however the tests depend on each other, as all of them share the earlier rows.

With `season` a window is compared with earlier windows of its own season (Mondays with Mondays) and not with the reference,
so that a week's own rhythm is no drift; the first of each season is learned from and raises no alarm.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from afina.drift.channel import CHANNELS, Measured
from afina.drift.estimate import Estimated, Estimator
from afina.drift.seen import VECTORS, Seen
from afina.errors import UsageError, nearest
from afina.results.statistics import holm

__all__ = ["FEWEST", "SEASONS", "ChannelCheck", "Judge", "JudgedWindow", "Watching", "Window"]

FEWEST = 20
"""Rows of a window below which nothing is tested."""
_SMALLEST = 1e-6
"""The p-value below which no alarm may have to lie: tests that draw would draw for minutes."""
_KEPT = 2000
"""Rows of a season that are remembered."""

SEASONS: dict[str, Callable[[datetime], str]] = {
    "hour": lambda time: f"{time.hour:02d}h", "weekday": lambda time: str(time.isoweekday()),
    "month": lambda time: f"{time.month:02d}",
}  # fmt: skip
"""Functions that name a window's season by its time, by what a person may ask for."""


@dataclass(frozen=True, kw_only=True)
class Watching:
    """Says when there is an alarm; raises `UsageError` for what cannot be kept."""

    false_alarms: float = 0.05
    """Probability that `over` windows without drift raise any alarm."""
    over: int = 52
    season: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1 or self.over < 1:
            raise UsageError(
                "The rate of false alarms is a probability above 0 and below 1, and is over one window at the least."
            )
        if self.season is not None and self.season not in SEASONS:
            raise UsageError(f"A season is {', '.join(SEASONS)}, not '{self.season}'{nearest(self.season, SEASONS)}")
        if self.level / len(CHANNELS) < _SMALLEST:
            raise UsageError(
                f"A rate of {self.false_alarms:g} over {self.over:,} windows leaves each test less than {_SMALLEST:g}, "
                "which no test by drawing can show; take a higher rate, or fewer windows."
            )

    @property
    def level(self) -> float:
        """Return the probability of a false alarm in one window."""
        # Bonferroni's part: windows share the earlier rows, so that their tests are not independent.
        return self.false_alarms / self.over


@dataclass(frozen=True)
class Window:
    """Holds the rows of a stretch of time."""

    name: str
    seen: Seen
    start: datetime | None = None
    rows: int = 0
    """Rows that there were, of which `seen` may be some drawn at random."""


@dataclass(frozen=True)
class ChannelCheck:
    """Holds what a channel found in one window."""

    channel: str
    measured: Measured
    p_corrected: float
    """The p-value corrected for the number of channels."""
    alarm: bool


@dataclass(frozen=True)
class JudgedWindow:
    """Holds what was found in one window."""

    name: str
    start: datetime | None
    rows: int
    """Rows that there were."""
    looked_at: int
    known: int
    """Rows looked at whose right answer is known."""
    checks: list[ChannelCheck] = field(default_factory=list)
    estimated: Estimated | None = None
    """The share of right answers to expect, where no label is needed to tell it."""
    learned: bool = False
    """True where there was no earlier window of its season, so that it raised no alarm."""
    few: bool = False
    """True where its rows are too few to be tested."""

    @property
    def alarms(self) -> list[ChannelCheck]:
        return [check for check in self.checks if check.alarm]


class Judge:
    """Judges windows one after another, in their order, and remembers of them what later ones of a season need."""

    def __init__(self, reference: Seen, how: Watching) -> None:
        self.reference, self.how = reference, how
        self.estimator = Estimator.of(reference, how.seed)
        self._seasons: dict[str, Seen] = {}

    def judge(self, window: Window) -> JudgedWindow:
        """Return what is found in a window; raises `UsageError` where a season is asked for and it has no time."""
        seen, how = window.seen, self.how
        estimated = None if self.estimator is None else self.estimator.estimate(seen)
        judged = JudgedWindow(
            window.name, window.start, window.rows, len(seen), int(seen.known.sum()), estimated=estimated
        )
        if len(seen) < FEWEST:
            return replace(judged, few=True)
        if how.season is None:
            return replace(judged, checks=_checked(self.reference, window, how))
        if window.start is None:
            raise UsageError(
                f"{window.name} has no time, by which its {how.season} would be known; leave --season out."
            )
        season = SEASONS[how.season](window.start)
        earlier = self._seasons.get(season)
        judged = replace(judged, learned=earlier is None)
        if earlier is not None:
            judged = replace(judged, checks=_checked(earlier, window, how))
        # What has drifted is not learned from, or an alarm would come once and never again.
        if not judged.alarms:
            self._seasons[season] = seen if earlier is None else _remembered([earlier, seen], how.seed)
        return judged


def _remembered(parts: Sequence[Seen], seed: int) -> Seen:
    """Return the rows of both parts, of many some drawn at random."""
    both = Seen.of_all(parts)
    random = np.random.default_rng(seed)
    first = np.sort(random.permutation(len(both.vectors))[:VECTORS])
    rest = len(both.vectors) + np.sort(random.permutation(len(both) - len(both.vectors))[: _KEPT - len(first)])
    # A row whose vector is given up goes with it: rows with vectors come first.
    return both.take(np.concatenate([first, rest]))


def _checked(earlier: Seen, window: Window, how: Watching) -> list[ChannelCheck]:
    """Return what each channel finds, with all their p-values corrected together."""
    # Of its own for each window, so that one more window changes nothing that was said of others.
    random = np.random.default_rng([how.seed, len(window.seen), *map(ord, window.name[-32:])])
    smallest = how.level / len(CHANNELS)
    measures: dict[str, Measured] = {}
    for name, channel in CHANNELS.items():
        measured = channel.measure(earlier, window.seen, random, smallest=smallest)
        if measured is not None:
            measures[name] = measured
    corrected = holm([measured.p for measured in measures.values()])
    return [
        ChannelCheck(name, measured, p, alarm=p <= how.level)
        for (name, measured), p in zip(measures.items(), corrected, strict=True)
    ]

"""Say what time a run takes on a CPU, from the work that its rehearsal counted and how fast this machine does such work.

A batch's work is what was rehearsed at some widths, and between these in a straight line; an epoch's is that of its own
batches. `time_ratios.json` has what recorded runs said of how products, moved bytes, calls and prepared code add up, and how
far runs lay from that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from afina.config import StudyConfig
from afina.measure.calibration import Machine, Seconds
from afina.measure.storages import Work
from afina.study.batches import epoch_widths, evaluated_shapes
from afina.study.needs import Always, Likely, ranged, shares_of
from afina.study.rehearsal import BELOW, EVALUATION, Passed, Rehearsed
from afina.study.sizes import Sizes

__all__ = ["PARTS", "TimeNeeds", "seconds_of", "time_of"]

PARTS = ("products", "moved", "calls", "prepared", "start")
_TIME = "time"
_START_CALLS = 1000
"""Calls by which the start of a phase is counted: what is done for the first time in it."""


@dataclass(frozen=True)
class TimeNeeds:
    """The seconds of a run's training, of its evaluations, and of a step."""

    train: Likely
    evaluate: Likely
    step_seconds: float
    counted: dict[str, dict[str, float]] = field(default_factory=dict)
    """Seconds of each by what they are, before recorded runs said how they add up."""


def time_of(
    rehearsed: Rehearsed, made: Always, sizes: Sizes, config: StudyConfig, most: int, machine: Machine, *, trains: bool
) -> TimeNeeds:  # fmt: skip
    """Return what a run takes; of the machine is measured what is not known yet."""
    batches = (*rehearsed.steps, *rehearsed.evaluations)
    machine.calibrate(work for own in batches for work in own.work.values())
    shapes = evaluated_shapes(sizes, config, most, whole=not trains)
    evaluating = _by_tokens(rehearsed.evaluations, lambda work: machine.seconds(work[EVALUATION]))
    seconds = {split: _summed(evaluating, own.prod(axis=1), times) for split, (own, times) in shapes.items()}
    met = machine.preparing(_prepared(rehearsed.evaluations) * made.evaluated_widths)
    start = _START_CALLS * machine.figures["call"]
    if not trains:  # it looks at every row once, and evaluates what it fitted without the model
        return _needs(seconds["train"] + met, seconds["test"], Seconds(), start)

    optimiser = Seconds(moved=7 * made.gradients * machine.figures["byte"])
    stepping = _by_tokens(
        rehearsed.steps, lambda work: _total(machine, [own for part, own in work.items() if part != BELOW]) + optimiser
    )
    below = _by_tokens(rehearsed.steps, lambda work: _total(machine, [work[BELOW]] if BELOW in work else []))
    widths, times = epoch_widths(sizes, config, most)
    tokens = widths * rehearsed.steps[0].rows
    step = stepping(float(np.median(tokens)))
    once = _summed(below, tokens, times)
    train = _summed(stepping, tokens, times).times(config.epochs) + once
    train += machine.preparing(_prepared(rehearsed.steps) * made.widths)
    every = seconds["train"] + seconds["test"]
    # What the layers below the lowest branch make of a row is computed once, where it is kept.
    share = sum(float((own.prod(axis=1) * count).sum()) for own, count in shapes.values()) / float(
        (tokens * times).sum()
    )
    known = once.times(-share * (config.evaluations - 1))
    evaluated = every.times(config.evaluations) + known + met
    return _needs(train, Seconds(*np.maximum(0.0, evaluated.each).tolist()), step, start)


def _needs(train: Seconds, evaluate: Seconds, step: Seconds, start: float) -> TimeNeeds:
    each = {"train": (*train.each, start), "evaluate": (*evaluate.each, start), "step": (*step.each, 0.0)}
    counted = {name: dict(zip(PARTS, own, strict=True)) for name, own in each.items()}
    one = _added(counted["step"], "train").value
    return TimeNeeds(_added(counted["train"], "train"), _added(counted["evaluate"], "evaluate"), one, counted)


def seconds_of(counted: Mapping[str, float], phase: str) -> float:
    """Return what was counted of a phase, by its parts, as one figure: each part by its share in recorded runs."""
    shares = shares_of(_TIME, phase)
    return sum(shares[part] * seconds for part, seconds in counted.items())


def _added(counted: Mapping[str, float], phase: str) -> Likely:
    return ranged(seconds_of(counted, phase), _TIME, phase)


def _total(machine: Machine, works: Sequence[Work]) -> Seconds:
    return sum((machine.seconds(work) for work in works), Seconds())


def _prepared(batches: Sequence[Passed]) -> float:
    """Return for how many products a batch has code prepared, if its sizes are new."""
    counts = [len({own for work in batch.work.values() for own in work.products if own.prepared}) for batch in batches]
    return float(np.mean(counts)) if counts else 0.0


def _summed(by_tokens: Callable[[float], Seconds], tokens: np.ndarray, times: float) -> Seconds:
    """Return what all batches take together, each of these standing for so many."""
    sizes, counts = np.unique(tokens, return_counts=True)
    return sum(
        (by_tokens(float(size)).times(float(count)) for size, count in zip(sizes, counts, strict=True)), Seconds()
    ).times(times)


def _by_tokens(
    batches: Sequence[Passed], seconds: Callable[[Mapping[str, Work]], Seconds]
) -> Callable[[float], Seconds]:  # fmt: skip
    """Return what a batch of so many tokens takes: between those that were rehearsed in a straight line."""
    points = {own.tokens: seconds(own.work).each for own in batches}
    places = sorted(points)
    values = np.array([points[place] for place in places])

    def found(tokens: float) -> Seconds:
        if len(places) == 1:
            products, moved, _, prepared = values[0] * (tokens / places[0])
            return Seconds(products, moved, float(values[0][2]), prepared)
        # Beyond the ends along the line of the two that are nearest.
        place = int(np.clip(np.searchsorted(places, tokens), 1, len(places) - 1))
        share = (tokens - places[place - 1]) / (places[place] - places[place - 1])
        return Seconds(*np.maximum(0.0, values[place - 1] + share * (values[place] - values[place - 1])).tolist())

    return found

"""Find what speaks against a ranking: rates that nobody chose, methods that had not learned enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from afina.measure.metrics.base import higher_is_better
from afina.results.statistics import Cell
from afina.words.language import Words

__all__ = ["Doubts", "doubts"]

_SHORT = 3_000
"""Optimiser steps below which a rate may well decide between two methods."""
_STEEP = 0.03
"""The gain of a train metric in the last epoch (for an error, its relative loss) above which it had not learned enough."""
_BELOW = 0.01
"""The gap below the train metric of the head alone, as a share, that chance does not explain."""


@dataclass(frozen=True)
class Doubts:
    """The doubtful methods among those that are compared."""

    steps: int
    by_default: tuple[str, ...]
    """Methods that ran fewer than `_SHORT` steps at a rate that was neither set nor searched."""
    rising: tuple[str, ...]
    """Their train metric still improved steeply in the last epoch."""
    below_head: tuple[str, ...]
    """They end below what the head alone reaches on the train rows, which they train too."""

    def rates(self, words: Words) -> str:
        """Say that rates are defaults in a short run; nothing where they are not."""
        if not self.by_default:
            return ""
        return words(
            "Rates are defaults ({methods}) and the runs short ({steps} steps): a difference between methods may be one of "
            "rates. learning_rate: search gives each the best of several.",
            methods=", ".join(self.by_default), steps=words.number(self.steps),
        )  # fmt: skip

    def learning(self, words: Words) -> list[str]:
        """Say who had not learned enough, a sentence each."""
        sentences = []
        if self.rising:
            sentences.append(
                words(
                    "Still learning when its steps were over, as the train metric still improved steeply in the last epoch: "
                    "{methods}. More epochs or a higher rate would change its place."
                    if len(self.rising) == 1
                    else "Still learning when their steps were over, as the train metric still improved steeply in the last "
                    "epoch: {methods}. More epochs or higher rates would change their places.",
                    methods=", ".join(self.rising),
                )
            )
        if self.below_head:
            sentences.append(
                words(
                    "Below the head alone on the train rows, though it trains the head too: {methods}. Its rate is too low "
                    "or too high for so few steps."
                    if len(self.below_head) == 1
                    else "Below the head alone on the train rows, though they train the head too: {methods}. Their rates are "
                    "too low or too high for so few steps.",
                    methods=", ".join(self.below_head),
                )
            )
        return sentences


def doubts(cells: Sequence[Cell]) -> Doubts:
    """Return what is doubtful of the cells of one comparison."""
    # What is fitted without steps (classical models) has no rate and no epochs to doubt.
    done = [cell for cell in cells if cell.runs and cell.runs[0].step_seconds is not None]

    # A rate that was set or searched is somebody's choice, however short the run.
    short = [cell for cell in done if _steps(cell) < _SHORT and cell.runs[0].rate == "default"]
    heads = [cell for cell in done if cell.runs[0].head_alone]

    # By model: what a head alone learns on one says nothing of another.
    floor = {cell.model: value for cell in heads if (value := _train(cell, 0)) is not None}
    return Doubts(
        steps=max(map(_steps, short), default=0),
        # One method alone is compared with nothing, and its rate can favour no other.
        by_default=tuple(_name(cell, done) for cell in short) if len(cells) > 1 else (),
        rising=tuple(_name(cell, done) for cell in done if _gain(cell, _train(cell, 1), _train(cell, 0)) > _STEEP),
        below_head=tuple(
            _name(cell, done) for cell in done if _gain(cell, _train(cell, 0), floor.get(cell.model)) > _BELOW
        ),
    )


def _name(cell: Cell, among: Sequence[Cell]) -> str:
    several = len({other.model for other in among}) > 1
    return f"{cell.method} ({cell.model.rstrip('/').rpartition('/')[2]})" if several else cell.method


def _steps(cell: Cell) -> int:
    return max(run.steps or 0 for run in cell.runs)


def _train(cell: Cell, before: int) -> float | None:
    """Return the mean over the seeds of the train metric so many epochs before the last; None where there was none."""
    # Histories of unequal length, as early stopping leaves, count only if each of them goes back that far.
    histories = [run.history for run in cell.runs]
    metric = cell.runs[0].metric or cell.metric
    values = [own[-1 - before].metric("train", metric) for own in histories if len(own) > before]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(histories) else None


def _gain(cell: Cell, worse: float | None, better: float | None) -> float:
    """Return by how much the second is better: in the metric's own units, of an error as a share."""
    if worse is None or better is None:
        return 0.0
    if higher_is_better(cell.runs[0].metric or cell.metric):
        return better - worse
    # As a share: an error has no scale of its own that a threshold could be set on.
    return (worse - better) / abs(worse) if worse else 0.0

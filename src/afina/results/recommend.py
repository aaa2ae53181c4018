"""One answer from a finished study: the best method within a person's limits, why, and what comes second."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import UsageError, nearest
from afina.measure.metrics.base import higher_is_better
from afina.measure.shown import html_of
from afina.results.comparison import is_comparison, read_comparison
from afina.results.doubts import doubts
from afina.results.findings.against_base import findings_by_run, worse_than_base
from afina.results.findings.finding import Finding
from afina.results.folder import InFolder, folder_of
from afina.results.predictions import Predictions, read_predictions
from afina.results.results_jsonl import read_results
from afina.results.statistics import Cell, Comparison, cells, compare, mean_interval
from afina.results.ways import WAYS
from afina.words.language import Words

__all__ = ["Recommendation", "comparable", "parse_memory", "recommend"]

_ALL: Mapping[str, str | None] = {}
_UNITS = {"": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True)
class Recommendation:
    """The choice and the runner-up (None where nothing fits), the reason, and what was left out and why."""

    choice: Cell | None
    runner_up: Cell | None
    reason: str
    decided: bool
    excluded: Sequence[tuple[str, str]]
    doubts: Sequence[str] = ()
    """Sentences against the choice: rates that nobody chose, methods that had not learned enough."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-able values."""
        return {
            "choice": _as_dict(self.choice), "runner_up": _as_dict(self.runner_up), "decided": self.decided,
            "reason": self.reason, "doubts": list(self.doubts),
            "left_out": [{"method": label, "why": why} for label, why in self.excluded],
        }  # fmt: skip

    def __repr__(self) -> str:
        name = cell_name(self.choice) if self.choice else "none"
        undecided = "" if self.decided else " (the data cannot decide)"
        return " ".join([f"Recommendation: {name}{undecided}.", self.reason, *self.doubts])

    def _repr_html_(self) -> str:
        rows = [
            (what, cell_name(cell), _mean(cell), _largest_peak(cell) / 1e9, _cost(cell.seconds) / 60)
            for what, cell in (("choice", self.choice), ("runner-up", self.runner_up)) if cell is not None
        ]  # fmt: skip
        left_out = "; ".join([*self.doubts, *(f"left out: {label}: {why}" for label, why in self.excluded)])
        metric = self.choice.metric if self.choice else "metric"
        columns = ("", "method", metric, "memory (GB)", "minutes")
        return html_of(self.reason, columns, rows, left_out)


def _as_dict(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {
        "method": cell.method, "model": cell.model, "metric": cell.metric, "value": _mean(cell),
        "peak_memory_bytes": _largest_peak(cell), "train_seconds": None if cell.seconds is None else cell.seconds.mean,
    }  # fmt: skip


def parse_memory(text: str) -> float:
    """Return bytes for `4GB` (10^9), `4GiB` (2^30), `800MB` ...; raises `UsageError` for anything else."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS or not 0 < float(match[1]) < math.inf:
        raise UsageError(f"'{text}' is no amount of memory; write it as 4GB, 800MB or 2GiB.")
    return float(match[1]) * _UNITS[match[2].upper()]


def recommend(
    directory: str | Path | InFolder,
    *,
    memory_bytes: float | None = None,
    minutes: float | None = None,
    metric: str | None = None,
    minimum: float | None = None,
    only: Mapping[str, str | None] = _ALL,
    no_worse_than_base: Sequence[str] = (),
    words: Words | None = None,
) -> Recommendation:
    """Choose among the cells of one data set (over all its models) the best one within the limits.

    `only` may name one `model`, or one `dataset`. Of a comparison of ways (`afina rag compare`) it chooses the way, and
    minutes are those of preparing it. Among those whose metric cannot be told from the best's, the one with the least memory
    is chosen, and the reason says that the metric did not decide. With `no_worse_than_base` what audits of these names found
    worse than in the bare base is left out. Sentences are in the language of `words`, English unless given. Raises
    `UsageError` for names that the study lacks, and for a limit that is none.
    """
    directory = folder_of(directory)
    _check_limits(memory_bytes, minutes, minimum)
    words = words or Words()
    answers = _of_ways(directory) if is_comparison(directory) else _of_study(directory)
    group = _group(answers, metric, only)
    audits = tuple(findings_by_run(directory, name) for name in no_worse_than_base)
    answer = _chosen(answers, group, _Limits(memory_bytes, minutes, minimum, audits), words)
    closed = [(_named(cell, words), words("it is given the right passage, which nobody has when asking"))
              for cell in answers.closed]  # fmt: skip
    answer = replace(answer, excluded=[*answer.excluded, *closed])
    doubted = doubts(group)
    return replace(answer, doubts=[doubt for doubt in (doubted.rates(words), *doubted.learning(words)) if doubt])


@dataclass(frozen=True)
class _Limits:
    memory: float | None = None
    minutes: float | None = None
    minimum: float | None = None
    audits: tuple[dict[str, list[Finding]], ...] = ()
    """Findings by run of each audit in which none may be worse than its base."""


@dataclass(frozen=True)
class _Answers:
    """Holds cells to choose among, and how to read what each answered."""

    directory: Path
    cells: Sequence[Cell]
    predictions: Callable[[Cell], dict[int, Predictions]]
    closed: Sequence[Cell] = ()
    """Cells that are no choice, as they know what nobody knows."""


def _of_study(directory: Path) -> _Answers:
    return _Answers(
        directory, cells(read_results(directory)),
        lambda cell: {run.seed: read_predictions(directory, run) for run in cell.runs},
    )  # fmt: skip


def _of_ways(directory: Path) -> _Answers:
    compared = read_comparison(directory)
    every = cells(compared.results())
    closed = [cell for cell in every if not WAYS[cell.method].is_open]
    return _Answers(
        directory, [cell for cell in every if cell not in closed],
        lambda cell: compared.predictions(cell.model, cell.method), closed,
    )  # fmt: skip


def _chosen(answers: _Answers, group: Sequence[Cell], limits: _Limits, words: Words) -> Recommendation:
    name = group[0].metric
    excluded = [(_named(cell, words), why) for cell in group if (why := _beyond(cell, limits, words))]
    # Out and left are told apart by names with their models: a method may fit on one model and not on another.
    out = {label for label, _ in excluded}
    left = [cell for cell in group if _named(cell, words) not in out]
    if not left:
        return _none_fits(group, excluded, limits, words)
    sign = 1 if higher_is_better(name) else -1
    ranked = sorted(left, key=lambda cell: -sign * _mean(cell))
    best = ranked[0]

    # Without one fingerprint no difference can be tested: the best is said, and that it is not certain.
    if not comparable(group):
        reason = words(
            "{best} has the best {metric} ({value}), but these results were made under different conditions (data, versions, "
            "hardware or protocol), so no difference can be tested.",
            best=_named(best, words), metric=words(name), value=words.number(_mean(best), 4),
        )  # fmt: skip
        return Recommendation(best, ranked[1] if len(ranked) > 1 else None, reason, False, excluded)

    # Only those that fit are compared: fewer pairs, and so a milder correction.
    comparisons = compare({cell_name(c): answers.predictions(c) for c in left}, name)
    tied = [best, *(cell for cell in ranked[1:] if _tie(comparisons, best, cell))]

    # Where the metric cannot decide, costs do.
    if len(tied) > 1:
        cheapest = min(tied, key=lambda cell: (_cost(cell.memory_bytes), _cost(cell.seconds)))
        others = [cell for cell in tied if cell is not cheapest]
        reason = words(
            "By {metric} the data cannot decide: {best} and {others} differ by no more than chance could, so the one with "
            "the least memory is taken ({costs}).",
            metric=words(name), best=_valued(cheapest, words), others=", ".join(_valued(cell, words) for cell in others),
            costs=_costs(cheapest, words),
        )  # fmt: skip
        return Recommendation(cheapest, others[0], reason, False, excluded)
    runner_up = ranked[1] if len(ranked) > 1 else None
    values = {"best": _named(best, words), "metric": words(name), "value": words.number(_mean(best), 4)}
    if runner_up is None:
        reason = words("{best} has the best {metric}, {value} ({costs}).", **values, costs=_costs(best, words))
        return Recommendation(best, None, reason, True, excluded)
    pair = {cell_name(best), cell_name(runner_up)}
    # The pair was compared above, in one order or the other.
    p = next(entry.p_holm for entry in comparisons if {entry.first, entry.second} == pair)
    reason = words(
        "{best} has the best {metric}, {value} ({costs}), ahead of {second} by more than chance (p = {p}).",
        **values, costs=_costs(best, words), second=_valued(runner_up, words),
        p=words.written(f"{p:.3g}") if p < 1e-3 else words.number(p, 3),
    )  # fmt: skip
    return Recommendation(best, runner_up, reason, True, excluded)


def _check_limits(memory_bytes: float | None, minutes: float | None, minimum: float | None) -> None:
    for name, limit in (("memory", memory_bytes), ("minutes", minutes)):
        if limit is not None and not 0 < limit < math.inf:
            raise UsageError(f"{name}: a limit is a number above 0, not {limit:g}; leave it out for none.")
    if minimum is not None and not math.isfinite(minimum):
        raise UsageError(f"minimum: the least value of the metric is a number, not {minimum:g}; leave it out for none.")


def cell_name(cell: Cell) -> str:
    """Return what a cell is called where models compete: the method on its model."""
    return f"{cell.method} on {Path(cell.model).name}"


def comparable(group: Sequence[Cell]) -> bool:
    """Return whether all runs of these cells share one fingerprint, precision aside where models chose their own."""
    runs = [run for cell in group for run in cell.runs]
    prints = [(run.model, run.fingerprint) for run in runs]
    # Models may choose their precisions by themselves, which is part of what they are; all else has to be the same.
    digests = {None if own is None else own.digest for _, own in prints}
    models = {(model, json.dumps(None if own is None else own.model, sort_keys=True)) for model, own in prints}
    return len(digests) <= 1 and len(models) == len({model for model, _ in models})


def _group(answers: _Answers, metric: str | None, only: Mapping[str, str | None]) -> list[Cell]:
    directory = answers.directory
    every = [cell for cell in answers.cells if cell.test is not None]
    if not every:
        raise UsageError(f"{directory} has no finished run to recommend from.")
    # A model is a path in many studies, and a person says its last part.
    for key, wanted in only.items():
        names = {getattr(cell, key) for cell in every} | {Path(getattr(cell, key)).name for cell in every}
        if wanted is not None and wanted not in names:
            raise UsageError(f"{directory} has no {key} '{wanted}'{nearest(wanted, names)}")
        every = [cell for cell in every if wanted in (None, getattr(cell, key), Path(getattr(cell, key)).name)]
    # Differences are tested on the same test items, so one answer is about one data set.
    sets = sorted({cell.dataset for cell in every})
    if len(sets) > 1:
        raise UsageError(f"{directory} has several data sets; choose one with --dataset: {', '.join(sets)}.")
    if metric is None:
        return every
    return [_by_metric(cell, metric, directory) for cell in every]


def _by_metric(cell: Cell, metric: str, directory: Path) -> Cell:
    # A metric that only some seeds have would be a mean over other runs than the rest of the table.
    known = sorted(set.intersection(*(set(run.test_metrics) for run in cell.runs)))
    if metric not in known:
        raise UsageError(f"{directory} has no metric '{metric}'; there are {', '.join(known)}.")
    return replace(cell, metric=metric, test=mean_interval(run.tested(metric) for run in cell.runs))


def _beyond(cell: Cell, limits: _Limits, words: Words) -> str | None:
    """Say which limit a cell breaks, or None; memory is judged by the largest peak of its seeds."""
    # The largest of its seeds: a limit of memory is one that no run may reach, where a mean would promise too much.
    peak, seconds, minimum = _largest_peak(cell), _cost(cell.seconds), limits.minimum
    if limits.memory is not None and peak > limits.memory:
        sizes = {"peak": words.number(peak / 1e9, 2), "limit": words.number(limits.memory / 1e9, 2)}
        return words("it needs {peak} GB, the limit is {limit} GB", **sizes)
    if limits.minutes is not None and seconds > 60 * limits.minutes:
        times = {"time": words.number(seconds / 60, 1), "limit": words.shortest(limits.minutes)}
        return words("it takes {time} minutes, the limit is {limit}", **times)
    # A value that is the limit itself fits, whichever direction is better.
    if minimum is not None and (_mean(cell) < minimum) == higher_is_better(cell.metric) and _mean(cell) != minimum:
        values = {"value": words.number(_mean(cell), 4), "limit": words.shortest(minimum)}
        return words("its {metric} is {value}, the limit is {limit}", metric=words(cell.metric), **values)
    for findings in limits.audits:
        if worse := worse_than_base([run.run for run in cell.runs], findings):
            return worse.told(words)
    return None


def _none_fits(
    group: Sequence[Cell], excluded: Sequence[tuple[str, str]], limits: _Limits, words: Words
) -> Recommendation:
    def excess(cell: Cell) -> float:
        minimum = limits.minimum
        # Excesses as shares of their limits, so that bytes, minutes and metrics can be added up.
        parts = [
            _largest_peak(cell) / limits.memory - 1 if limits.memory else 0.0,
            _cost(cell.seconds) / (60 * limits.minutes) - 1 if limits.minutes else 0.0,
            abs(minimum - _mean(cell)) / max(abs(minimum), 1e-9)
            if minimum and _beyond(cell, _Limits(minimum=minimum), words)
            else 0.0,
        ]
        return sum(max(0.0, part) for part in parts)

    # Nearest in shares of the limits, which says what a person would have to give up.
    closest = min(group, key=excess)
    name = _named(closest, words)
    reason = words("Nothing fits; {method} comes nearest: {why}.", method=name, why=dict(excluded)[name])
    return Recommendation(None, None, reason, True, excluded)


def _tie(comparisons: Sequence[Comparison], best: Cell, other: Cell) -> bool:
    names = {cell_name(best), cell_name(other)}
    return any(entry.tie for entry in comparisons if {entry.first, entry.second} == names)


def _mean(cell: Cell) -> float:
    return cell.test.mean if cell.test is not None else float("nan")


def _largest_peak(cell: Cell) -> float:
    return float(max((run.peak_memory_bytes for run in cell.runs if run.peak_memory_bytes is not None), default=0.0))


def _cost(interval: object) -> float:
    # What has no cost on record (a run that took no steps) comes last where the cheapest is looked for.
    return float(getattr(interval, "mean", np.inf))


def _named(cell: Cell, words: Words) -> str:
    return f"{cell.method} {words('on')} {Path(cell.model).name}"


def _valued(cell: Cell, words: Words) -> str:
    return f"{_named(cell, words)} ({words.number(_mean(cell), 4)})"


def _costs(cell: Cell, words: Words) -> str:
    return words(
        "{memory} GB, {time} minutes",
        memory=words.number(_largest_peak(cell) / 1e9, 2), time=words.number(_cost(cell.seconds) / 60, 1),
    )  # fmt: skip

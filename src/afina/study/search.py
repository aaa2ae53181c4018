"""`learning_rate: search`: every method gets the same few rates, tried on the development split, before a study starts.

A comparison at one rate for all decides the ranking by itself. The trials are a study of their own in the folder
`search`: one seed, each method at what `auto` is for it times each of `search_factors`, tested on the development split,
never on the test split; so they train as cohorts, resume and fail like any runs.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from afina.config import StudyConfig
from afina.measure.metrics.base import higher_is_better
from afina.methods.base import make_method
from afina.results.result import Untried
from afina.results.result_list import Results
from afina.results.study_file import SettledRun
from afina.study import events
from afina.study.events import Observer, Search
from afina.study.plan import Run, expand
from afina.study_parts import MethodSpec

if TYPE_CHECKING:
    from afina.study.estimate import CostEstimate

__all__ = ["searched", "trials", "trials_seconds", "with_settled"]


def trials(config: StudyConfig) -> tuple[StudyConfig, dict[str, tuple[str, float]]] | None:
    """Return the study of the trials, and of each trial's name the method's and the factor; None if nothing is searched."""
    first = [run for run in expand(config) if run.seed == config.seeds[0]]
    specs: dict[str, MethodSpec] = {}
    names: dict[str, tuple[str, float]] = {}
    for run in first:
        # A rate that somebody set is not searched.
        if run.rate != "default" or run.method.gradient_free:
            continue
        spec = next(spec for spec in config.methods if spec.label == run.label)
        for factor in config.search_factors:
            settings = {**spec.settings, "rate_factor": factor}
            trial = MethodSpec(name=spec.name, settings=settings)
            specs[trial.label], names[trial.label] = trial, (run.label, factor)
    if not specs:
        return None

    # Trials have one seed and no early stopping: what they are for is the rate alone.
    changes = {
        "methods": list(specs.values()), "seeds": config.seeds[:1], "learning_rate": "auto", "early_stopping": None,
    }  # fmt: skip
    return config.model_copy(update=changes), names


def trials_seconds(config: StudyConfig, estimates: Sequence["CostEstimate"]) -> float:
    """Return what the trials before a study will take one after another, by its estimates; a rate changes no cost."""
    planned = trials(config) if config.learning_rate == "search" else None
    if planned is None:
        return 0.0
    counts = Counter(label for label, _ in planned[1].values())
    # One seed's, as trials have one.
    first = [entry for entry in estimates if entry.run.seed == config.seeds[0]]
    return sum(counts[entry.run.label] * (entry.train_seconds + entry.evaluate_seconds) for entry in first)


class Carried(Protocol):
    """Runs that can be carried out: a study."""

    runs: list[Run]

    def run(self, observer: Observer) -> Results: ...


def searched(
    config: StudyConfig, runs: list[Run], study_of: Callable[[StudyConfig], Carried], observer: Observer
) -> list[Run]:
    """Carry out the trials, a study of their own, and return the runs with the best rate of each.

    Where all failed the default stays.

    A trial that was broken off was no worse than the others: a run that it might have changed says so (`untried`).
    """
    planned = trials(config)
    if planned is None:
        return runs
    tried, names = planned
    inner = study_of(tried)
    observer(Search(trials=len(inner.runs)))
    # What trials say is told apart from what the study's own runs say.
    results = inner.run(lambda event: observer(replace(event, search=True)))
    best: dict[tuple[str, str, str], tuple[float, float, float]] = {}
    broken: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        label, factor = names[result.method_label]
        key = (result.model, result.dataset, label)
        if not result.is_finished:
            if result.unfinished:
                broken.setdefault(key, []).append(result.error or "")
            continue
        assert result.metric is not None and result.test_metric is not None
        sign = 1.0 if higher_is_better(result.metric) else -1.0

        # Of equals the one nearest to the default.
        entry = (sign * result.test_metric, -abs(math.log(factor)), result.learning_rate)
        best[key] = max(best.get(key, entry), entry)
    for (model, dataset, label), whys in broken.items():
        of = len(config.search_factors)
        observer(events.Untried(of=of, model=model, dataset=dataset, label=label, rates=len(whys), why=whys[0]))
    return [
        _with_rate(run, best.get(key), broken.get(key, []), len(config.search_factors))
        for run in runs
        for key in [(run.model, run.dataset_name, run.label)]
    ]


def with_settled(runs: Sequence[Run], settled: Mapping[str, SettledRun]) -> list[Run]:
    """Return the runs with the rates that an earlier start of the study settled on: some may be finished at those."""
    return [
        run if (own := settled.get(run.id)) is None
        else replace(run, method=make_method(run.method.name, own.settings), rate=own.rate, untried=own.untried)
        for run in runs
    ]  # fmt: skip


def _with_rate(run: Run, best: tuple[float, float, float] | None, broken: Sequence[str], of: int) -> Run:
    if broken:
        run = replace(run, untried=Untried.made(rates=len(broken), of=of, why=broken[0]))
    if best is None:
        return run
    # The factor is in the rate that was found.
    return replace(run, method=replace(run.method, learning_rate=best[2], rate_factor=1.0), rate="searched")

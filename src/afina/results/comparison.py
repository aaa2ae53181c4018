"""Read what `afina rag compare` found, and test its ways against each other.

Questions of one group (a fact in several wordings) are drawn together; a way without training answers alike whatever the
seed, and stands beside each seed of the others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object
from afina.measure.bootstrap import interval_of, redrawn
from afina.measure.metrics.answers import OF_ANSWERS
from afina.measure.metrics.base import higher_is_better, metric_named
from afina.results.predictions import Predictions
from afina.results.result import Result
from afina.results.statistics import Comparison, Interval, compare
from afina.results.ways import WAYS
from afina.whole_file import write_text

__all__ = ["FILE", "AskedQuestion", "WayRun", "WaysCompared", "is_comparison", "predictions_of", "read_comparison"]

FILE = "comparison.json"
_FORMAT = 1
_RESAMPLES = 1000


@dataclass(frozen=True)
class AskedQuestion:
    """Holds a question that was asked, and of which kind it is."""

    text: str
    kind: str
    """`trained`: in these words; `reworded`: its fact was trained on in other words; `new`; `not_told` by the documents."""
    group: str
    row: int


@dataclass
class WayRun:
    """Holds what one way answered with one seed."""

    model: str
    way: str
    seed: int
    texts: list[str]
    scores: list[list[float]]
    """For each question numerator and denominator of each of `OF_ANSWERS`."""
    found: list[bool | None]
    """For each question whether a passage that tells was in the prompt; None where there was none to be."""
    seconds: float
    """Mean seconds of a question, searching included."""
    processor_seconds: float
    prompt_tokens: float
    """Mean tokens of a prompt."""
    written_tokens: float
    preparing: dict[str, float] = field(default_factory=dict)
    """Seconds of preparing it, by what."""
    peak_memory_bytes: float | None = None
    trainable_parameters: int = 0
    adapter: str | None = None

    @property
    def preparing_seconds(self) -> float:
        """Return the seconds of all that had to be done before it could be asked."""
        return sum(self.preparing.values())


@dataclass
class WaysCompared:
    """Holds a whole comparison; its figures are taken of the answers when they are asked for."""

    directory: Path
    metric: str
    questions: list[AskedQuestion]
    runs: list[WayRun]
    leakage: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Settings, the index's size, versions and hardware."""

    @cached_property
    def models(self) -> list[str]:
        """Return the models, in the order in which they were named."""
        return list(dict.fromkeys(run.model for run in self.runs))

    @property
    def ways(self) -> list[str]:
        """Return the ways in their order."""
        return list(dict.fromkeys(run.way for run in self.runs))

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of what was trained; one where nothing was."""
        # What is not trained has no seed of its own.
        trained = sorted({run.seed for run in self.runs if WAYS[run.way].who != "base"})
        return trained or [0]

    @property
    def kinds(self) -> dict[str, list[int]]:
        """Return the places of the questions of each kind."""
        kinds: dict[str, list[int]] = {}
        for place, question in enumerate(self.questions):
            kinds.setdefault(question.kind, []).append(place)
        return kinds

    def of(self, model: str, way: str) -> list[WayRun]:
        """Return the runs of a way, by seed."""
        return sorted((run for run in self.runs if (run.model, run.way) == (model, way)), key=lambda run: run.seed)

    def predictions(self, model: str, way: str, places: Sequence[int] | None = None) -> dict[int, Predictions]:
        """Return by seed the scores of groups, for the tests; of some questions or of all."""
        runs = {run.seed: predictions_of(self.questions, run, places) for run in self.of(model, way)}
        if WAYS[way].who == "base" and len(runs) == 1:  # it answers alike beside each seed of the others
            (one,) = runs.values()
            return dict.fromkeys(self.seeds, one)
        return runs

    def figure(self, model: str, way: str, metric: str, places: Sequence[int] | None = None) -> Interval | None:
        """Return a metric with its 95% interval over groups of questions, the mean of the seeds; None where none counts."""
        runs = list(self.predictions(model, way, places).values())
        place = 2 * OF_ANSWERS.index(metric) + 1
        # Where a seed has nothing to count, a mean would be one over the others.
        if not runs or not all(run.scores[:, place].sum() for run in runs):
            return None
        measured = metric_named(metric)
        mean = float(np.mean([measured.value(run) for run in runs]))
        # One generator, so that figures are the same whenever they are read.
        random = np.random.default_rng(0)
        drawn = redrawn(
            [measured.over(run) for run in runs], len(runs[0].item), resamples=_RESAMPLES, random=random
        ).mean(axis=0)
        return Interval(mean, *interval_of(drawn), len(runs))

    def tests(self, model: str, metric: str | None = None) -> list[Comparison]:
        """Return every pair of a model's ways, tested on the same questions, their p-values corrected together (Holm)."""
        ways = [way for way in self.ways if self.of(model, way)]
        return compare({way: self.predictions(model, way) for way in ways}, metric or self.metric)

    def ranked(self, model: str) -> list[str]:
        """Return the ways that can be gone, the best first."""
        sign = 1 if higher_is_better(self.metric) else -1
        values = {
            way: figure.mean
            for way in self.ways
            if WAYS[way].is_open and (figure := self.figure(model, way, self.metric)) is not None
        }
        return sorted(values, key=lambda way: -sign * values[way])

    def found_share(self, model: str, way: str) -> float | None:
        """Return the share of the told questions in whose prompt a passage that tells was; None without passages."""
        known = [found for run in self.of(model, way) for found in run.found if found is not None]
        # An oracle is given the passage, which is no finding.
        return sum(known) / len(known) if known and WAYS[way].given == "found" else None

    def results(self) -> list[Result]:
        """Return each run as a result, the way for its method and the seconds of preparing for those of training."""
        return [
            Result({
                "run": f"{run.way}-{run.seed}", "status": "ok", "model": run.model, "dataset": "documents", "method": run.way,
                "method_label": run.way, "seed": run.seed, "metric": self.metric,
                "test_metrics": (figures := self._figures(run)), "test_metric": figures[self.metric],
                "train_seconds": run.preparing_seconds, "peak_memory_bytes": run.peak_memory_bytes,
                "trainable_parameters": run.trainable_parameters,
            })
            for run in self.runs
        ]  # fmt: skip

    def _figures(self, run: WayRun) -> dict[str, float | None]:
        summed = predictions_of(self.questions, run)
        # Denominators stand at the odd places.
        counts = summed.scores[:, 1::2].sum(axis=0)
        return {
            name: metric_named(name).value(summed) if count else None
            for name, count in zip(OF_ANSWERS, counts, strict=True)
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "format": _FORMAT, "metric": self.metric, "questions": [asdict(each) for each in self.questions],
            "ways": [asdict(run) for run in self.runs], "leakage": self.leakage, "notes": self.notes, "facts": self.facts,
        }  # fmt: skip

    def write(self) -> None:
        """Write it into its folder."""
        write_text(self.directory / FILE, json.dumps(self.as_dict(), ensure_ascii=False) + "\n")


def predictions_of(questions: Sequence[AskedQuestion], run: WayRun, places: Sequence[int] | None = None) -> Predictions:
    """Return a run's scores summed by group of questions, in the order in which the groups come."""
    chosen = range(len(questions)) if places is None else places
    groups = {group: number for number, group in enumerate(dict.fromkeys(questions[place].group for place in chosen))}
    sums = np.zeros((len(groups), 2 * len(OF_ANSWERS)))
    for place in chosen:
        sums[groups[questions[place].group]] += run.scores[place]
    nothing = np.zeros(len(groups), dtype=np.int64)
    return Predictions(np.arange(len(groups)), nothing, nothing, sums)


def is_comparison(directory: Path) -> bool:
    """Return whether a folder is that of a comparison of ways."""
    return (directory / FILE).is_file()


def read_comparison(directory: Path) -> WaysCompared:
    """Read what a comparison found; raises `UsageError` where there is none, `AfinaError` where it is damaged."""
    try:
        values: Mapping[str, Any] = read_json_object(directory / FILE, what_to_do="run the comparison again")
    except FileNotFoundError:
        raise UsageError(f"{directory} holds no comparison of ways; afina rag compare STUDY.yaml makes one.") from None
    try:
        # Another form would be read as what it is not.
        if values["format"] != _FORMAT:
            raise ValueError
        return WaysCompared(
            directory, values["metric"], [AskedQuestion(**each) for each in values["questions"]],
            [WayRun(**each) for each in values["ways"]], values["leakage"], values["notes"], values["facts"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise AfinaError(f"{directory / FILE} is damaged, or of another Afina; run the comparison again.") from None

"""Define what a metric is (what it is of, how to read it, its words), and keep the registry of all metrics.

All are as scikit-learn, scipy and seqeval define them; where they are undefined they are 0, without a warning.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from afina.errors import UsageError, nearest
from afina.measure.diagram import Diagram
from afina.registry import Registry

__all__ = [
    "EVALUATOR",
    "METRICS",
    "Answered",
    "Answers",
    "Metric",
    "Pick",
    "RightRows",
    "Share",
    "diagrams_of",
    "higher_is_better",
    "is_percent",
    "metric",
    "metric_named",
    "metrics_of",
    "part_of",
]

EVALUATOR = "1"
"""Raised whenever a formula here changes: results of different evaluators are not compared."""

Pick = np.ndarray | slice
"""Rows by their numbers, each as often as it is named."""


class Answered(Protocol):
    """Answers beside what is right: of N rows a label and a prediction (N,), and scores (N, K).

    Where a row has several labels, or a tag for each of its words, its label is a tuple of their names.
    """

    @property
    def label(self) -> np.ndarray: ...
    @property
    def prediction(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Answers:
    """Answers of a split, as `Answered` says."""

    label: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray


class Metric(ABC):
    """A figure of some rows' answers."""

    name: ClassVar[str]
    of: ClassVar[tuple[str, ...]]
    """The kinds of answers (`Task.answers`) that it is a metric of."""
    percent: ClassVar[bool] = False
    """True for a share, which tables show in percent."""
    higher_is_better: ClassVar[bool] = True
    portuguese: ClassVar[str] = ""
    """Its name in Portuguese; read from the source, so that it is to be written out (words/metrics.py)."""
    phrases: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Phrases of its diagram, English and Portuguese; written out likewise."""
    of_scores: ClassVar[bool] = False
    """True where it is computed from scores, not from labels and predictions alone."""
    parted: ClassVar[bool] = False
    """True where each part of the answers (a type of entity, say) has such a figure too, as `name_part`."""

    def __init__(self, part: str | None = None) -> None:
        self.part = part

    @classmethod
    def fits(cls, outputs: int) -> bool:
        """Return whether it says anything of a task with so many outputs."""
        return True

    @abstractmethod
    def over(self, answers: Answered) -> Callable[[Pick], float]:
        """Return the function that gives the metric of some of the rows: what all draws of a bootstrap share is done once."""

    def value(self, answers: Answered) -> float:
        """Return the metric of all rows."""
        return self.over(answers)(slice(None))

    def diagram(self, answers: Answered) -> Diagram | None:
        """Return what the metric has to show beside its figure, for the report."""
        return None


class Share(Metric):
    """A metric that rows add up to: the sum of what each adds to a numerator by that of what it adds to a denominator."""

    percent = True

    @abstractmethod
    def parts(self, answers: Answered) -> np.ndarray:
        """Return each row's numerator and denominator (N, 2)."""

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        parts = self.parts(answers)

        def share(pick: Pick) -> float:
            numerator, denominator = parts[pick].sum(axis=0)
            # Nothing to add up, as in a draw without an entity: 0, as scikit-learn has it.
            return float(numerator / denominator) if denominator else 0.0

        return share


class RightRows(Metric):
    """The share of rows that are right: what exact tests of paired rows and of proportions are for."""

    percent = True

    def right(self, answers: Answered) -> np.ndarray:
        """Return whether each row is right (N,)."""
        equal: np.ndarray = answers.label == answers.prediction
        return equal

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        right = self.right(answers)
        # Rows that are right are marked once, and each draw only averages.
        return lambda pick: float(right[pick].mean())


METRICS: Registry[type[Metric]] = Registry("metric", "afina.measure.metrics")
"""All metrics by name."""
metric = METRICS.register


def metrics_of(kind: str, outputs: int, parts: Sequence[str] = ()) -> dict[str, Metric]:
    """Return the metrics of a kind of answers with so many outputs, by name; those of single parts last."""
    # Made once and asked of every draw.
    fitting = [cls for cls in METRICS.values() if kind in cls.of and cls.fits(outputs)]
    of_parts = {f"{cls.name}_{part}": cls(part) for cls in fitting if cls.parted for part in parts}
    return {cls.name: cls() for cls in fitting} | of_parts


def metric_named(name: str) -> Metric:
    """Return a metric by the name that results have; raises `UsageError` for one that there is not."""
    known = _known(name)
    if known is None:
        raise UsageError(f"Unknown metric '{name}'{nearest(name, METRICS)}")
    return known


def _known(name: str) -> Metric | None:
    if name in METRICS:
        return METRICS[name]()
    # A metric of one part is called by the whole's name and the part's, `f1_PER`.
    heads = [head for head in METRICS if name.startswith(f"{head}_") and METRICS[head].parted]
    return METRICS[heads[0]](name.removeprefix(f"{heads[0]}_")) if heads else None


def diagrams_of(names: Sequence[str], answers: Answered) -> list[Diagram]:
    """Return what the metrics of these names have to show of some answers."""
    known = [found for name in names if (found := _known(name)) is not None]
    return [diagram for metric in known if (diagram := metric.diagram(answers)) is not None]


def higher_is_better(name: str) -> bool:
    """Return whether a larger value of this metric is better; so it is taken to be of one that other programs measured."""
    # A metric of another program is not known here, and most are better when larger.
    known = _known(name)
    return known is None or known.higher_is_better


def is_percent(name: str) -> bool:
    """Return whether tables show this metric in percent."""
    known = _known(name)
    return known is not None and known.percent


def part_of(name: str) -> str | None:
    """Return the part (type of entity, say) that a metric of this name is of, None where it is of the whole."""
    known = _known(name)
    return None if known is None else known.part

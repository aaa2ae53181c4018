"""Show what one run got wrong: by class, row by row, and how often where only answers that are sure enough count."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.measure.shown import html_of
from afina.results.certainty import wilson
from afina.results.folder import InFolder, folder_of
from afina.results.predictions import read_predictions
from afina.results.result import Result
from afina.results.results_jsonl import read_results
from afina.results.test_rows import TestRows, read_test_rows
from afina.tasks.base import TASKS

if TYPE_CHECKING:
    import pandas

__all__ = ["THRESHOLDS", "ClassScore", "Coverage", "Mistakes", "mistakes_of", "mistakes_or_none", "read_mistakes"]

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities below which a row would go to a person."""
_MOST_CLASSES = 15


@dataclass(frozen=True)
class ClassScore:
    """A class of the test rows: how many there are, how many were found and predicted, and what they were taken for."""

    name: str
    rows: int
    predicted: int
    right: int
    taken_for: tuple[tuple[str, int], ...]
    """The other classes that its rows were taken for, the most frequent first."""

    @property
    def precision(self) -> float | None:
        """Share of the rows predicted so that are; None where none was."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of its rows that were found; None where there are none."""
        return self.right / self.rows if self.rows else None

    @property
    def f1(self) -> float | None:
        return 2 * self.right / (self.rows + self.predicted) if self.rows + self.predicted else None


@dataclass(frozen=True)
class Coverage:
    """The rows whose likeliest label has at least a probability: how many there are, and how many are right."""

    at_least: float
    rows: int
    answered: int
    right: int

    @property
    def share(self) -> float:
        return self.answered / self.rows

    @property
    def accuracy(self) -> float | None:
        return self.right / self.answered if self.answered else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the accuracy, by the rows that count."""
        return wilson(self.right, self.answered)


@dataclass(frozen=True)
class Mistakes:
    """A run's answers on its test rows, beside the labels; `names` is None for numbers."""

    run: str
    method: str
    names: tuple[str, ...] | None
    label: np.ndarray
    prediction: np.ndarray
    probability: np.ndarray | None
    """Probability (N,) of the predicted class; None for numbers."""
    texts: TestRows | None

    def __repr__(self) -> str:
        wrong = "" if self.names is None else f", {len(self.wrong()):,} of {len(self.label):,} wrong"
        return f"Mistakes of {self.run}: {len(self.label):,} test rows{wrong}"

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a DataFrame with a row a test row: its text where it is kept, label, prediction and probability."""
        import pandas

        names = self.names
        shown = (lambda values: values) if names is None else (lambda values: [names[int(value)] for value in values])
        columns = {"label": shown(self.label), "prediction": shown(self.prediction)}
        if self.texts is not None:
            # As many rows as labels: `read_test_rows` gives none otherwise.
            columns = {"text": [self.texts.shown(item) for item in range(len(self.label))], **columns}
            if self.texts.number is not None:
                columns = {"row": self.texts.number, **columns}
        if self.probability is not None:
            columns |= {"probability": self.probability, "right": self.label == self.prediction}
        return pandas.DataFrame(columns)

    def _repr_html_(self) -> str:
        if self.names is None:
            return f"<p>{escape(repr(self))}</p>"
        rows = [
            (
                own.name,
                own.rows,
                own.precision,
                own.recall,
                own.f1,
                ", ".join(f"{n} ({c})" for n, c in own.taken_for[:3]),
            )
            for own in self.by_class()
        ]
        return html_of(repr(self), ("class", "test rows", "precision", "recall", "F1", "taken for"), rows)

    @property
    def confusion_is_small(self) -> bool:
        """Return whether the table of labels against predictions is small enough to be read."""
        return self.names is not None and len(self.names) <= _MOST_CLASSES

    @cached_property
    def confusion(self) -> np.ndarray:
        """Count rows by label and prediction (K, K)."""
        assert self.names is not None
        counts = np.zeros((len(self.names), len(self.names)), dtype=np.int64)
        # `+=` would count a pair of label and prediction once, however often it comes.
        np.add.at(counts, (self.label.astype(int), self.prediction.astype(int)), 1)
        return counts

    def by_class(self) -> list[ClassScore]:
        """Return each class's score, in label order."""
        assert self.names is not None
        scores = []
        for place, name in enumerate(self.names):
            # Stable, so that of classes that are taken for one another equally often the first in the data set stands
            # first.
            row = self.confusion[place]
            order = [other for other in np.argsort(-row, kind="stable") if other != place and row[other]]
            taken = tuple((self.names[other], int(row[other])) for other in order)
            scores.append(ClassScore(name, int(row.sum()), int(self.confusion[:, place].sum()), int(row[place]), taken))
        return scores

    def wrong(self) -> np.ndarray:
        """Return the items that are wrong, those first of which the run was surest; numbers by their distance."""
        if self.probability is None:
            # A number is not right or wrong: the whole list, the farthest first, is what a person looks through.
            return np.argsort(-np.abs(self.prediction - self.label), kind="stable")
        items = np.flatnonzero(self.prediction != self.label)
        return items[np.argsort(-self.probability[items], kind="stable")]

    def coverage(self, thresholds: Sequence[float] = THRESHOLDS) -> list[Coverage]:
        """Return what is answered, and how much of that rightly, where less sure rows go to a person."""
        assert self.probability is not None
        right = self.prediction == self.label
        points = []
        for least in thresholds:
            sure = self.probability >= least
            points.append(Coverage(least, len(right), int(sure.sum()), int((right & sure).sum())))
        return points


def mistakes_of(directory: Path, result: Result) -> Mistakes | None:
    """Return what a finished run got wrong; None where a row has no single answer with a name or a number.

    Raises `AfinaError` when its predictions are gone or damaged.
    """
    names, kind = result.label_names, str(result.task)
    # A task that this version does not know has been learned by a newer one.
    judged = TASKS[kind].judged if kind in TASKS else ""
    if not judged or (judged == "class" and names is None):
        return None
    predictions = read_predictions(directory, result)
    # Rows are kept by the digest of their data: those of a data set that has changed since would stand beside wrong
    # answers.
    digest = "" if result.fingerprint is None else result.fingerprint.data
    number = judged == "number"
    probability = None if number else predictions.scores.max(axis=1)
    return Mistakes(
        run=result.run, method=result.method_label, names=None if number else tuple(names or ()),
        label=predictions.label, prediction=predictions.prediction, probability=probability,
        texts=read_test_rows(directory, digest, len(predictions.label)),
    )  # fmt: skip


def read_mistakes(directory: str | Path | InFolder, run: str) -> Mistakes:
    """Return what a run of a study got wrong; raises `UsageError` for a run that is not there or has no such answers."""
    folder = folder_of(directory)
    done = {result.run: result for result in read_results(folder) if result.is_finished}
    if run not in done:
        raise UsageError(f"{folder} has no finished run '{run}'; there are {', '.join(done) or 'none'}.")
    mistakes = mistakes_of(folder, done[run])
    if mistakes is None:
        raise UsageError(f"{run} is of the task {done[run].task}, whose rows have no single answer to be wrong in.")
    return mistakes


def mistakes_or_none(directory: Path, result: Result) -> Mistakes | None:
    """Return what a run got wrong, None also where its predictions are gone."""
    try:
        return mistakes_of(directory, result)
    except AfinaError:
        return None

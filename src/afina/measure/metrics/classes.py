"""Metrics of classes, one a row, by how often each was taken for each; and of sets of them."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from afina.measure.metrics.base import Answered, Metric, Pick, RightRows, metric

__all__ = ["MCC", "Accuracy", "BinaryF1", "ByCounts", "MacroF1", "confusion"]


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return how many rows have each label (down) and prediction (across), (K, K)."""
    # Both as one number, so that one count gives the whole table.
    places = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes).astype(float)


class ByCounts(Metric):
    """A metric of how many rows each class has, is predicted for, and is rightly predicted for."""

    of: ClassVar[tuple[str, ...]] = ("classes",)

    @abstractmethod
    def of_counts(self, hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
        """Return it of each class's right rows, its rows and the rows predicted as it, (K,) each."""

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        # Sets are kept as objects; classes are numbers.
        return self._over_sets(answers) if answers.label.dtype == object else self._over_classes(answers)

    def _over_classes(self, answers: Answered) -> Callable[[Pick], float]:
        label, prediction = answers.label, answers.prediction
        classes = int(max(1, label.max(), prediction.max())) + 1  # two at least, though all rows may be of the first

        def value(pick: Pick) -> float:
            counts = confusion(label[pick], prediction[pick], classes)
            return float(self.of_counts(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)))

        return value

    def _over_sets(self, answers: Answered) -> Callable[[Pick], float]:
        """Count where a row has several labels, by name."""
        # Of both sides, as a name may only be predicted.
        names = sorted({name for own in (*answers.label, *answers.prediction) for name in own})
        there, predicted_flags = _flags(answers.label, names), _flags(answers.prediction, names)
        # A label is right where a row has it and it was predicted.
        right = there * predicted_flags
        return lambda pick: float(
            self.of_counts(right[pick].sum(axis=0), there[pick].sum(axis=0), predicted_flags[pick].sum(axis=0))
        )


@metric("accuracy")
class Accuracy(RightRows):
    """Share of the rows whose prediction is their label."""

    of = ("classes", "choices")
    portuguese = "acurácia"


@metric("macro_f1")
class MacroF1(ByCounts):
    """Mean over the classes that occur, as label or as prediction, of each one's F1."""

    of = ("classes", "sets")
    percent = True
    portuguese = "F1 macro"

    def of_counts(self, hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
        occurring = (actual + predicted) > 0
        if not occurring.any():  # no row has a label, and none is given one
            return 0.0
        return float((2 * hits[occurring] / (actual + predicted)[occurring]).mean())


@metric("mcc")
class MCC(ByCounts):
    """Matthews' correlation of labels and predictions."""

    portuguese = "MCC"

    def of_counts(self, hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
        total = actual.sum()
        # Of whole tables, as Gorodkin (2004) has it for more than two classes.
        spread = np.sqrt((total**2 - (predicted**2).sum()) * (total**2 - (actual**2).sum()))
        return float((hits.sum() * total - (actual * predicted).sum()) / spread) if spread > 0 else 0.0


@metric("binary_f1")
class BinaryF1(ByCounts):
    """Measures the F1 of the second of two classes, as MRPC and QQP are scored by."""

    percent = True
    portuguese = "F1 da segunda classe"

    @classmethod
    def fits(cls, outputs: int) -> bool:
        return outputs == 2

    def of_counts(self, hits: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
        return float(2 * hits[1] / (actual[1] + predicted[1])) if actual[1] + predicted[1] else 0.0


def _flags(sets: Any, names: Sequence[str]) -> np.ndarray:
    """Return (N, K): 1 where a row has the name."""
    rows = [[name in row for name in names] for row in sets]
    return np.array(rows, dtype=float).reshape(len(sets), len(names))

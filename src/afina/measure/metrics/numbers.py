"""Measure numbers, one a row, against the right ones."""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from afina.measure.metrics.base import Answered, Metric, Pick, metric

__all__ = ["R2", "OfNumbers", "Pearson", "Spearman", "SquaredError"]


class OfNumbers(Metric):
    """Compares numbers with the right ones."""

    of = ("numbers",)

    @abstractmethod
    def of_values(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        """Return it of these (N,)."""

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        labels, predictions = answers.label, answers.prediction
        return lambda pick: self.of_values(labels[pick], predictions[pick])


@metric("mse")
class SquaredError(OfNumbers):
    """Mean squared error."""

    higher_is_better = False
    portuguese = "EQM"

    def of_values(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        return float(np.square(labels - predictions).mean())


@metric("r2")
class R2(OfNumbers):
    """Share of the labels' variance that the predictions explain; 0 for constant labels."""

    portuguese = "R²"

    def of_values(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        error = float(np.square(labels - predictions).mean())
        # Constant labels have no variance to explain.
        return 0.0 if _constant(labels) else 1 - error / float(np.var(labels))


@metric("pearson")
class Pearson(OfNumbers):
    """Pearson's correlation; 0 where a side is constant."""

    portuguese = "Pearson"

    def of_values(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        if _constant(labels) or _constant(predictions):
            return 0.0
        a, b = labels - labels.mean(), predictions - predictions.mean()
        scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
        return float((a * b).sum() / scale) if scale > 0 else 0.0


@metric("spearman")
class Spearman(Pearson):
    """Measures Spearman's correlation: Pearson's of the ranks."""

    portuguese = "Spearman"

    def of_values(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        from scipy.stats import rankdata

        # Ranks of the drawn rows: a row that is drawn twice ties with itself.
        return super().of_values(rankdata(labels), rankdata(predictions))


def _constant(values: np.ndarray) -> bool:
    # Not by the variance: the mean of equal numbers is rounded, and what is left would count as a spread.
    return bool((values == values[0]).all())

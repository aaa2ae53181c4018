"""Metrics of predictions, as scikit-learn and scipy define them."""

import numpy as np

__all__ = ["EVALUATOR", "classification_metrics", "higher_is_better", "regression_metrics"]

EVALUATOR = "1"
"""Raised whenever a formula here changes: results of different evaluators are not compared."""


def classification_metrics(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """Return accuracy, macro-F1 over the classes that occur, and Matthews' correlation (0 where undefined)."""
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels.astype(int), predictions.astype(int)), 1)
    hits, actual, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurring = (actual + predicted) > 0
    f1 = 2 * hits[occurring] / (actual + predicted)[occurring]
    total = confusion.sum()
    spread = np.sqrt((total**2 - (predicted**2).sum()) * (total**2 - (actual**2).sum()))
    mcc = (hits.sum() * total - (actual * predicted).sum()) / spread if spread > 0 else 0.0
    return {"accuracy": float(hits.sum() / total), "macro_f1": float(f1.mean()), "mcc": float(mcc)}


def regression_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return mean squared error, R2 and the correlations of Pearson and Spearman (0 where a side is constant)."""
    from scipy.stats import rankdata

    error = float(np.square(labels - predictions).mean())
    variance = float(np.var(labels))
    return {
        "mse": error,
        "r2": 1 - error / variance if variance > 0 else 0.0,
        "pearson": _correlation(labels, predictions),
        "spearman": _correlation(rankdata(labels), rankdata(predictions)),
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of this metric is the better one."""
    return metric != "mse"

"""Metrics of predictions, as scikit-learn and scipy define them; where they are undefined, 0, without a warning."""

import numpy as np

__all__ = ["EVALUATOR", "classification_metrics", "higher_is_better", "language_metrics", "regression_metrics"]

EVALUATOR = "1"
"""Raised whenever a formula here changes: results of different evaluators are not compared."""


def classification_metrics(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """Return accuracy, macro-F1 over the classes that occur, and Matthews' correlation (0 where undefined).

    Of two classes also the F1 of the second, as MRPC and QQP are scored by.
    """
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (labels.astype(int), predictions.astype(int)), 1)
    hits, actual, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurring = (actual + predicted) > 0
    f1 = 2 * hits[occurring] / (actual + predicted)[occurring]
    total = confusion.sum()
    spread = np.sqrt((total**2 - (predicted**2).sum()) * (total**2 - (actual**2).sum()))
    mcc = (hits.sum() * total - (actual * predicted).sum()) / spread if spread > 0 else 0.0
    found = {"accuracy": float(hits.sum() / total), "macro_f1": float(f1.mean()), "mcc": float(mcc)}
    if classes == 2:
        found["binary_f1"] = float(2 * hits[1] / (actual[1] + predicted[1])) if actual[1] + predicted[1] else 0.0
    return found


def regression_metrics(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return mean squared error, R2 (0 for constant labels), Pearson's and Spearman's correlations (0 if a side is)."""
    from scipy.stats import rankdata

    error = float(np.square(labels - predictions).mean())
    return {
        "mse": error,
        "r2": 0.0 if _constant(labels) else 1 - error / float(np.var(labels)),
        "pearson": _correlation(labels, predictions),
        "spearman": _correlation(rankdata(labels), rankdata(predictions)),
    }


def language_metrics(tokens: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    """Return perplexity exp(loss) and the mean loss in nats a token, of rows with so many tokens and summed losses."""
    loss = float(losses.sum() / tokens.sum())
    return {"perplexity": float(np.exp(min(loss, 700.0))), "loss": loss}


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if _constant(first) or _constant(second):
        return 0.0
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def _constant(values: np.ndarray) -> bool:
    # Not by the variance: the mean of equal numbers is rounded, and what is left would count as a spread.
    return bool((values == values[0]).all())


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of this metric is the better one."""
    return metric not in ("mse", "perplexity", "loss")

"""Estimate how often answers are right without labels: by the adapter's confidence, calibrated on rows that have labels.

The mean calibrated confidence is the expected share of right answers, as long as a confidence means the same as on the rows
it was calibrated on (Guillory et al., 2021, arXiv:2107.03315; nannyml's CBPE). How far that holds is measured: rows held out
from the calibration are drawn so that they are unlike the others - other shares of labels, other lengths, another region of
vectors - and the estimate is held against the true share.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from afina.drift.seen import Seen

__all__ = ["Estimated", "Estimator", "Shifts"]

_FEWEST = 50
"""Judged rows below which nothing is calibrated."""
_HALVES = 8
"""Divisions of the rows into those that are calibrated on and those that shifted samples are drawn of."""


@dataclass(frozen=True)
class Shifts:
    """Says how far estimates were off, over samples of held-out rows that are unlike the rest."""

    samples: int
    mean_error: float
    """Mean absolute difference of the estimated and the true share."""
    largest_usual: float
    """The difference that nine of ten samples stay below."""
    unchanged_error: float
    """The mean difference if the share were taken to stay as it was: what an estimate has to be better than."""


@dataclass(frozen=True)
class Estimated:
    """Holds the estimated share of right answers, with the interval that nine of ten shifted samples stay in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimator:
    """Turns confidences into the share of right answers to expect."""

    confidence: np.ndarray
    right: np.ndarray
    shifts: Shifts

    @classmethod
    def of(cls, reference: Seen, seed: int = 0) -> "Estimator | None":
        """Make one by the judged rows of a reference; None where they have no confidences or are too few."""
        if reference.confidence is None or reference.known.sum() < _FEWEST:
            return None
        known = np.flatnonzero(reference.known)
        confidence, right = reference.confidence[known].astype(np.float64), reference.right
        truth = np.array(list(_shifted(reference, known, confidence, right, np.random.default_rng(seed))))
        errors, stayed = np.abs(truth[:, 0] - truth[:, 1]), np.abs(right.mean() - truth[:, 1])
        shifts = Shifts(len(truth), float(errors.mean()), float(np.quantile(errors, 0.9)), float(stayed.mean()))
        return cls(confidence, right, shifts)

    def estimate(self, rows: Seen) -> Estimated | None:
        """Return the share of right answers to expect of rows."""
        if rows.confidence is None or not len(rows):
            return None
        value = float(_calibrated(self.confidence, self.right, rows.confidence).mean())
        off = self.shifts.largest_usual
        return Estimated(value, max(0.0, value - off), min(1.0, value + off))


def _calibrated(confidence: np.ndarray, right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return for confidences how often answers are right that are so sure, rising with confidence (isotonic)."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(confidence, right)
    return np.asarray(fitted.predict(asked.astype(np.float64)))


def _shifted(
    reference: Seen, known: np.ndarray, confidence: np.ndarray, right: np.ndarray, random: np.random.Generator
) -> Iterator[tuple[float, float]]:
    """Yield the estimated and the true share of shifted samples of rows that were held out from the calibration."""
    for _ in range(_HALVES):
        order = random.permutation(len(known))
        fit, held = np.split(order, [len(order) // 2])
        for weights in _weights(reference, known[held], random):
            drawn = held[random.choice(len(held), len(held), p=weights)]
            estimated = _calibrated(confidence[fit], right[fit], confidence[drawn])
            yield float(estimated.mean()), float(right[drawn].mean())


def _weights(reference: Seen, rows: np.ndarray, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield probabilities (N,) with which rows are drawn, each of another shift."""
    assert reference.truth is not None
    # Other shares of labels: each label's weight is drawn anew.
    names, which = np.unique(reference.truth[rows], return_inverse=True)
    yield _normed(random.dirichlet(np.ones(len(names)))[which] + 1e-3)
    # Long texts, and texts with rare words, more often; or short ones and those with common words.
    for values in (reference.length[rows], reference.surprise[rows]):
        ranks = np.argsort(np.argsort(values)) / max(1, len(values) - 1)
        yield _normed(np.exp(3 * ranks))
        yield _normed(np.exp(-3 * ranks))
    # One region of vectors: near one row that is drawn.
    near = rows < len(reference.vectors)
    if near.sum() >= _FEWEST // 2:
        vectors = reference.vectors[rows[near]].astype(np.float64)
        distances = np.linalg.norm(vectors - vectors[random.integers(len(vectors))], axis=1)
        weights = np.zeros(len(rows))
        weights[near] = np.exp(-3 * np.argsort(np.argsort(distances)) / len(distances))
        yield _normed(weights)


def _normed(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights / weights.sum())

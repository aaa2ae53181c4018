"""Look for labels that may be wrong: rows that a cheap model, which never saw them, is sure are of another class.

Confident learning (Northcutt, Jiang and Chuang, 2021, arXiv:1911.00068): class j's threshold is the mean probability that
rows labelled j get of j, t_j = mean p(j | x) over y = j. A row counts for the likeliest of the classes whose threshold it
reaches; where that is not its label, the label is doubted. The probabilities are of tf-idf and logistic regression, out of
fold. Of these rows only those are told whose own label is as good as ruled out (at most 0.2) and another more likely than all
the rest (from 0.5): with a model that knows words alone, the others are mostly its own mistakes.
"""

import warnings
import zlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from afina.corpus.leaks import shown
from afina.data.plain_words import plain_words

__all__ = ["LabelNoise", "LabelNoiseSearch", "NoisyRow", "confident"]

_ROWS = 100_000
"""Most rows that are looked at, from everywhere in the file."""
_WORDS = 300
"""Words of a text that the cheap model reads."""
_COLUMNS = 1 << 20
_MOST_TERMS = 20_000
_MOST_CLASSES = 50
_FOLDS = 5
_FEWEST = 100
"""Rows below which thresholds are too rough to doubt any label by."""
_RULED_OUT, _MOST_LIKELY = 0.2, 0.5
_KEPT = 1_000
"""Doubted rows that are listed, the surest of them."""


@dataclass(frozen=True)
class NoisyRow:
    """Shows a row whose label is doubted."""

    place: str
    label: str
    suggested: str
    """The class that the cheap model is sure of."""
    probability: float
    text: str


@dataclass(frozen=True)
class LabelNoise:
    """Says which labels are doubted, and how good the cheap model is that doubts them."""

    looked: int
    """Rows that were looked at."""
    doubted: int
    accuracy: float
    """Share of the rows whose label the cheap model gives, having never seen them."""
    most_frequent: float
    """Share of the most frequent label, which knowing nothing gives."""
    swaps: list[tuple[str, str, int]] = field(default_factory=list)
    """Label, suggested label and rows, the most frequent first."""
    rows: list[NoisyRow] = field(default_factory=list)
    """The surest of them, a thousand at most."""

    @property
    def is_told(self) -> bool:
        """Return whether words tell the labels at all: more often than knowing nothing does by chance."""
        error = (self.most_frequent * (1 - self.most_frequent) / max(1, self.looked)) ** 0.5
        return bool(self.accuracy > self.most_frequent + 3 * error)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "rows": [vars(row) for row in self.rows], "is_told": self.is_told}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "LabelNoise":
        """Return what `as_dict` gave; raises `KeyError` or `TypeError` for anything else."""
        plain = {name: values[name] for name in ("looked", "doubted", "accuracy", "most_frequent")}
        swaps = [(given, other, rows) for given, other, rows in values["swaps"]]
        return cls(**plain, swaps=swaps, rows=[NoisyRow(**row) for row in values["rows"]])


class LabelNoiseSearch:
    """Takes rows as they pass by: a few bytes a word, and the beginning of each text."""

    def __init__(self) -> None:
        self._step, self._seen = 1, 0
        self._words: list[np.ndarray] = []
        self._labels: list[str] = []
        self._places: list[str] = []
        self._texts: list[str] = []

    def add(self, text: str, label: str, place: str) -> None:
        """Take a row with a label."""
        self._seen += 1
        if (self._seen - 1) % self._step:
            return
        words = (zlib.crc32(word.encode()) % _COLUMNS for word in plain_words(text)[:_WORDS])
        self._words.append(np.frombuffer(array("I", words), dtype=np.uint32))
        for column, value in ((self._labels, label), (self._places, place), (self._texts, shown(text))):
            column.append(value)
        if len(self._words) > _ROWS:
            self._step *= 2
            self._words, self._labels = self._words[::2], self._labels[::2]
            self._places, self._texts = self._places[::2], self._texts[::2]

    def found(self) -> LabelNoise | None:
        """Return what is doubted; None where there is nothing to doubt by: few rows, one class, or as good as no classes."""
        counts = Counter(self._labels)
        # A class of which a fold may have no row can be neither learned nor doubted.
        names = sorted(label for label, rows in counts.items() if rows >= 2 * _FOLDS)
        if not (len(names) >= 2 and len(counts) <= _MOST_CLASSES):
            return None
        place = {name: number for number, name in enumerate(names)}
        taken = [row for row, label in enumerate(self._labels) if label in place]
        if len(taken) < _FEWEST:
            return None
        labels = np.array([place[self._labels[row]] for row in taken])
        vectors = _tfidf([self._words[row] for row in taken])
        if vectors is None:
            return None
        probabilities = _out_of_fold(vectors, labels, len(names))
        doubted, suggested = confident(labels, probabilities)
        of_label = probabilities[np.arange(len(labels)), labels]
        sure = probabilities[np.arange(len(labels)), suggested]
        doubted &= (of_label <= _RULED_OUT) & (sure >= _MOST_LIKELY)
        order = np.flatnonzero(doubted)[np.argsort((of_label - sure)[doubted], kind="stable")]
        swaps = Counter((names[labels[row]], names[suggested[row]]) for row in order)
        return LabelNoise(
            looked=len(taken), doubted=len(order), accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
            most_frequent=float(np.bincount(labels).max() / len(labels)),
            swaps=[(*pair, rows) for pair, rows in swaps.most_common()],
            rows=[
                NoisyRow(self._places[taken[row]], names[labels[row]], names[suggested[row]], float(sure[row]),
                         self._texts[taken[row]])
                for row in order[:_KEPT]
            ],
        )  # fmt: skip


def confident(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for labels (N,) and probabilities (N, K) out of fold which are doubted, and for which class each row counts.

    A row that reaches no class's threshold counts for none, and its label is not doubted.
    """
    classes = range(probabilities.shape[1])
    thresholds = np.array([probabilities[labels == k, k].mean() for k in classes])
    # Reached up to rounding, as by the only row of a class.
    reached = probabilities >= thresholds - 1e-6
    counted = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return reached.any(axis=1) & (counted != labels), counted


def _tfidf(rows: Sequence[np.ndarray]) -> Any:
    """Return (N, D) sparse rows of (1 + ln tf) (1 + ln((1 + N) / (1 + df))), of length one; None where no word is shared."""
    from scipy import sparse

    counted = [np.unique(words, return_counts=True) for words in rows]
    ends = np.cumsum([0, *(len(words) for words, _ in counted)])
    columns = np.concatenate([words for words, _ in counted])
    frequency = np.bincount(columns, minlength=_COLUMNS)
    # What one text alone has tells nothing of another.
    terms = np.argsort(-frequency, kind="stable")[:_MOST_TERMS]
    terms = terms[frequency[terms] > 1]
    if not len(terms):
        return None
    values = 1 + np.log(np.concatenate([counts for _, counts in counted]).astype(np.float32))
    matrix = sparse.csr_matrix((values, columns, ends), shape=(len(rows), _COLUMNS))[:, np.sort(terms)]
    matrix = matrix.multiply(1 + np.log((1 + len(rows)) / (1 + frequency[np.sort(terms)])))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)))
    return matrix.multiply(1 / np.maximum(length, 1e-12)).tocsr().astype(np.float32)


def _out_of_fold(vectors: Any, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return probabilities (N, K) of each row by a logistic regression on the other folds."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # Each class is dealt out among the folds, so that none lacks one.
    fold = np.empty(len(labels), dtype=np.int64)
    random = np.random.default_rng(0)
    for k in range(classes):
        rows = random.permutation(np.flatnonzero(labels == k))
        fold[rows] = np.arange(len(rows)) % _FOLDS
    probabilities = np.zeros((len(labels), classes))
    for number in range(_FOLDS):
        inside = fold == number
        with warnings.catch_warnings():
            # Sixty iterations bound the time; what further ones would change is a hundredth of a probability.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = LogisticRegression(C=3.0, max_iter=60, tol=1e-3).fit(vectors[~inside], labels[~inside])
        probabilities[inside] = fitted.predict_proba(vectors[inside])
    return probabilities

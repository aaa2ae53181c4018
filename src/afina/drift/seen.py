"""Hold what is kept of rows to compare them with others: figures of each row, and none of its words."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from afina.tasks.base import Task
from afina.tasks.predictions import Decoded

__all__ = [
    "NONE",
    "VECTORS",
    "WIDTH",
    "Seen",
    "SeenAnswers",
    "answers_of",
    "can_be_watched",
    "projected",
    "truth_of",
    "whole_texts",
]  # fmt: skip

VECTORS = 512
"""Most rows of a reference of which a vector is kept."""
WIDTH = 64
"""Numbers of a kept vector: of a model's own, much of its text can be had (Morris et al., 2023, arXiv:2310.06816)."""
NONE = "-"
"""The name of no label at all, where a row may have none."""
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Holds figures of N rows, in one order, the first M of them with vectors; what is not known of any row is None."""

    length: np.ndarray
    """(N,) words of each row."""
    unseen: np.ndarray
    """(N,) share of the row's words that no train row has."""
    surprise: np.ndarray
    """(N,) bits a word, by how often each stands in the train rows."""
    spoken: np.ndarray
    """(N,) codes of languages, `unknown` among them."""
    vectors: np.ndarray
    """(M, WIDTH) float16 of the first M rows."""
    label: np.ndarray | None = None
    """(N,) names of the predicted labels."""
    confidence: np.ndarray | None = None
    """(N,) probabilities of what was predicted."""
    value: np.ndarray | None = None
    """(N,) predicted numbers."""
    truth: np.ndarray | None = None
    """(N,) right labels, an empty name where it is not known; of numbers NaN."""
    group: np.ndarray | None = None
    """(N,) names of groups."""

    def __len__(self) -> int:
        return len(self.length)

    @property
    def known(self) -> np.ndarray:
        """Return of each row (N,) whether its right answer is known."""
        if self.truth is None:
            return np.zeros(len(self), dtype=bool)
        return np.asarray(np.isfinite(self.truth) if self.value is not None else self.truth != "", dtype=bool)

    @property
    def right(self) -> np.ndarray:
        """Return of the rows whose right answer is known whether theirs was that (1.0, 0.0), or how far off a number was."""
        known = self.known
        if self.truth is None or not known.any():
            return np.zeros(0)
        if self.value is not None:
            return np.asarray(np.abs(self.value[known] - self.truth[known]))
        assert self.label is not None
        return np.asarray(self.label[known] == self.truth[known], dtype=np.float64)

    def take(self, rows: np.ndarray) -> Self:
        """Return only these rows, in this order; those that have vectors have to come first."""
        with_vectors = rows[rows < len(self.vectors)]
        assert (rows[: len(with_vectors)] == with_vectors).all(), "rows with vectors come first"
        taken = {name: values[rows] for name, values in self._columns().items()}
        return replace(self, **taken, vectors=self.vectors[with_vectors])

    @classmethod
    def of_all(cls, parts: Sequence["Seen"]) -> "Seen":
        """Return the rows of all parts; what only some parts know is known of none."""
        # Rows with vectors first, as everywhere.
        firsts = [part.take(np.arange(len(part.vectors))) for part in parts]
        rests = [part.take(np.arange(len(part.vectors), len(part))) for part in parts]
        pieces = [piece for piece in (*firsts, *rests) if len(piece)]
        joined: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(piece, field.name) for piece in pieces]
            joined[field.name] = None if any(each is None for each in values) else np.concatenate(values)
        return cls(**joined)

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "vectors"}
        return {name: values for name, values in columns.items() if values is not None}

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a file keeps; `Seen(**arrays)` makes it again."""
        return {**self._columns(), "vectors": self.vectors}


@dataclass(frozen=True)
class SeenAnswers:
    """Holds what was predicted for N rows, as `Seen` has it."""

    label: np.ndarray | None
    confidence: np.ndarray | None
    value: np.ndarray | None


def can_be_watched(task: Task) -> bool:
    """Return whether a task gives each text labels or a number, by which its adapters' answers can be compared."""
    return task.predictor == "classifier" and (task.judged != "" or task.several)


def answers_of(task: Task, decoded: Decoded) -> SeenAnswers:
    """Return what was predicted for N rows as it is watched."""
    predictions, scores = decoded.predictions, decoded.scores
    if task.label_names is None:
        return SeenAnswers(None, None, np.asarray(predictions, dtype=np.float64))
    # Of several labels, each there or not, it is as sure as of the one of which it is least sure.
    sure = np.maximum(scores, 1 - scores).min(axis=1) if task.several else scores.max(axis=1)
    return SeenAnswers(truth_of(task, predictions), sure.astype(np.float32), None)


def truth_of(task: Task, labels: np.ndarray) -> np.ndarray:
    """Return labels as `Seen` has them: (N,) names, of several in a row with a semicolon between, or numbers."""
    if task.label_names is None:
        return np.asarray(labels, dtype=np.float64)
    if task.several:
        return np.array(["; ".join(names) or NONE for names in task.shown(labels)], dtype=str)
    return np.asarray(np.array(task.label_names, dtype=str)[labels])


def whole_texts(texts: Sequence[str], pairs: Sequence[str | None] | None = None) -> list[str]:
    """Return each text with its second one under it."""
    if pairs is None:
        return list(texts)
    return [text if pair is None else f"{text}\n{pair}" for text, pair in zip(texts, pairs, strict=True)]


def projected(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (N, D) on WIDTH directions that a fixed seed draws: distances stay, within a tenth (Johnson 1984)."""
    directions = np.random.default_rng(_SEED).standard_normal((vectors.shape[1], WIDTH)) / np.sqrt(WIDTH)
    return np.asarray(vectors.astype(np.float64) @ directions, dtype=np.float16)

"""Have an adapter answer rows, and keep of rows and answers the figures that are compared."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from afina.data.labels.given import as_names, plain_label
from afina.drift.reference import AdapterReference, figures_of, languages_of
from afina.drift.seen import NONE, Seen, SeenAnswers, answers_of, can_be_watched, projected, whole_texts
from afina.drift.vocabulary import WordSketch
from afina.errors import UsageError, nearest
from afina.predictor.classifier import Classifier
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task
from afina.train.embed import embed

__all__ = ["check_watched", "make_reference", "named_truth", "seen_of"]

_FEWEST = 50
"""Rows that a reference has at least: of fewer nothing but a landslide could be told."""


def check_watched(task: Task, where: str) -> None:
    """Raise `UsageError` for an adapter whose answers are not watched."""
    if not can_be_watched(task):
        raise UsageError(
            f"{where} was trained for task: {task.name}; afina watch is for adapters that give a text labels or a number."
        )


def seen_of(
    predictor: Predictor, vocabulary: WordSketch, texts: Sequence[str], pairs: Sequence[str] | None, *, vectors: int,
    batch_size: int = 32,
) -> Seen:  # fmt: skip
    """Return what is kept of rows, in their order, the first `vectors` of them with vectors; right answers are not known."""
    whole = whole_texts(texts, pairs)
    answers, projections = _answered(predictor, texts, pairs, np.arange(min(vectors, len(texts))), batch_size)
    return Seen(**vocabulary.measured(whole), spoken=languages_of(whole), vectors=projections, **vars(answers))


def _answered(
    predictor: Predictor, texts: Sequence[str], pairs: Sequence[str] | None, first: np.ndarray, batch_size: int
) -> tuple[SeenAnswers, np.ndarray]:
    """Return an adapter's answers to rows, and the vectors of some of them."""
    assert isinstance(predictor, Classifier), "what is watched labels texts"
    tokens = predictor.read(list(texts), pairs, None)
    assert tokens is not None, "there are rows"
    decoded = predictor.task.decode_rows(tokens, predictor.outputs(tokens, batch_size))
    vectors = embed(predictor.backbone, tokens.take(first), "mean", batch_size=batch_size, adapter=predictor.adapter)
    return answers_of(predictor.task, decoded), projected(vectors)


def named_truth(task: Task, values: Sequence[Any]) -> np.ndarray:
    """Return right answers as a file holds them (N,), as `Seen` has them: names, or numbers; what is missing stays so.

    A label that is none of the task's stays too: no answer of the adapter's is right there. Raises `UsageError` where all of
    them are so, which is another column or another data set, and for what is no number.
    """
    if task.label_names is None:
        return np.array([_number(value) for value in values], dtype=np.float64)
    if task.several:
        return np.array([_several(value, task.label_names) for value in values], dtype=str)
    known = set(task.label_names)
    # Labels that are numbered from 0 are those of a file that does not have their names.
    named = np.array(as_names(values, task.label_names)[0], dtype=str)
    others = [str(name) for name in np.unique(named) if name and name not in known]
    if others and not known & set(named.tolist()):
        raise UsageError(f"'{others[0][:60]}' is none of the adapter's labels{nearest(others[0][:60], known)}")
    return named


def _several(value: Any, names: Sequence[str]) -> str:
    """Return the labels of a row, a list or a text with marks between, in the task's order; empty where it is missing."""
    listed = isinstance(value, list | tuple)
    parts = [plain_label(each) for each in value] if listed else re.split(r"\s*[;|]\s*", plain_label(value))
    if not any(parts):
        return NONE if listed else ""
    places = {name: place for place, name in enumerate(names)}
    return "; ".join(sorted(parts, key=lambda name: places.get(name, len(places))))


def _number(value: Any) -> float:
    text = plain_label(value)
    try:
        return float(text) if text else float("nan")
    except ValueError:
        raise UsageError(f"'{text[:60]}' is no number, and this adapter gives numbers.") from None


def make_reference(
    predictor: Predictor, texts: Sequence[str], pairs: Sequence[str] | None, truth: np.ndarray | None,
    *, train: Sequence[str] = (), source: str = "", batch_size: int = 32,
) -> AdapterReference:  # fmt: skip
    """Make the reference of a loaded adapter of rows that it was not trained on, with their right answers (`named_truth`).

    Without the `train` rows' texts half of the rows stand for them, so that new words can be told. Raises `UsageError` where
    there are too few rows, or the adapter is not watched.
    """
    check_watched(predictor.task, str(predictor.folder))
    if len(texts) < _FEWEST:
        raise UsageError(f"A reference of {len(texts)} rows could tell little from chance; give {_FEWEST} or more.")
    whole = whole_texts(texts, pairs)
    half = np.random.default_rng(0).permutation(len(whole))
    known, rows = (
        (half[: len(half) // 2], np.sort(half[len(half) // 2 :])) if not train else ((), np.arange(len(whole)))
    )
    figures = figures_of(train or [whole[row] for row in known], [whole[row] for row in rows])
    chosen = rows[figures.kept.rows]

    answers, vectors = _answered(
        predictor, [texts[row] for row in chosen], None if pairs is None else [pairs[row] for row in chosen],
        np.arange(len(figures.kept.with_vectors)), batch_size,
    )  # fmt: skip
    right = None if truth is None else truth[chosen]
    return AdapterReference.of(
        predictor.folder, figures, answers, vectors, right, {"source": source, "rows": len(rows)}
    )

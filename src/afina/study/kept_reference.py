"""Keep with a run's adapter what `afina watch` compares later rows with, of what the run has at hand anyway."""

from pathlib import Path
from typing import Self

import numpy as np

from afina.backbone.attachable import Attachable
from afina.backbone.head import Hidden, mean_pool
from afina.backbone.load import Backbone
from afina.config import StudyConfig
from afina.data.rows import TextDataset
from afina.data.tokens.tokens import Tokens
from afina.drift.reference import AdapterReference, TextFigures, figures_of
from afina.drift.seen import VECTORS, answers_of, can_be_watched, projected, truth_of, whole_texts
from afina.errors import AfinaError
from afina.study.job import Job
from afina.tasks.base import Task
from afina.tasks.predictions import Decoded
from afina.train.embed import embed

__all__ = ["SeenVectors", "keep_figures", "keep_reference", "rows_with_vectors"]

_BY_THE_WAY = 4 * VECTORS
"""Most test rows of which all go through the whole of the last layer for the vectors of some: of more, the rest costs as
much as a pass of those some alone."""


def keep_figures(config: StudyConfig, data: TextDataset, task: Task, directory: Path) -> Path | None:
    """Write what a data set's texts tell into the study's cache, once for all its runs; None where nothing is watched."""
    if not (config.watch_reference and can_be_watched(task) and data.train.pixels is None):
        return None
    path = directory / "cache" / f"figures-{data.digest[:16]}.npz"
    try:
        TextFigures.read(path)
    except AfinaError:  # it is not there, or damaged
        train, test = (whole_texts(rows.text, rows.text_pair) for rows in (data.train, data.test))
        figures_of(train, test, _counted(task, data.train.label)).save(path)
    return path


def _counted(task: Task, labels: np.ndarray) -> dict[str, int]:
    """Return how many train rows there are of each label, none of numbers."""
    if task.label_names is None:
        return {}
    names, counts = np.unique(truth_of(task, labels), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def rows_with_vectors(job: Job) -> np.ndarray | None:
    """Return the test rows of which a run's reference has vectors; None where it keeps none."""
    return None if job.figures is None else TextFigures.read(job.figures).kept.with_vectors


class SeenVectors:
    """Takes the vectors of a reference out of an evaluation of the test rows, in place of a pass of their own."""

    def __init__(self, rows: np.ndarray, count: int, width: int) -> None:
        self._places = np.full(count, -1)
        self._places[rows] = np.arange(len(rows))
        self.vectors = np.zeros((len(rows), width), dtype=np.float32)

    @classmethod
    def of(cls, job: Job, backbone: Backbone, tokens: Tokens) -> Self | None:
        """Return what takes a run's vectors; None where it keeps none, or where they are had for less by themselves."""
        rows = rows_with_vectors(job)
        if rows is None or len(tokens) > _BY_THE_WAY:
            return None
        return cls(rows, len(tokens), backbone.anatomy.width)

    def see(self, rows: np.ndarray, hidden: Hidden) -> None:
        """Take the vectors of these rows, of which `hidden` has the states of all tokens."""
        places = self._places[rows]
        self.vectors[places[places >= 0]] = mean_pool(hidden).float().cpu().numpy()[places >= 0]


def keep_reference(
    job: Job, backbone: Backbone, task: Task, tokens: Tokens, decoded: Decoded, *, adapter: Attachable | None = None,
    vectors: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Write the reference into the folder of a run's adapter, by what it answered to all test rows (N,).

    `vectors` are those of the rows that are kept with one, where they are known already.
    """
    if job.figures is None:
        return
    texts = TextFigures.read(job.figures)
    rows, first = texts.kept.rows, texts.kept.with_vectors
    if vectors is None:
        # Test rows, and not those that it was trained on: of these it is surer, and makes other vectors.
        size = job.config.evaluation_batch_size
        vectors = embed(backbone, tokens.take(first), "mean", batch_size=size, adapter=adapter)
    answers = answers_of(task, Decoded(decoded.predictions[rows], decoded.scores[rows]))
    source = f"the test rows of {job.run.dataset_name}"
    reference = AdapterReference.of(
        job.folder / "adapter", texts, answers, projected(vectors), truth_of(task, tokens.labels[rows]),
        {"source": source, "rows": len(tokens)},
    )  # fmt: skip
    reference.save(job.folder / "adapter")

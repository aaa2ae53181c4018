"""Keep with a run's adapter what `afina watch` compares later rows with, of what the run has at hand anyway."""

from pathlib import Path

import numpy as np

from afina.backbone.attachment import Attachable
from afina.backbone.load import Backbone
from afina.config import StudyConfig
from afina.data.rows import TextDataset
from afina.data.tokens.tokens import Tokens
from afina.drift.reference import AdapterReference, TextFigures, figures_of
from afina.drift.seen import answers_of, can_be_watched, projected, truth_of, whole_texts
from afina.errors import AfinaError
from afina.study.job import Job
from afina.tasks.base import Task
from afina.tasks.predictions import Decoded
from afina.train.embed import embed

__all__ = ["keep_figures", "keep_reference"]


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


def keep_reference(
    job: Job, backbone: Backbone, task: Task, tokens: Tokens, decoded: Decoded, *, adapter: Attachable | None = None
) -> None:
    """Write the reference into the folder of a run's adapter, by what it answered to all test rows (N,)."""
    if job.figures is None:
        return
    texts = TextFigures.read(job.figures)
    rows, first = texts.kept.rows, texts.kept.with_vectors
    # Test rows, and not those that it was trained on: of these it is surer, and makes other vectors.
    vectors = embed(backbone, tokens.take(first), "mean", batch_size=job.config.evaluation_batch_size, adapter=adapter)
    answers = answers_of(task, Decoded(decoded.predictions[rows], decoded.scores[rows]))
    source = f"the test rows of {job.run.dataset_name}"
    reference = AdapterReference.of(
        job.folder / "adapter", texts, answers, projected(vectors), truth_of(task, tokens.labels[rows]),
        {"source": source, "rows": len(tokens)},
    )  # fmt: skip
    reference.save(job.folder / "adapter")

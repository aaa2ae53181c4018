"""Measure one model in a process of its own: what it answers, and what it costs to ask it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from afina.backbone.attachment import Attachment
from afina.backbone.model_files import model_path
from afina.config import StudyConfig
from afina.data.tokens.tokens import Tokens
from afina.evaluation.answers import Answering, written_to
from afina.evaluation.evaluate import load_speaker
from afina.evaluation.perplexity import document_losses
from afina.measure.memory import MemoryMonitor, current_resident_bytes
from afina.ops.allocator import give_back_freed_memory
from afina.predictor.loading import Loading
from afina.results.predictions import Predictions
from afina.study.answerer import LoadedAnswerer, answerer_of, load_answerer
from afina.study.events import Observer
from afina.tasks.base import restore
from afina.tasks.reading import load_text_dataset
from afina.train.evaluate import predict_logits

__all__ = ["MeasureJob", "MeasuredModel", "measure_alone"]


@dataclass(frozen=True)
class MeasureJob:
    """All that a process needs to measure one model."""

    config: StudyConfig
    name: str
    tasks: Mapping[str, Mapping[str, Any]]
    """The state of each labelled data set's task, by the data set's name."""
    documents: Mapping[str, Sequence[str]]
    prompts: Mapping[str, Sequence[str]]
    answering: Answering
    batch_size: int
    device: str


@dataclass
class MeasuredModel:
    """Holds what a model answered, and what that cost."""

    name: str
    bytes_on_disk: int = 0
    """Bytes of the weights' files, of an adapter those of its base too."""
    peak_memory_bytes: float | None = None
    """Largest memory while it was loaded and asked."""
    rows_per_second: float | None = None
    """Labelled rows answered in a second."""
    tokens_per_second: float | None = None
    """Tokens read, or where it writes written, in a second."""
    predictions: dict[str, Predictions] = field(default_factory=dict)
    losses: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Nats lost, tokens and bytes of each document of a file."""
    written: dict[str, list[str]] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Return its speed as others are compared by it: tokens where it reads or writes texts, else rows."""
        return self.tokens_per_second or self.rows_per_second or 0.0

    def costs(self) -> dict[str, Any]:
        """Return what it takes, as JSON-able values."""
        keys = ("bytes_on_disk", "peak_memory_bytes", "rows_per_second", "tokens_per_second")
        return {key: getattr(self, key) for key in keys}


@dataclass
class _Pace:
    count: float = 0.0
    seconds: float = 0.0

    @property
    def value(self) -> float | None:
        return self.count / self.seconds if self.seconds else None


def measure_alone(job: MeasureJob, send: Observer) -> MeasuredModel:
    """Load a model and ask it all there is to ask."""
    made = MeasuredModel(job.name)
    rows, tokens = _Pace(), _Pace()
    with MemoryMonitor(job.device, 0.05, baseline_bytes=current_resident_bytes()) as monitor:
        with monitor.phase("train"):  # the phase whose peak is the one that is told
            _ask_labels(job, made, rows)
            _ask_to_speak(job, made, tokens)
        report = monitor.report()
    made.peak_memory_bytes = report["peak_memory_bytes"]
    made.rows_per_second, made.tokens_per_second = rows.value, tokens.value
    made.bytes_on_disk = _bytes_of(job)
    return made


def _ask_labels(job: MeasureJob, made: MeasuredModel, pace: _Pace) -> None:
    """Ask for the labels of each data set's test rows."""
    who = answerer_of(job.name, job.config, role="compare")
    for spec, (name, state) in zip(job.config.dataset, job.tasks.items(), strict=False):
        task = restore(state)
        data = load_text_dataset(
            spec, task=job.config.task, test_limit=job.config.test_limit,
            trust_remote_code=job.config.trust_remote_code,
        )  # fmt: skip
        loaded = load_answerer(who, task, job.config, job.device)
        tokens = loaded.tokens(task, data.test)
        outputs, seconds = _outputs(loaded, tokens, job.batch_size)
        decoded = task.decode_rows(tokens, loaded.outputs(torch.from_numpy(outputs)).numpy())
        labels, predicted = task.shown(tokens.labels), task.shown(decoded.predictions)
        made.predictions[name] = Predictions(
            np.arange(len(labels)), labels, predicted.astype(labels.dtype), decoded.scores
        )
        pace.count, pace.seconds = pace.count + len(labels), pace.seconds + seconds
        del loaded
        give_back_freed_memory()


def _outputs(loaded: LoadedAnswerer, tokens: Tokens, batch_size: int) -> tuple[np.ndarray, float]:
    """Return the outputs of rows, and the seconds that they took once the model is warm."""
    some = tokens.take(np.arange(min(len(tokens), batch_size)))
    with Attachment(loaded.backbone, [loaded.adapter]) as attached:
        predict_logits(attached, some, batch_size=batch_size)
        started = perf_counter()
        (outputs,) = predict_logits(attached, tokens, batch_size=batch_size)
        return outputs, perf_counter() - started


def _ask_to_speak(job: MeasureJob, made: MeasuredModel, pace: _Pace) -> None:
    """Ask how likely texts are, and what follows prompts; where both are asked the speed is that of writing."""
    if not (job.documents or job.prompts):
        return
    at = Loading(device=job.device, trust_remote_code=job.config.trust_remote_code)
    speaker, template = load_speaker(job.name, at, batch_size=job.batch_size)
    for name, documents in job.documents.items():
        started = perf_counter()
        made.losses[name] = document_losses(speaker, list(documents))
        if not job.prompts:
            pace.count += float(made.losses[name][1].sum())
            pace.seconds += perf_counter() - started
    for name, prompts in job.prompts.items():
        started = perf_counter()
        made.written[name] = written_to(speaker, prompts, job.answering, template)
        pace.seconds += perf_counter() - started
        pace.count += sum(len(speaker.encode(text, marks=False)) for text in made.written[name])


def _bytes_of(job: MeasureJob) -> int:
    """Return the bytes of the weights' files of a model, or of an adapter and its base."""
    who = answerer_of(job.name, job.config, role="compare")
    places = [Path(model_path(name)) for name in who.names]
    if who.holds_base:
        places = [Path(job.name)]
    files = [file for place in places for file in ([place] if place.is_file() else place.glob("*.safetensors"))]
    return sum(file.stat().st_size for file in files)

"""A feature-based run: embeddings of the frozen backbone, computed once for all seeds and cached, or words, then a fit."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.adapters.adapter import partial_folder
from afina.adapters.record import AdapterRecord, write_record
from afina.backbone.load import Backbone
from afina.backbone.tensor_file import save_tensors
from afina.data.tokens.as_text import texts_of_ids
from afina.data.tokens.token_files import write_arrays
from afina.data.tokens.tokens import Tokens
from afina.measure.energy import EnergyMeter
from afina.measure.memory import MemoryMonitor
from afina.methods.base import Method
from afina.methods.classical import FittedMethod
from afina.ops.waiting import share_cores
from afina.results.predictions import write_predictions
from afina.results.result import Epoch, Result
from afina.study.events import Embed, Observer, Remade, Remarks
from afina.study.job import Job
from afina.study.kept_reference import keep_reference, rows_with_vectors
from afina.tasks.base import Task
from afina.train.embed import embed

__all__ = ["fit_features", "fit_words"]


def fit_features(
    job: Job, method: Method, backbone: Backbone, task: Task, splits: Mapping[str, Tokens], monitor: MemoryMonitor,
    send: Observer,
) -> Result:  # fmt: skip
    """Fit and evaluate; `train_seconds` holds the embedding of the train rows too, also where they came from the cache.

    Where a text's answer is its vector nothing is fitted: it is the frozen model's.
    """
    assert isinstance(method, FittedMethod)
    energy = EnergyMeter(job.device)
    train, seconds = _embeddings(job, method, backbone, splits, "train", monitor, energy, send)
    with monitor.phase("train"):
        energy.start()
        started = perf_counter()
        fitted = None
        # Nothing is fitted where the vectors themselves are the answer.
        if not task.embeds:
            labels = splits["train"].output_labels()
            fitted = method.fit(train, task.targets(labels), task.outputs, job.run.seed)
        seconds += perf_counter() - started
        energy.stop()
    # With a meter of its own: energy is told of training alone.
    test, _ = _embeddings(job, method, backbone, splits, "test", monitor, EnergyMeter(job.device), send)
    with monitor.phase("evaluate"):
        vectors = {"train": train, "test": test}
        logits = {split: own if fitted is None else fitted.logits(own) for split, own in vectors.items()}
    tensors = {} if fitted is None else fitted.tensors()
    learned = 0 if fitted is None else fitted.parameter_count()
    fit = _Fit(tensors, learned, learned + backbone.parameter_count, seconds, energy.joules)
    result = _finished(job, task, splits, logits, fit)
    # In the adapter's folder, which is there by now; what looks at words has no embeddings to watch.
    rows, decoded = rows_with_vectors(job), task.decode_rows(splits["test"], logits["test"])
    known = test[rows] if rows is not None and method.pooling == "mean" else None
    keep_reference(job, backbone, task, splits["test"], decoded, vectors=known)
    return result


def fit_words(
    job: Job,
    method: Method,
    tokenizer: Any,
    task: Task,
    splits: Mapping[str, Tokens],
    monitor: MemoryMonitor,
    send: Observer,
) -> Result:
    """Fit and evaluate on the words of texts; `train_seconds` holds their vectors and the fit."""
    assert isinstance(method, FittedMethod) and method.texts is not None
    share_cores()
    energy = EnergyMeter("cpu")
    texts = {split: texts_of_ids(tokenizer, _rows(tokens)) for split, tokens in splits.items()}
    with monitor.phase("train"):
        energy.start()
        started = perf_counter()
        labels = task.targets(splits["train"].labels)
        words = method.texts.fitted(texts["train"], labels, task.outputs, job.run.seed)
        vectors = words.vectors(texts["train"])
        fitted = method.fit(vectors, labels, task.outputs, job.run.seed)
        seconds = perf_counter() - started
        energy.stop()
    if words.notes:
        send(Remarks(remarks=words.notes))
    with monitor.phase("evaluate"):
        logits = {"train": fitted.logits(vectors), "test": fitted.logits(words.vectors(texts["test"]))}
    texts_kept = {f"texts.{name}": torch.from_numpy(np.ascontiguousarray(own)) for name, own in words.arrays.items()}
    learned = fitted.parameter_count() + words.learned()
    return _finished(
        job, task, splits, logits, _Fit(fitted.tensors() | texts_kept, learned, learned, seconds, energy.joules)
    )


def _rows(tokens: Tokens) -> Iterator[np.ndarray]:
    return (tokens.ids[start:stop] for start, stop in pairwise(tokens.offsets))


@dataclass(frozen=True)
class _Fit:
    """Holds what was fitted, and what that took."""

    tensors: Mapping[str, Tensor]
    learned: int
    parameters: int
    """Numbers of the model that embeds, if one does, and learned ones."""
    seconds: float
    joules: float | None


def _finished(
    job: Job, task: Task, splits: Mapping[str, Tokens], logits: Mapping[str, np.ndarray], fit: _Fit
) -> Result:
    """Write the adapter and its predictions, and return the result."""
    decoded = {split: task.decode_rows(splits[split], own) for split, own in logits.items()}
    entry = Epoch.made(epoch=job.config.epochs, train_loss=None, seconds=fit.seconds)
    for split, result in decoded.items():
        metrics = task.measure(splits[split].labels, result)
        entry |= {f"{split}_{name}": value for name, value in metrics.items()}
    record = AdapterRecord(
        model=job.run.model, method=job.run.method.name, settings=job.run.settings, task=job.task,
        max_length=job.max_length, precision=job.precision, seed=job.run.seed,
        facts=job.facts([entry]),
    )  # fmt: skip
    with partial_folder(job.folder / "adapter") as partial:
        save_tensors(fit.tensors, partial / "adapter_model.safetensors")
        write_record(partial, {"peft_type": "AFINA_FEATURES", "base_model_name_or_path": job.run.model}, record)
    write_predictions(
        job.folder / "predictions.parquet", task.shown(splits["test"].labels),
        task.shown(decoded["test"].predictions), decoded["test"].scores,
    )  # fmt: skip
    return Result.made(
        trainable_parameters=fit.learned,
        total_parameters=fit.parameters,
        trainable_percent=100 * fit.learned / max(1, fit.parameters),
        train_seconds=fit.seconds,
        step_seconds=None,
        steps=None,
        examples_per_second=len(splits["train"]) / fit.seconds,
        tokens_per_second=int(splits["train"].offsets[-1]) / fit.seconds,
        energy_joules=fit.joules,
        history=[entry],
        resumed=0,
        **task.final_metrics(entry),
    )


def _embeddings(
    job: Job, method: FittedMethod, backbone: Backbone, splits: Mapping[str, Tokens], split: str, monitor: MemoryMonitor,
    energy: EnergyMeter, send: Observer,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Return the vectors of a split and the seconds that computing them took, now or when they were cached."""
    # All that the vectors depend on; the method's classifier is fitted on them afterwards.
    key = json.dumps([job.run.model, job.tokens.name, method.pooling, job.precision, split])
    path = job.directory / "cache" / f"embeddings-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if (cached := _kept(path, len(splits[split]))) is not None:
        if split == "train":
            # What computing them took is part of every run that uses them, memory as well as time.
            monitor.load_state(cached["memory"])
            energy.add(None if np.isnan(cached["joules"]) else cached["joules"])
        return cached["vectors"], cached["seconds"]
    if path.exists():
        send(Remade(path=str(path)))
    started = perf_counter()
    tokens = splits[split]

    def tick(done: int) -> None:
        send(Embed(split=split, done=done, rows=len(tokens)))

    with monitor.phase("train" if split == "train" else "evaluate"):
        energy.start()
        vectors = embed(backbone, tokens, method.pooling, batch_size=job.config.evaluation_batch_size, tick=tick)
        seconds = perf_counter() - started
        energy.stop()
    joules = np.array(np.nan if energy.joules is None else energy.joules)
    # As bytes, as the file holds arrays alone.
    memory = np.frombuffer(json.dumps(monitor.state()).encode(), dtype=np.uint8)
    write_arrays(path, {"vectors": vectors, "seconds": np.array(seconds), "memory": memory, "joules": joules})
    return vectors, seconds


def _kept(path: Path, rows: int) -> dict[str, Any] | None:
    """Return what was computed before, or None where there is nothing or it is damaged: a cache is made again."""
    try:
        # numpy leaves a file open that it opened itself and cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            cached = {"memory": json.loads(stored["memory"].tobytes()), "vectors": stored["vectors"]}
            cached |= {key: float(stored[key]) for key in ("joules", "seconds")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError, zipfile.BadZipFile):
        return None
    # As many vectors as rows, or they are of other rows.
    return cached if cached["vectors"].ndim == 2 and len(cached["vectors"]) == rows else None

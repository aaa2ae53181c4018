"""Ask a teacher about the rows of a data set, once for all runs of a study, and keep what it says.

What it says is known by the teacher's files, the rows as it reads them, and what the signals keep; so runs, methods, seeds,
cohorts, students of one vocabulary and the trials of a search share it. It is written while it comes: a killed study goes on.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.backbone.load import read_config
from afina.config import StudyConfig
from afina.data.rows import Rows
from afina.data.tokens.batching import evaluation_batches
from afina.data.tokens.token_files import load_tokens
from afina.data.tokens.tokens import Tokens
from afina.distil.signal import Said, Signal
from afina.distil.taught import TaughtRows, TaughtWriter, places_of, read_taught, starts_of
from afina.json_files import read_json_object
from afina.study.answerer import Answerer, LoadedAnswerer, load_answerer
from afina.study.data import study_data
from afina.study.events import Observer, Teach
from afina.study.teacher import check_teacher, teacher_of
from afina.tasks.base import Task, restore
from afina.train.evaluate import predict_logits
from afina.whole_file import write_json

__all__ = ["TeachJob", "teach"]

_VERSION = 1
"""Raised when the same teacher would say something else of the same rows."""
_ROWS_AT_ONCE = 512
"""Rows after which what was said is put down as done."""


@dataclass(frozen=True)
class TeachJob:
    """All that a process needs to ask a teacher about one data set as one student reads it."""

    config: StudyConfig
    dataset: int
    model: str
    """The student's."""
    cache: Path
    tokens: Path
    task: Mapping[str, Any]
    device: str
    digests: Mapping[str, Mapping[str, str]]
    """Digests of the teacher's files."""
    on_validation: bool = False


def teach(job: TeachJob, send: Observer) -> TaughtRows:
    """Ask the teacher what it has not yet said, and return where all is that it said."""
    teacher, task = teacher_of(job.config), restore(job.task)
    assert teacher is not None, "nobody asks without a teacher"
    signals = check_teacher(job.config, teacher, task, job.model)
    ours = load_tokens(job.tokens)
    rows: Mapping[str, Rows | Tokens] = ours if task.writes else _rows(job)
    keeps = [own.keeps(task) for own in signals]
    key = json.dumps(
        [_VERSION, job.digests, _digest(rows["train"], task), keeps, job.config.max_length], sort_keys=True
    )
    folder = job.cache / f"teacher-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    # Apart from what it said of the train rows, which the trials of a search share: they are tested on others.
    tested = folder / f"test-{_digest(rows['test'], task)[:16]}.json"
    known = read_taught(folder)
    if known is not None and tested.exists():
        return TaughtRows(folder, read_json_object(tested))

    speaker = load_answerer(teacher, task, job.config, job.device)
    splits = {
        split: own if isinstance(own, Tokens) else speaker.tokens(task, own)
        for split, own in ((name, rows[name]) for name in ("train", "test"))
    }
    _check_terms(teacher, ours["train"], splits["train"])
    with Attachment(speaker.backbone, [speaker.adapter]) as attached:
        attached.train(False)
        if known is None:
            _ask(attached, speaker, task, signals, splits["train"], folder, job, send)
        metrics = _measured(attached, speaker, task, splits["test"], job, send) if speaker.answers else {}
    write_json(tested, metrics)
    return TaughtRows(folder, metrics)


def _rows(job: TeachJob) -> dict[str, Rows]:
    """Return the rows that the student trains on, and those that it is tested on."""
    config, spec = job.config, job.config.dataset[job.dataset]
    data = study_data(config, spec, on_validation=job.on_validation)
    return {"train": data.train, "test": data.test}


def _digest(rows: Rows | Tokens, task: Task) -> str:
    """Return the digest of what the teacher reads of rows, and of what decides how it reads it."""
    made = hashlib.sha256(json.dumps(task.state(), sort_keys=True).encode())
    parts = [rows.ids, rows.offsets, *rows.parts()[0].values()] if isinstance(rows, Tokens) else [rows.pixels]
    for part in parts:
        if part is not None:
            made.update(np.ascontiguousarray(part).tobytes())
    if isinstance(rows, Rows):
        made.update(json.dumps([list(map(str, rows.text)), rows.text_pair, rows.choices]).encode())
    return made.hexdigest()


def _check_terms(teacher: Answerer, ours: Tokens, theirs: Tokens) -> None:
    """Refuse a teacher that reads fewer words of some rows than the student, so that they would not stand side by side."""
    if not np.array_equal(ours.trained, theirs.trained):
        unlike = int((ours.trained != theirs.trained).sum())
        raise teacher.refused(
            f"{teacher.name} cuts {unlike:,} texts at other words than the student; raise max_length until neither "
            "cuts any, or give a teacher with the same tokenizer."
        )


def _ask(
    attached: Attachment, speaker: LoadedAnswerer, task: Task, signals: Sequence[Signal], tokens: Tokens, folder: Path,
    job: TeachJob, send: Observer,
) -> None:  # fmt: skip
    """Ask about the rows that are not done, some hundred at a time, of each those of like length together."""
    starts, lengths, total = starts_of(tokens), tokens.lengths * tokens.choices, len(tokens)
    writer, started = TaughtWriter(folder, int(starts[-1])), perf_counter()
    shape = read_config(job.model, trust_remote_code=job.config.trust_remote_code)
    # A teacher may have rows for words that no tokenizer has, and the student fewer of them.
    words = int(shape.vocab_size) if task.writes else 0
    for start in range(writer.done, total, _ROWS_AT_ONCE):
        some = np.arange(start, min(total, start + _ROWS_AT_ONCE))
        for chosen in evaluation_batches(lengths[some], job.config.evaluation_batch_size):
            rows = some[chosen]
            with torch.inference_mode():
                batch = attached.batch([(tokens, rows)])
                ((hidden, outputs),) = attached.seen(batch)
                answers = speaker.outputs(outputs)
                teacher = Said(task, speaker.adapter.head, hidden, answers, batch.labels[0], words)
                values: dict[str, Tensor] = {}
                for signal in signals:
                    values |= signal.kept(teacher)
            writer.put(places_of(starts, rows), values)
        send(Teach(split="train", done=int(some[-1]) + 1, rows=total))
        if some[-1] + 1 < total:
            writer.reached(int(some[-1]) + 1)
    # The seconds of this start alone, where an earlier one had begun.
    writer.reached(total, {"width": speaker.backbone.anatomy.width, "seconds": perf_counter() - started})


def _measured(
    attached: Attachment, speaker: LoadedAnswerer, task: Task, tokens: Tokens, job: TeachJob, send: Observer
) -> dict[str, float]:
    """Return the teacher's own metrics on the test rows, as the student is measured."""

    def tick(done: int) -> None:
        send(Teach(split="test", done=done, rows=len(tokens)))

    (outputs,) = predict_logits(attached, tokens, batch_size=job.config.evaluation_batch_size, tick=tick)
    answers = speaker.outputs(torch.from_numpy(outputs)).numpy()
    values = task.measure(tokens.labels, task.decode_rows(tokens, answers))
    return {name: float(value) for name, value in values.items()}

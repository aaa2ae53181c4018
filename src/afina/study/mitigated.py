"""Prepare what runs with a mitigation of bias learn from, once for all that share it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from afina.backbone.configuration import context_of
from afina.backbone.load import load_tokenizer, read_config
from afina.config import StudyConfig
from afina.data.cell_text import cell_text
from afina.data.rows import Rows, TextDataset
from afina.data.tokens.batching import steps_per_epoch
from afina.data.tokens.token_files import load_tokens, save_tokens, write_arrays
from afina.data.tokens.tokens import LabelledTokens, joined
from afina.drift.seen import whole_texts
from afina.errors import UsageError
from afina.mitigation.base import MitigatedRows, Mitigation, make_mitigation
from afina.results.test_groups import write_test_groups
from afina.study import events
from afina.study.data import study_data
from afina.study.events import Observer
from afina.study.group_values import group_values
from afina.study.plan import Run
from afina.study.prepare import PreparedData
from afina.tasks.base import Task, restore

__all__ = ["gives_one_class", "seen_by_runs", "with_rate"]


def gives_one_class(task: Task) -> bool:
    """Return whether each row of a task has one class, by a head: what mitigations weigh, draw and add rows by."""
    return task.judged == "class" and not (task.speaks or task.tags or task.several or task.writes)


def seen_by_runs(
    config: StudyConfig, runs: Sequence[Run], prepared: Mapping[tuple[str, int], PreparedData], directory: Path,
    observer: Observer, *, on_validation: bool,
) -> dict[str, PreparedData]:  # fmt: skip
    """Return by run what it learns from: its prepared data, changed where it has a mitigation.

    Raises `UsageError` for data with which a mitigation can do nothing.
    """
    made: dict[tuple[str, int, str], PreparedData] = {}
    seen: dict[str, PreparedData] = {}
    read: dict[int, TextDataset] = {}
    for run in runs:
        if (plain := prepared.get((run.model, run.dataset))) is None:
            continue
        if run.method.mitigate is None:
            seen[run.id] = plain
            continue
        key = run.model, run.dataset, json.dumps(run.method.mitigate, sort_keys=True)
        if key not in made:
            if run.dataset not in read:
                read[run.dataset] = study_data(config, config.dataset[run.dataset], on_validation=on_validation)
            mitigation = make_mitigation(run.method.mitigate)
            made[key], notes = _changed(config, run, plain, read[run.dataset], mitigation, directory)
            observer(events.Remarks(remarks=[f"{run.dataset_name}: {note}" for note in notes]))
        seen[run.id] = made[key]
    return seen


def with_rate(config: StudyConfig, run: Run, seen: PreparedData | None) -> Run:
    """Return the run with its learning rate, of `auto` by what is known now; one that is finished has its own."""
    if seen is None:
        return run
    steps = steps_per_epoch(seen.train_rows, config.batch_size) * config.epochs
    return run.with_rate(steps=steps, width=seen.width, speaks=seen.speaks)


def _changed(
    config: StudyConfig, run: Run, prepared: PreparedData, data: TextDataset, mitigation: Mitigation, directory: Path
) -> tuple[PreparedData, tuple[str, ...]]:
    task, rows = restore(prepared.task), data.train
    if not gives_one_class(task) or rows.pixels is not None:
        raise UsageError(
            f"mitigate: {mitigation.name} is for texts with one class each, and {run.dataset_name} is read for "
            f"task: {task.name}; leave mitigate out."
        )
    if rows.text_pair is not None and not mitigation.pairs:
        raise UsageError(
            f"mitigate: {mitigation.name} changes single texts, and {run.dataset_name} has pairs; leave it out."
        )
    parts = {"train": rows, "test": data.test} | ({} if data.validation is None else {"validation": data.validation})
    values = _values(config, run, parts, mitigation)
    if mitigation.column is not None:
        write_test_groups(directory, prepared.digest, mitigation.column, values["test"] or ())
    learned = mitigation.learned(whole_texts(rows.text, rows.text_pair), rows.label, values["train"])
    notes, arrays = learned.notes, {"weights": learned.weights, "cells": learned.cells}
    if (rule := learned.rule) is not None:
        groups = {part: rule.of(replace(own, group=values[part])) for part, own in parts.items()}
        # Trials of learning rates have no development split beside the one that they are tested on.
        chosen_on = "validation" if "validation" in parts else "train"
        names, labels = data.label_names or (), parts[chosen_on].label
        notes = (*notes, mitigation.check_development(rule, labels, groups[chosen_on], names))
        arrays |= {f"group.{part}": own for part, own in groups.items()}
        prepared = replace(prepared, task={**prepared.task, "by_group": rule.model_dump(exclude_none=True)})
    there = {name: array for name, array in arrays.items() if array is not None}
    digest = _digest(learned, there, prepared)
    changed = replace(prepared, mitigated=directory / "cache" / f"mitigated-{digest}.npz")
    write_arrays(directory / "cache" / f"mitigated-{digest}.npz", there)
    return (_with_rows(config, run, changed, rows, learned, digest) if learned.added else changed), notes


def _values(
    config: StudyConfig, run: Run, parts: Mapping[str, Rows], mitigation: Mitigation
) -> Mapping[str, list[str | None] | None]:
    """Return each part's groups by the column of a mitigation, as text; None where words tell them."""
    if mitigation.column is None:
        return dict.fromkeys(parts)
    columns = group_values(
        config,
        config.dataset[run.dataset],
        list(parts.items()),
        [mitigation.column],
        asked=f"mitigate: {mitigation.name}",
    )
    return {
        part: [cell_text(value) or None for value in own[mitigation.column]]
        for part, own in zip(parts, columns, strict=True)
    }


def _digest(learned: MitigatedRows, arrays: Mapping[str, np.ndarray], prepared: PreparedData) -> str:
    """Return what tells what is learned from anything else, by which files are called and checkpoints know it."""
    digest = hashlib.sha256(prepared.tokens.name.encode())
    for name in ("weights", "cells"):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes() if name in arrays else b"\0")
    digest.update(json.dumps(learned.added).encode())
    # Only where there is a rule: checkpoints of before know what is learned by the digest without.
    if learned.rule is not None:
        digest.update(json.dumps(prepared.task["by_group"], sort_keys=True).encode())
        for name in sorted(name for name in arrays if name.startswith("group.")):
            digest.update(arrays[name].tobytes())
    return digest.hexdigest()[:16]


def _with_rows(
    config: StudyConfig, run: Run, prepared: PreparedData, rows: Rows, learned: MitigatedRows, digest: str
) -> PreparedData:
    """Return the data with rows added to those that are trained on; metrics are of the rows that were there."""
    path = prepared.tokens.with_name(f"tokens-{digest}.npz")
    splits, origin = load_tokens(prepared.tokens), np.array([row for _, row in learned.added])
    tokenizer, _ = load_tokenizer(run.model, trust_remote_code=config.trust_remote_code)
    shape = read_config(run.model, trust_remote_code=config.trust_remote_code)
    limit = min(config.length_of(config.dataset[run.dataset]), context_of(shape))
    added = Rows([text for text, _ in learned.added], None, rows.label[origin])
    train, more = splits["train"], restore(prepared.task).tokenize(tokenizer, added, limit)
    assert isinstance(train, LabelledTokens) and isinstance(more, LabelledTokens)
    save_tokens(path, {**splits, "train": joined(train, more)})
    evaluated = prepared.train_evaluation_rows
    return replace(
        prepared, tokens=path, train_rows=len(train) + len(more),
        train_evaluation_rows=np.arange(len(train)) if evaluated is None else evaluated,
    )  # fmt: skip

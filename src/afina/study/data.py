"""A study's data sets: read and checked before anything heavy is imported, and divided as the study does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.config import StudyConfig
from afina.data.rows import TextDataset, stratified_rows
from afina.data.sources.presets import PRESETS
from afina.dataset_spec import DatasetSpec
from afina.mitigation.base import chooses
from afina.study.untouched import files_of, signature
from afina.tasks.base import TASKS, Task
from afina.tasks.reading import load_text_dataset

__all__ = ["class_asked", "data_key", "develops", "read_ahead", "read_data", "study_data", "task_asked"]

_ahead: dict[str, tuple[list[list[Any]] | None, TextDataset]] = {}
"""Data sets read ahead and not asked for yet, with the signature of their files: each is given once, and only while these
are untouched, so that nobody gets what a file held some time ago."""


def read_ahead(config: StudyConfig, *, presets: bool = True) -> list[str]:
    """Read and check all data sets of a study, without torch, keep them for whoever asks first, and return their notes.

    Raises `UsageError` for what is wrong with one. Without `presets` those that the hub has are passed over.
    """
    # What was read for another study, or for this one some time ago, is not what is asked for now.
    _ahead.clear()
    notes: list[str] = []
    for spec in config.dataset:
        if presets or spec.path not in PRESETS:
            # The signature is taken before: a file that changes while it is read is then noticed.
            before = _signature(spec)
            data = read_data(config, spec)
            _ahead[_key(config, spec)] = before, data
            notes += data.notes
    return notes


def read_data(config: StudyConfig, spec: DatasetSpec) -> TextDataset:
    """Read and check a data set as it is; raises `UsageError` for what is wrong with it."""
    # Given once: whoever reads again wants what the file holds by then.
    before, ahead = _ahead.pop(_key(config, spec), (None, None))
    if ahead is not None and before is not None and before == _signature(spec):
        return ahead
    return load_text_dataset(
        spec, task=task_asked(config, spec), train_limit=config.train_limit, test_limit=config.test_limit,
        trust_remote_code=config.trust_remote_code,
    )  # fmt: skip


def task_asked(config: StudyConfig, spec: DatasetSpec) -> str:
    """Return the task that is asked for, of the data set first and of its preset last; `auto` where rows are to say it."""
    preset = PRESETS[spec.path].task if spec.path in PRESETS else "auto"
    return next((task for task in (spec.task, config.task, preset) if task != "auto"), "auto")


def class_asked(config: StudyConfig, spec: DatasetSpec) -> type[Task] | None:
    """Return the class of the task that is asked for, None where rows are to say it."""
    return TASKS.get(task_asked(config, spec))


def _signature(spec: DatasetSpec) -> list[list[Any]] | None:
    """Return that of a data set's files, empty where it is none here; None where they are too many to be looked at."""
    files = files_of(Path(spec.path))
    # A data set of the hub has no files here, and needs no signature.
    return signature(files) if files or not Path(spec.path).exists() else None


def _key(config: StudyConfig, spec: DatasetSpec) -> str:
    limits = (config.train_limit, config.test_limit, config.trust_remote_code)
    return f"{spec.model_dump_json()} {task_asked(config, spec)} {limits}"


def study_data(config: StudyConfig, spec: DatasetSpec, *, on_validation: bool = False) -> TextDataset:
    """Read and check a data set, divided as a study does; raises `UsageError` for what is wrong with it.

    With `on_validation` the development split stands in the place of the test split, which is not looked at.
    """
    data = read_data(config, spec)
    if develops(config, data.task) or on_validation:
        data = _with_validation(data, config.test_limit)
    if on_validation and data.validation is not None:
        data = replace(data, test=data.validation, validation=None, digest=f"{data.digest}-validation")
    return data


def data_key(config: StudyConfig, model: str, index: int) -> str:
    """Return what study.yaml calls a data set as a model reads it."""
    return f"{config.called(model)} / {config.dataset[index].label_name}"


def develops(config: StudyConfig, task: str) -> bool:
    """Return whether training chooses by a development split: rows that are not trained on."""
    mitigations = [*(config.mitigate or ()), *(spec.settings.get("mitigate") for spec in config.methods)]
    chosen = config.early_stopping is not None or config.race is not None or chooses(mitigations)
    return chosen or TASKS[task].develops


def _with_validation(data: TextDataset, limit: int | None) -> TextDataset:
    """Return the development split of choices: the data's own, or a tenth of the train rows, always the same."""
    classes = TASKS[data.task].stratified
    if data.validation is not None:
        # As many rows as the test limit, so that choosing takes no longer than testing.
        rows = stratified_rows(data.validation.label, limit or len(data.validation), classes=classes)
        return replace(data, validation=data.validation.take(rows))
    # A tenth, and one row at least.
    held = stratified_rows(data.train.label, max(1, len(data.train) // 10), classes=classes)
    rest = np.setdiff1d(np.arange(len(data.train)), held)
    note = f"{len(held):,} of {len(data.train):,} train rows are held out as development split"
    return replace(data, train=data.train.take(rest), validation=data.train.take(held), notes=(*data.notes, note))

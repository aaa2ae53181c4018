"""Find rows to compare an export on: those that an adapter was trained for, others that are given, or texts of our own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.backbone.language_head import TokenHead
from afina.data.labelled import read_texts
from afina.data.labels.tags import untagged
from afina.data.rows import Rows
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task, the
from afina.tasks.reading import load_text_dataset

__all__ = ["as_compared", "sample_rows", "train_rows"]


def sample_rows(loaded: Predictor, data: str | None, count: int) -> tuple[Rows | None, Task]:
    """Return at most `count` rows, or None where the model takes no texts, and the task by which they are compared.

    That is the adapter's own; of a writer that another program trained, which says of no task, the one that the rows are for.
    Raises `UsageError` for data that cannot be read.
    """
    # A writer that another program trained says of no task.
    if loaded.task.wants_choices and not loaded.record.facts:
        return _for_a_writer(loaded, data, count)
    inputs = loaded.backbone.anatomy.row.inputs
    source = loaded.record.facts.get("source")
    spec = DatasetSpec(path=data) if data is not None else DatasetSpec(**source) if source else None
    if spec is not None and not loaded.task.embeds:
        try:
            dataset = load_text_dataset(spec, task=loaded.record.task["name"])
            # The first rows of the test part: the same at every export.
            test = dataset.test.take(np.arange(min(count, len(dataset.test))))
            names = loaded.record.task.get("label_names")
            same = names is None or list(dataset.label_names or ()) == list(names)
            return (test if same else replace(test, label=np.minimum(test.label, -1))), loaded.task
        # What was trained on may be gone; what was given has to be right.
        except UsageError:
            if data is not None:
                raise
    if inputs != "text":
        return None, loaded.task
    if loaded.task.speaks and loaded.record.task.get("label_names") is None:
        what = "" if loaded.task.writes else "with their choices "
        raise UsageError(f"The rows that it was trained for are not here; give others {what}by --data.")
    texts = _texts(data, count)
    if loaded.task.tags:
        return untagged([text.split() for text in texts]), loaded.task
    return _rows(texts), loaded.task


def train_rows(loaded: Predictor, data: str | None, count: int) -> Rows:
    """Return at most `count` train rows of an adapter, or of other data, always the same ones; their labels say nothing.

    Raises `UsageError` where there are none.
    """
    source = loaded.record.facts.get("source")
    if data is not None and loaded.task.embeds:
        return _rows(_texts(data, count))
    spec = DatasetSpec(path=data) if data is not None else DatasetSpec(**source) if source else None
    if spec is None:
        raise UsageError(
            "--int8 static rounds by what train rows show, and those of this adapter are not here; give --data with them."
        )
    rows = load_text_dataset(spec, task=loaded.record.task["name"]).train
    # Drawn with a fixed seed and sorted, so that a graph is the same at every rounding.
    drawn = rows.take(np.sort(np.random.default_rng(0).permutation(len(rows))[:count]))
    return drawn if loaded.task.tags else replace(drawn, label=np.minimum(drawn.label, -1))


def as_compared(loaded: Predictor, task: Task) -> None:
    """Let an adapter be compared by a task: a writer of another program's gets a head that scores every token."""
    if task is loaded.task or not task.writes:
        return
    head: Any = loaded.adapter.head
    loaded.task, loaded.record = task, replace(loaded.record, task=task.state())
    loaded.adapter.head = TokenHead(head.language, loaded.backbone.config)


def _for_a_writer(loaded: Predictor, data: str | None, count: int) -> tuple[Rows, Task]:
    apart = bool(loaded.backbone.anatomy.row.further)
    plain = the(writes=True, **{"reads_apart": True} if apart else {"lines": "texts"}).of_text(loaded.tokenizer)
    if data is None:
        texts = _texts(None, count + 1)
        return _rows(texts[:-1], texts[1:]) if apart else _rows(texts[:count]), plain
    if apart:
        pairs = load_text_dataset(DatasetSpec(path=data), task=plain.name).test
        return pairs.take(np.arange(min(count, len(pairs)))), plain
    try:
        talk = the(lines="transcript")
        dataset = load_text_dataset(DatasetSpec(path=data), task=talk.name)
        talks = max(dataset.test, dataset.train, key=len)  # learned or not: all that matters is that both read the same
        return talks.take(np.arange(min(count, len(talks)))), talk.of_text(loaded.tokenizer)
    except UsageError:  # no conversations, then texts
        return _rows(_texts(data, count)), plain


def _texts(data: str | None, count: int) -> list[str]:
    if data is None:
        return load_text_dataset(DatasetSpec(path="tickets")).test.text[:count]
    texts = [text for text, _ in read_texts(Path(data)) if text.strip()][:count]
    if not texts:
        raise UsageError(f"{data} holds no text to compare on.")
    return texts


def _rows(texts: list[str], pairs: list[str] | None = None) -> Rows:
    return Rows(texts, pairs, np.full(len(texts), -1))

"""Tell how large a data set is to a model: its rows and their tokens, read and counted, or as its preset says."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from afina.backbone.configuration import context_of
from afina.backbone.load import load_tokenizer
from afina.backbone.shapes import read_shape
from afina.config import StudyConfig
from afina.data.images import patches_of
from afina.data.rows import Rows
from afina.data.sources.presets import PRESETS
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.study.data import class_asked, study_data
from afina.study.prepare import reads_apart, task_of
from afina.tasks.base import Task

__all__ = ["Sizes", "sizes_of"]


@dataclass(frozen=True)
class Sizes:
    """Rows of a data set, mean and most tokens of a row, and its classes, or the answers that a model chooses from."""

    train_rows: int
    test_rows: int
    tokens: float
    longest: int
    classes: int
    source: str
    speaks: bool = False
    tags: bool = False
    trained: float = 0.0
    """Share of the tokens that are targets, where the model learns to write."""
    texts: int = 1
    """Texts that a row is to a model that gives vectors."""
    beside: int = 0
    """Texts that every evaluation reads beside the rows: passages, say."""
    task: Task | None = None
    """The task, where rows were read."""
    longest_rows: Tokens | None = None
    """The longest train rows, as many as a batch has, where they were tokenised."""
    sample: Tokens | None = None
    """Some of the train rows."""
    tested: Tokens | None = None
    """Some of the test rows, the longest among them."""
    lengths: np.ndarray | None = None
    """Tokens of a sample of the rows, where they were counted."""

    @property
    def sequences(self) -> int:
        """Return how many sequences a row is to the model."""
        return max(1, self.classes) if self.speaks else self.texts

    def evaluated(self, rows: int) -> float:
        """Return the train rows that an evaluation of so many takes the time of: it reads each text for itself."""
        return (rows + self.beside) / self.texts


def sizes_of(config: StudyConfig, spec: DatasetSpec, model: str) -> Sizes:
    """Return the sizes of a data set to a model, with the study's limits; raises `UsageError` for what cannot be read."""
    if spec.path in PRESETS:
        preset = PRESETS[spec.path]
        asked = class_asked(config, spec)
        classes = asked is not None and asked.judged == "class" and not asked.speaks
        if preset.tokens is not None and preset.longest is not None and classes:
            sizes = Sizes(
                preset.rows["train"],
                preset.rows["test"],
                preset.tokens,
                preset.longest,
                preset.classes,
                "published size",
            )
            return _limited(sizes, config)
    try:
        data = study_data(config, spec)
    except UsageError:
        if spec.path not in PRESETS or not PRESETS[spec.path].rows:
            raise
        return _limited(_unread(config, spec), config)
    tokenizer: Any = None
    if data.train.pixels is None:
        with suppress(UsageError):  # words are counted then
            tokenizer, _ = load_tokenizer(model)
    task = task_of(config, spec, data, tokenizer)
    counted = _tokens(data.train, model, config.length_of(spec), task, tokenizer, config.batch_size)
    return Sizes(
        len(data.train), len(data.test), float(counted.lengths.mean()), counted.most, task.outputs,
        counted.source, task.speaks, task.tags, counted.trained, texts=task.texts,
        beside=0 if data.passages is None else len(data.passages.texts), task=task, longest_rows=counted.longest,
        sample=counted.sample, tested=_tested(data.test, config, model, config.length_of(spec), task, tokenizer),
        lengths=counted.lengths,
    )  # fmt: skip


def _unread(config: StudyConfig, spec: DatasetSpec) -> Sizes:
    """Return the sizes of a preset that cannot be read here and whose lengths nobody counted: the most that they can be."""
    preset, task = PRESETS[spec.path], class_asked(config, spec)
    assert task is not None, "a preset names its task"
    return Sizes(
        preset.rows["train"], preset.rows["test"], config.length_of(spec), config.length_of(spec),
        task.published_outputs(preset),
        "published rows; its lengths are not known, and taken to fill max_length",
        task.speaks, task.tags, float(task.writes),
    )  # fmt: skip


def _limited(sizes: Sizes, config: StudyConfig) -> Sizes:
    limits: Mapping[str, int] = {
        "train_rows": min(sizes.train_rows, config.train_limit or sizes.train_rows),
        "test_rows": min(sizes.test_rows, config.test_limit or sizes.test_rows),
    }
    return Sizes(**{**vars(sizes), **limits})


class _Counted(NamedTuple):
    """Says how long rows are."""

    lengths: np.ndarray
    """Tokens of each row of a sample."""
    most: int
    longest: Tokens | None
    trained: float
    """Share that is trained where it is text."""
    source: str
    sample: Tokens | None = None


def _tokens(rows: Rows, model: str, max_length: int, task: Task, tokenizer: Any, batch: int) -> _Counted:
    """Count the tokens of a sample of rows, and of the `batch` longest of all."""
    shape = read_shape(model)
    if rows.pixels is not None:
        patches = patches_of(shape)
        return _Counted(np.array([patches]), patches, None, 0.0, "patches of an image")
    sample = rows.take(np.arange(0, len(rows), max(1, len(rows) // 2000)))
    if tokenizer is None:
        words = np.array([len(text.split()) for text in _whole(sample)])
        counts = (1.35 * words + 2).astype(int)
        return _Counted(counts, int(counts.max()), None, float(task.writes), "words counted")
    limit, apart = min(max_length, context_of(shape)), task.speaks and reads_apart(shape)
    tokens = task.tokenize(tokenizer, sample, limit, apart=apart)
    # The longest decide the memory, and a sample may miss them: characters tell which they are, or nearly.
    letters = np.array([len(text) for text in _whole(rows)])
    most = task.tokenize(tokenizer, rows.take(np.argsort(letters, kind="stable")[-batch:]), limit, apart=apart)
    trained = float(tokens.trained.sum() / tokens.offsets[-1]) if task.writes else 0.0
    longest = max(int(tokens.lengths.max()), int(most.lengths.max()))
    return _Counted(tokens.lengths, longest, most, trained, f"{len(sample)} rows tokenised", tokens)


def _tested(rows: Rows, config: StudyConfig, model: str, max_length: int, task: Task, tokenizer: Any) -> Tokens | None:
    """Tokenise some test rows, those that an evaluation's longest batches have among them; None where none can be."""
    if rows.pixels is not None or tokenizer is None:
        return None
    shape = read_shape(model)
    ranked = np.argsort([len(text) for text in _whole(rows)], kind="stable")
    # As many as two batches of the longest, and every so many of the others.
    most = 2 * config.evaluation_batch_size
    taken = np.union1d(ranked[-most:], ranked[:: max(1, len(ranked) // most)])
    limit, apart = min(max_length, context_of(shape)), task.speaks and reads_apart(shape)
    return task.tokenize(tokenizer, rows.take(taken), limit, apart=apart)


def _whole(rows: Rows) -> list[str]:
    """Return each row's text, with its second one if it has any."""
    return rows.text if rows.text_pair is None else [f"{a} {b}" for a, b in zip(rows.text, rows.text_pair, strict=True)]

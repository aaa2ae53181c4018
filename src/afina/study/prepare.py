"""Turn a data set into tokens on disk, once for each model and data set of a study."""

import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afina.backbone.configuration import context_of
from afina.backbone.load import load_tokenizer, read_config
from afina.backbone.look import look_over
from afina.backbone.model_files import model_note, model_path
from afina.backbone.rows import row_of
from afina.backbone.vocabulary import check_tokens, surplus_note
from afina.config import StudyConfig
from afina.corpus.languages import language_of
from afina.data.images import image_tokens
from afina.data.rows import Rows, TextDataset, stratified_rows
from afina.data.tokens.preview import Learned, learned
from afina.data.tokens.token_files import load_tokens, save_tokens
from afina.data.tokens.tokens import IGNORED, AnswerTokens, PassageTokens, Tokens, WrittenTokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.methods.base import registry
from afina.results.test_rows import write_test_rows
from afina.study.data import develops, study_data
from afina.study.kept_examination import keep_examination
from afina.study.kept_reference import keep_figures
from afina.tasks.base import TASKS, Task, readers

__all__ = ["PreparedData", "prepare", "reads_apart", "task_of"]

_FEW = 30
"""Rows of a development split below which a word is said: an accuracy on 30 is off by 9 points as a rule."""
_LOOKED_AT = 300
"""Texts whose language is told: enough to name those that a tenth of the rows are in."""
_VERSION = 5
"""Raised when the same texts would give other tokens."""


@dataclass(frozen=True)
class PreparedData:
    """A data set's tokens on disk, and what is known of them."""

    tokens: Path
    task: Mapping[str, Any]
    digest: str
    notes: tuple[str, ...]
    cut: Mapping[str, int]
    train_rows: int
    test_rows: int
    validation_rows: int | None
    languages: Mapping[str, int]
    """Number of texts in each language, among some of the train texts."""
    median_length: int
    train_evaluation_rows: np.ndarray | None
    learned: Learned | None
    """Counts of the tokens that are trained, where the model learns to write text."""
    columns: Mapping[str, str | list[str]]
    """The columns of the data's texts and labels."""
    width: int
    """Width of the model's hidden states."""
    speaks: bool
    """True if the model answers with its own language head."""
    assumed: tuple[str, ...]
    """The notes about the model, which a table of results repeats."""
    figures: Path | None
    """The file of what the texts alone tell, for the reference of `afina watch`."""
    mitigated: Path | None = None
    """The file of how rows weigh, or are balanced, for runs with a mitigation of bias."""


def prepare(
    config: StudyConfig, spec: DatasetSpec, model: str, directory: Path, *, on_validation: bool = False,
    original: Mapping[str, str] | None = None,
) -> PreparedData:  # fmt: skip
    """Read, check and tokenise a data set for a model; raises `UsageError` for what is wrong with either.

    With `on_validation` the development split stands in the place of the test split, which is not looked at. `original` are
    the model's digests: what is kept of another of the same name is not taken.
    """
    data = study_data(config, spec, on_validation=on_validation)
    holds_out = develops(config, data.task)
    shape = read_config(model, trust_remote_code=config.trust_remote_code)
    _refuse_other_inputs(shape, model, data)
    limit = min(config.length_of(spec), context_of(shape))
    tokenizer = _tokenizer(config, model, data)
    made = task_of(config, spec, data, tokenizer)
    state = made.state()
    assumed = look_over(
        model, speaks=made.speaks, tags=made.tags, labels=state.get("label_names"), scored=_with_heads(config),
        several=made.several, trust_remote_code=config.trust_remote_code,
    )  # fmt: skip
    # Before any row is read: a mark without a vector would stand in every text.
    surplus = None if tokenizer is None else surplus_note(model, tokenizer, shape.vocab_size)
    path = _cached(
        directory, [_VERSION, model, dict(original or {}), data.digest, limit, holds_out, _made_by(made, state)]
    )
    rows = _by_split(data, holds_out=holds_out)
    splits, damaged = _kept_tokens(path, None if made.writes else {name: len(own) for name, own in rows.items()})
    if not splits:
        splits = _tokenised(rows, model, shape, tokenizer, made, limit)
        save_tokens(path, splits)
    if not (on_validation or made.writes):
        _keep_rows(config, spec, data, directory)

    names = {"train": "train", "test": "development" if on_validation else "test", "validation": "development"}
    of_model = (model_note(model), *assumed, surplus, *_unread_notes(config, made), *_end_notes(made, tokenizer))
    damage = [f"what had been kept of its tokens ({path.name}) was damaged and is made again"] if damaged else []
    notes = [*filter(None, of_model), *data.notes, *made.noted(splits["train"]), *damage]
    notes += _few_notes(data.test if on_validation else data.validation if holds_out else None)
    notes += [*_cut_notes(splits, limit, names), *(_piece_notes(splits, data, limit, names) if made.writes else ())]

    return PreparedData(
        tokens=path,
        task=state,
        digest=data.digest,
        notes=tuple(notes),
        cut={name: tokens.cut for name, tokens in splits.items()},
        train_rows=len(splits["train"]),
        test_rows=len(splits["test"]),
        validation_rows=len(splits["validation"]) if "validation" in splits else None,
        languages=_languages(data.train),
        median_length=int(np.median(splits["train"].lengths)),
        train_evaluation_rows=_train_evaluation(config, data.task, splits["train"].labels),
        learned=learned(first, tokenizer, made.stop) if isinstance(first := splits["train"], WrittenTokens) else None,
        columns=data.columns,
        width=int(shape.hidden_size),
        speaks=made.speaks,
        assumed=assumed,
        figures=keep_figures(config, data, made, directory) if not on_validation else None,
    )


def _keep_rows(config: StudyConfig, spec: DatasetSpec, data: TextDataset, directory: Path) -> None:
    """Keep in the study's folder what its report shows of the rows."""
    write_test_rows(directory, data)
    keep_examination(config, spec, data, directory)


def _tokenizer(config: StudyConfig, model: str, data: TextDataset) -> Any:
    """Return what makes texts tokens; None where rows are images."""
    if data.train.pixels is not None:
        return None
    return load_tokenizer(model, trust_remote_code=config.trust_remote_code)[0]


def _languages(rows: Rows) -> dict[str, int]:
    """Return how many of some texts, evenly chosen among all rows, are in each language."""
    if rows.pixels is not None:
        return {}
    # Every n-th row, not the first ones: files are often sorted.
    each = max(1, len(rows) // _LOOKED_AT)
    return dict(Counter(language_of(text) for text in rows.text[::each][:_LOOKED_AT]).most_common())


def _by_split(data: TextDataset, *, holds_out: bool) -> dict[str, Rows]:
    """Return the rows of each split, the development split's where a study chooses on it."""
    rows = {"train": data.train, "test": data.test}
    return rows | ({"validation": data.validation} if holds_out and data.validation is not None else {})


def _made_by(task: Task, state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the settings of a task by which tokens are made; None where they are the texts' alone."""
    return state if task.speaks or task.embeds else None


def _cached(directory: Path, depends: Sequence[Any]) -> Path:
    """Return the file in which tokens that depend on these values are kept."""
    return directory / "cache" / f"tokens-{hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:16]}.npz"


def _tokenised(
    rows: Mapping[str, Rows], model: str, shape: Any, tokenizer: Any, task: Task, limit: int
) -> dict[str, Tokens]:
    """Return the rows of each split as the model reads them; images where there is no tokenizer."""
    if tokenizer is None:
        return {name: image_tokens(own, shape, model_path(model)) for name, own in rows.items()}
    apart = task.speaks and reads_apart(shape)
    splits = {name: task.tokenize(tokenizer, own, limit, apart=apart) for name, own in rows.items()}
    for name, tokens in splits.items():
        check_tokens(model, tokenizer, shape.vocab_size, [tokens.ids.max(initial=0)], f"in a {name} text")
    return splits


def _kept_tokens(path: Path, rows: Mapping[str, int] | None) -> tuple[dict[str, Tokens], bool]:
    """Return what was tokenised before, by split, of so many `rows`, and whether it is damaged: it is made again then."""
    if not path.exists():
        return {}, False
    try:
        tokens = load_tokens(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, ZeroDivisionError, zipfile.BadZipFile):
        return {}, True
    whole = rows is None or {name: len(own) for name, own in tokens.items()} == rows
    return (tokens, False) if whole and "train" in tokens and "test" in tokens else ({}, True)


def _with_heads(config: StudyConfig) -> bool:
    """Return whether any method of the study trains a head."""
    return any(not registry()[spec.name].gradient_free for spec in config.methods)


def task_of(config: StudyConfig, spec: DatasetSpec, data: TextDataset, tokenizer: Any) -> Task:
    """Make the task that a study sets for a data set; raises `UsageError` for what it cannot be."""
    return Task.of_study(data, config, spec, tokenizer)


def reads_apart(shape: Any) -> bool:
    """Return whether a model of this configuration reads one text and writes another."""
    row = row_of(shape)
    return row is not None and bool(row.further)


def _refuse_other_inputs(shape: Any, model: str, data: TextDataset) -> None:
    row = row_of(shape)
    wants = row.inputs if row else "text"
    has = "text" if data.train.pixels is None else "image"
    if wants != has:
        kinds = {"text": "texts", "image": "images", "sound": "sound"}
        raise UsageError(f"{model} takes {kinds[wants]}, and {data.name} has {kinds[has]}.")


def _few_notes(development: Rows | None) -> tuple[str, ...]:
    if development is None or len(development) >= _FEW:
        return ()
    rows = "1 row" if len(development) == 1 else f"{len(development):,} rows"
    return (f"the development split has {rows}: what is chosen on so few is chosen by chance",)


def _unread_notes(config: StudyConfig, task: Task) -> tuple[str, ...]:
    """Return what the study says that this task does not read: it may be for another of the study's data sets."""
    notes: list[str] = []
    for key in task.unread(config):
        notes.append(f"{key} is for task: {', '.join(readers(key))}; task: {task.name} does not read it")
    return tuple(notes)


def _end_notes(task: Task, tokenizer: Any) -> tuple[str, ...]:
    if not task.writes or task.stop or tokenizer is None or tokenizer.eos_token_id is not None:
        return ()
    return (
        "the model's tokenizer names no end token: no end is learned, and what it writes goes on to max_new_tokens",
    )


def _cut_notes(splits: Mapping[str, Tokens], limit: int, names: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    for name, tokens in splits.items():
        if tokens.cut:
            # Of a question each answer is a sequence of its own; those that a row lacks have no token.
            all_of, what = len(tokens), "texts"
            if isinstance(tokens, PassageTokens):
                all_of = len(tokens.offsets) - 1
            if isinstance(tokens, AnswerTokens):
                all_of, what = int((tokens.answers > 0).sum()), "texts, one for each answer,"
            note = f"{tokens.cut:,} of {all_of:,} {names[name]} {what} were longer than {limit} tokens and were cut"
            if tokens.by_word:
                words = int((tokens.labels != IGNORED).sum())
                note += f", with them {words - int(tokens.trained.sum()):,} of {words:,} words, taken for no entity's"
            notes.append(note)
    return tuple(notes)


def _piece_notes(
    splits: Mapping[str, Tokens], data: TextDataset, limit: int, names: Mapping[str, str]
) -> tuple[str, ...]:
    """Say where rows of text to write are not as many as those of the data."""
    notes = []
    for name, tokens in splits.items():
        rows = len(getattr(data, name))
        if len(tokens) > rows:
            notes.append(f"{rows:,} {names[name]} texts are {len(tokens):,} sequences of at most {limit} tokens")
        elif len(tokens) < rows:
            notes.append(
                f"{rows - len(tokens):,} of {rows:,} {names[name]} rows have no token to train on within {limit} and are "
                "left out"
            )
    return tuple(notes)


def _train_evaluation(config: StudyConfig, task: str, labels: np.ndarray) -> np.ndarray | None:
    """Return the rows of the train split that the train metric is taken on, the same for every run; None for all."""
    limit = config.train_evaluation_limit
    if limit is None or limit >= len(labels):
        return None
    return stratified_rows(labels, limit, classes=TASKS[task].stratified)

"""Load an adapter's folder, whoever wrote it, onto its base model: what `afina.load` returns."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from afina.adapters.format import AdapterFormat, Base, format_of
from afina.adapters.record import AdapterRecord
from afina.backbone.load import Backbone, load_backbone, stored_at
from afina.backbone.model_files import model_path
from afina.backbone.own_tokenizer import own_tokenizer
from afina.backbone.quantise import packed
from afina.backbone.recognised import is_other
from afina.backbone.storage.base import STORAGES
from afina.errors import AfinaError, UsageError, shown
from afina.methods.base import Method
from afina.precision import EXACT
from afina.predictor.predictor import PREDICTORS, Predictor
from afina.tasks.base import restore

__all__ = ["Standing", "Told", "load", "load_rounded", "told_by"]


@dataclass(frozen=True)
class Standing:
    """Describes a backbone that is loaded, for adapters that are to stand on it."""

    backbone: Backbone
    precision: str
    called: str
    """Its name in sentences."""
    owned: bool = False
    """True where an adapter has changed its weights."""

    @classmethod
    def of(cls, other: Predictor) -> "Standing":
        """Return that of an adapter."""
        return cls(other.backbone, other.record.precision, str(other.folder), other.method.owns_backbone)


@dataclass(frozen=True)
class Told:
    """Holds what an adapter's folder says of it, before its base is loaded."""

    folder: Path
    form: type[AdapterFormat]
    record: AdapterRecord
    method: Method

    @property
    def speaks(self) -> bool:
        return self.form.base(self.record).speaks

    @property
    def writes(self) -> bool:
        return restore(self.record.task).writes


def told_by(folder: Path, model: str | None = None) -> Told:
    """Read what an adapter's folder says; raises `UsageError` where its base is not there or is not the one."""
    form = format_of(folder)
    record = form.record(folder)
    record = replace(record, model=model or record.model)
    # A base that a person names is taken at their word.
    if model is None:
        form.check_base(folder, record)
    _check_place(folder, record)
    return Told(folder, form, record, form.method(record))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Says on which backbone an adapter is wanted; `load` says what each is."""

    model: str | None = None
    precision: str | None = None
    device: str = "cpu"
    trust_remote_code: bool = False
    beside: "Predictor | Standing | None" = None
    rounded_to: str | None = None
    other_base: bool = False
    offload: str | None = None


def load(
    folder: str | Path,
    *,
    model: str | None = None,
    precision: str | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
    beside: "Predictor | Standing | None" = None,
    other_base: bool = False,
    offload: str | None = None,
) -> Predictor:
    """Load an adapter that Afina or PEFT saved, with the backbone that it names (or `model`, the same elsewhere).

    The backbone has the precision that the adapter was trained on, or `precision`; PEFT's files name none, and have fp32.
    `beside` another adapter it shares that one's backbone, or stands on one that is loaded already; raises `UsageError`
    where it cannot. With `offload` "disk" the base's layers stay in its files and are read one by one as they compute: slow,
    in little memory.
    A base of other weights than the adapter was trained on is refused, unless `other_base` (or AFINA_OTHER_BASE=1) wants it.
    """
    if offload not in (None, "disk"):
        raise UsageError(f"offload is disk, or nothing; not {shown(offload)}.")
    asked = _Asked(
        model=model, precision=precision, device=device, trust_remote_code=trust_remote_code, beside=beside,
        other_base=other_base, offload=offload,
    )  # fmt: skip
    return _load(Path(folder), asked)


def load_rounded(folder: str | Path, rounded_to: str | None, *, model: str | None = None) -> Predictor:
    """Load an adapter in float32, its base with the weights that a quantised precision makes of them (None: its own)."""
    return _load(Path(folder), _Asked(model=model, precision=EXACT, rounded_to=rounded_to))


def _load(folder: Path, asked: _Asked) -> Predictor:
    form = format_of(folder)
    record = form.record(folder)
    record = replace(record, model=asked.model or record.model, precision=asked.precision or record.precision)
    method = form.method(record)
    if asked.model is None:
        form.check_base(folder, record)
    if asked.precision is None and asked.beside is None and record.precision == EXACT:
        # A base whose weights are stored in few bits is had in no other precision.
        _check_place(folder, record)
        stored_so = stored_at(record.model, trust_remote_code=asked.trust_remote_code)
        record = replace(record, precision=stored_so or record.precision)
    if method.owns_backbone:
        method.precision_on(record.precision)  # refuses what has no weights to train
    backbone = _backbone(folder, record, method, form.base(record), asked)
    if method.owns_backbone:
        backbone.autocast = STORAGES[record.precision].autocast()
    unknown = None
    if asked.rounded_to is None:
        unknown = _check_base(folder, form, record, backbone, other_base=asked.other_base)
    loaded = form.read(folder, backbone, record)

    # The task says of which kind the predictor is, whoever wrote the folder.
    task = restore(loaded.task)
    made = PREDICTORS[task.predictor](
        folder=folder, format=form, record=replace(record, task=loaded.task), method=loaded.adapter.method,
        backbone=backbone, adapter=loaded.adapter, task=task, tokenizer=own_tokenizer(folder, backbone.tokenizer),
        notes=(*backbone.notes, *loaded.notes, *filter(None, (unknown,))),
    )  # fmt: skip
    _check_vocabulary(made)
    return made


def _backbone(folder: Path, record: AdapterRecord, method: Method, wanted: Base, asked: _Asked) -> Backbone:
    """Return what an adapter stands on: another's backbone, or its base's, whole or with its layers on the disk."""
    # A method that trains the base's own weights has them in its file: they are loaded as they were, and computed with
    # in the precision that it was trained in.
    stored = EXACT if method.owns_backbone else record.precision
    if asked.beside is not None:
        there = Standing.of(asked.beside) if isinstance(asked.beside, Predictor) else asked.beside
        return _shared(folder, record, method, there, stored, wanted)
    _check_place(folder, record)
    settings: dict[str, Any] = {
        "precision": stored, "device": asked.device, "trust_remote_code": asked.trust_remote_code,
        "speaks": wanted.speaks, "tags": wanted.tags,
    }  # fmt: skip
    if asked.offload is None:
        return load_backbone(record.model, rounded_to=asked.rounded_to, **settings)
    if method.owns_backbone:
        raise AfinaError(
            f"{folder} holds the whole model's weights ({record.method}), where offload: disk reads a base's files; leave "
            "offload out."
        )
    from afina.backbone.offloaded import load_offloaded

    return load_offloaded(record.model, **settings)


def _check_place(folder: Path, record: AdapterRecord) -> None:
    """Raise `UsageError` for a base model in a local folder that is not there."""
    # A name of the hub is no path, and is looked up when it is loaded.
    if record.model.startswith((".", "/")) and not Path(record.model).exists():
        raise UsageError(
            f"{folder} adapts the model in {record.model}, which is not there; say where it is now with "
            "--model, or model= in Python."
        )


def _check_base(
    folder: Path, form: type[AdapterFormat], record: AdapterRecord, backbone: Backbone, *, other_base: bool
) -> str | None:
    """Raise `UsageError` for a base whose weights are not those that the adapter was trained on, unless that is wanted.

    Returns a note where it cannot be told: adapters of before kept nothing of their base, and PEFT's files never do.
    """
    ours = form.name == "afina"
    # Nor is there a base to recognise of what learned from words alone, which others' files never do.
    if record.facts.get("has_base") or (ours and not record.make_method().reads_model):
        return None
    known = record.facts.get("base")
    if known is None:
        note = f"{folder} does not say by which weights its base is known, so that it was not recognised."
        return note if ours else None
    try:
        other = is_other(known, backbone)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AfinaError(
            f"{folder / 'afina.json'}: 'facts.base' is damaged ({type(error).__name__}); get the adapter again."
        ) from None
    if other and not (other_base or os.environ.get("AFINA_OTHER_BASE", "") not in ("", "0")):
        raise UsageError(
            f"{folder} was trained on other weights than those of {backbone.name}: give the base that it was trained on "
            "(--model), or have it on this one all the same by AFINA_OTHER_BASE=1 (other_base=True in Python)."
        )
    if other is None:
        return f"{backbone.name} has no weight by which {folder} knows its base, so that it was not recognised."
    return f"{folder} was trained on other weights than those of {backbone.name}, as was wanted." if other else None


def _check_vocabulary(made: Predictor) -> None:
    """Refuse a tokenizer of the folder's own that has tokens which neither the base nor the adapter has vectors for."""
    # Without a tokenizer of its own the base's has a vector for each of its tokens.
    if made.tokenizer is made.backbone.tokenizer or made.tokenizer is None:
        return
    words = max(made.backbone.config.vocab_size, made.adapter.words)
    if not made.tokens_fit(words):
        highest = max(made.tokenizer.get_vocab().values())
        raise UsageError(
            f"The tokenizer in {made.folder} has {highest + 1} tokens, and {made.backbone.name} with this adapter has "
            f"vectors for {words}; give by --model the base whose embeddings were made larger, or take the tokenizer out."
        )


def _shared(
    folder: Path, record: AdapterRecord, method: Method, there: Standing, precision: str, wanted: Base
) -> Backbone:
    """Return the backbone that is there; raises `UsageError` where this adapter cannot share it."""
    backbone, other = there.backbone, there.called
    if method.owns_backbone or there.owned:
        raise UsageError(f"{folder} and {other} cannot share a model: {record.method} changes all of it.")
    # By where they lie, as two names may be one model.
    if model_path(record.model) != model_path(backbone.name):
        raise UsageError(f"{folder} adapts {record.model}, not {backbone.name}, which is loaded.")

    # Among plain precisions an adapter may move; quantised weights are others than those that it was trained beside.
    kinds = {precision, there.precision}
    if len(kinds) > 1 and any(packed(own) is not None for own in kinds):
        raise UsageError(f"{folder} was trained on a model in {precision}, not in {there.precision}, which is loaded.")
    unlike = {
        "writes": wanted.speaks != (backbone.language is not None),
        "tags words": wanted.tags != backbone.tags,
    }
    for what in (what for what, differs in unlike.items() if differs):
        raise UsageError(f"{folder} and {other} cannot share a model: one of them {what}, one does not.")
    return backbone

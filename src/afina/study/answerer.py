"""Find who answers, a model or an adapter, refuse one that does not answer what a task asks, and load it to be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.adapters.adapter import Adapter
from afina.adapters.format import FORMATS
from afina.adapters.given_branches import given_adapter
from afina.backbone.labels import known_rows
from afina.backbone.language_head import AnswerHead, TokenHead, spoken_by
from afina.backbone.load import Backbone, load_backbone, load_tokenizer, model_class, read_config
from afina.backbone.model_files import BUILT_IN, model_path
from afina.backbone.own_tokenizer import own_tokenizer
from afina.config import StudyConfig
from afina.data.images import image_tokens
from afina.data.rows import Rows
from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError, shown
from afina.predictor.load import Told, load, told_by
from afina.study.originals import Originals, model_digests
from afina.study.prepare import reads_apart
from afina.tasks.base import Task, restore

__all__ = [
    "Answerer",
    "LoadedAnswerer",
    "answerer_of",
    "answers_task",
    "check_answers",
    "check_speaks",
    "load_answerer",
]


@dataclass(frozen=True)
class Answerer:
    """Says who answers, before any weights are read."""

    name: str
    """The name or folder by which it was given."""
    model: str
    """The base model, which it is itself where it is no adapter."""
    told: Told | None
    """The adapter's folder, as it tells of itself; None of a model."""
    role: str
    """The key or command that it was given for, which begins sentences about it."""

    @property
    def names(self) -> list[str]:
        """Return the folders and names of models that it is made of."""
        return list(dict.fromkeys([self.name, self.model]))

    @property
    def holds_base(self) -> bool:
        """Return whether the adapter's own file holds all weights of the base."""
        return self.told is not None and self.told.method.owns_backbone

    def digests(self, originals: Originals) -> dict[str, dict[str, str]]:
        """Return the digests of the files of each."""
        return {name: model_digests(name, originals) for name in self.names}

    def tokenizer(self, config: StudyConfig) -> tuple[Any, int]:
        """Return its tokenizer, and the most tokens that it reads."""
        tokenizer, context = load_tokenizer(self.model, trust_remote_code=config.trust_remote_code)
        return (tokenizer if self.told is None else own_tokenizer(self.told.folder, tokenizer)), context

    def task(self) -> Task | None:
        """Return the task that the adapter was trained for; None of a model."""
        return None if self.told is None else restore(self.told.record.task)

    def refused(self, why: str) -> UsageError:
        """Return the sentence that refuses it."""
        return UsageError(f"{self.role}: {why}")


@dataclass(frozen=True)
class LoadedAnswerer:
    """Holds one that is loaded."""

    backbone: Backbone
    adapter: Adapter
    tokenizer: Any
    longest: int
    """Tokens of a text that it reads."""
    order: Sequence[int] | None
    """Places of the task's labels among its own; None where they are the same."""
    unit: tuple[float, float]
    """The factor and the sum by which its outputs come into the task's unit."""
    answers: bool
    """True where its outputs are answers to the task, and not those of a fresh head."""

    def outputs(self, outputs: Tensor) -> Tensor:
        """Return its outputs for labels as the task has them; of what writes, or answers something else, as they are."""
        if not self.answers or isinstance(self.adapter.head, TokenHead):
            return outputs
        ordered = outputs if self.order is None else outputs[..., list(self.order)]
        scale, moved = self.unit
        return ordered if (scale, moved) == (1, 0) else (ordered.double() * scale + moved).float()

    def tokens(self, task: Task, rows: Rows) -> Tokens:
        """Return rows as it reads them for a task; raises `UsageError` for a token that it has no vector for."""
        backbone = self.backbone
        if rows.pixels is not None:
            return image_tokens(rows, backbone.config, model_path(backbone.name))
        apart = task.speaks and reads_apart(backbone.config)
        tokens = task.tokenize(self.tokenizer, rows, self.longest, apart=apart)
        backbone.check_tokens([tokens.ids.max(initial=0)], "in a text", self.tokenizer, self.adapter.words)
        return tokens


def answerer_of(name: str, config: StudyConfig, *, role: str) -> Answerer:
    """Return who is meant by a name or folder; raises `UsageError`, whose sentence begins with `role`, for nobody."""
    folder = Path(name)
    try:
        if folder.is_dir() and any(kind.recognises(folder) for kind in FORMATS.values()):
            adapter = told_by(folder)
            return Answerer(name, adapter.record.model, adapter, role)
        if name not in BUILT_IN and name.startswith((".", "/", "~")) and not folder.exists():
            raise UsageError(f"{shown(name)} is not there; give a model, or the folder of an adapter.")
        read_config(name, trust_remote_code=config.trust_remote_code)
    except UsageError as error:
        raise UsageError(f"{role}: {error}") from None
    return Answerer(name, name, None, role)


def answers_task(who: Answerer, task: Task, config: StudyConfig) -> bool:
    """Return whether one answers what a task asks, by a head of its own; all that speak answer what those ask."""
    theirs = who.task()
    if task.speaks:
        return True
    if theirs is not None:
        return theirs.name == task.name and sorted(theirs.label_names or ()) == sorted(task.label_names or ())
    shape = read_config(who.model, trust_remote_code=config.trust_remote_code)
    labels = None if task.label_names is None else list(task.label_names)
    return _classifies(shape, task) and known_rows(shape, labels, several=task.several) is not None


def _classifies(shape: Any, task: Task) -> bool:
    """Return whether a model's files say that they hold a classifier, of words where words have labels."""
    kinds = list(map(str, getattr(shape, "architectures", None) or []))
    return any("Classification" in kind and ("Token" in kind) == task.tags for kind in kinds)


def check_answers(who: Answerer, task: Task, config: StudyConfig, otherwise: str = "") -> None:
    """Refuse one that answers another question, or tells other labels apart; `otherwise` is what else could be done."""
    if task.speaks:
        check_speaks(who, config)
    if answers_task(who, task, config):
        return
    theirs, ours = who.task(), list(task.label_names or ["a number"])
    if theirs is None:
        shape = read_config(who.model, trust_remote_code=config.trust_remote_code)
        others = list(map(str, (getattr(shape, "id2label", None) or {}).values()))
        has = f"its head tells others apart ({_listed(others)})" if _classifies(shape, task) else "it has no head"
        raise who.refused(
            f"{who.name} cannot say which of {_listed(ours)} a text is: {has}; give an adapter that was trained for "
            f"it{otherwise}."
        )
    if theirs.name != task.name:
        raise who.refused(
            f"{who.name} was trained for task: {theirs.name}, and these rows are read for task: {task.name}; give one of the "
            f"same task{otherwise}."
        )
    raise who.refused(
        f"{who.name} tells other labels apart ({_listed(list(theirs.label_names or ()))}) than these rows have "
        f"({_listed(ours)}); give one of the same labels{otherwise}."
    )


def check_speaks(who: Answerer, config: StudyConfig) -> None:
    """Refuse what writes nothing."""
    try:
        model_class(read_config(who.model, trust_remote_code=config.trust_remote_code), speaks=True)
    except UsageError as error:
        raise who.refused(str(error)) from None
    if who.told is not None and not who.told.speaks:
        raise who.refused(
            f"{who.name} was trained for task: {restore(who.told.record.task).name} and writes nothing; give one that does."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def load_answerer(who: Answerer, task: Task, config: StudyConfig, device: str) -> LoadedAnswerer:
    """Load one with a head that answers as the task asks, where it has one."""
    if who.told is not None:
        loaded = load(who.told.folder, device=device, trust_remote_code=config.trust_remote_code)
        backbone, adapter, theirs, tokenizer = loaded.backbone, loaded.adapter, loaded.task, loaded.tokenizer
        longest = min(backbone.context, max(config.max_length, loaded.longest))
    else:
        backbone = load_backbone(
            who.model, device=device, trust_remote_code=config.trust_remote_code, speaks=task.speaks, tags=task.tags
        )
        names = None if task.label_names is None else list(task.label_names)
        # A head that has to be drawn is asked nothing: only the states below it are looked at then.
        with torch.random.fork_rng(devices=[]):
            head = backbone.new_head(0 if task.writes else task.outputs, names, several=task.several)
        adapter, theirs, tokenizer = given_adapter({}, head, backbone), task, backbone.tokenizer
        longest = min(backbone.context, config.max_length)
    if task.speaks and backbone.language is not None:
        language = spoken_by(adapter.head, backbone.language)
        adapter.head = (
            TokenHead(language, backbone.config) if task.writes else AnswerHead(language, backbone.config, task.outputs)
        )
    answers, order = answers_task(who, task, config), None
    if answers and not task.speaks and task.label_names and theirs.label_names:
        order = [list(theirs.label_names).index(name) for name in task.label_names]
        order = None if order == list(range(len(order))) else order
    (mean, deviation), (own_mean, own_deviation) = theirs.unit, task.unit
    unit = (deviation / own_deviation, (mean - own_mean) / own_deviation) if answers else (1.0, 0.0)
    return LoadedAnswerer(backbone, adapter, tokenizer, longest, order, unit, answers)

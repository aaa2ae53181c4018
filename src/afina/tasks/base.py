"""Define what a task is: how it reads rows, the size of its output, its loss, what it predicts; one file a task.

The registry finds a task by its name; whoever goes by what a task can do asks its class attributes. Nothing here imports
torch before a loss is computed: a study's rows are read and checked without it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel

from afina.checked import Checked
from afina.data.rows import Rows, TextDataset
from afina.data.sources.finding import Parts
from afina.data.sources.presets import Preset
from afina.data.tokens.tokenize import tokenize
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest
from afina.measure.metrics.base import Answers, Metric, metrics_of
from afina.registry import Registry
from afina.tasks.outside import Outside
from afina.tasks.predictions import Decoded, Prediction
from afina.tasks.source import Source
from afina.tasks.state import State
from afina.tasks.taught import TaughtTask

if TYPE_CHECKING:
    from torch import Tensor

    from afina.data.labelled import Labelled
    from afina.data.templates.named import ChatTemplate

__all__ = [
    "TASKS",
    "Task",
    "in_turn",
    "readers",
    "restore",
    "task",
    "the",
]


class Task(Outside, TaughtTask, ABC):
    """Says what is learned from rows."""

    name: ClassVar[str]
    answers: str
    """The kind of its answers, of which it has every metric (`Metric.of`): classes, numbers, tokens, ..."""
    metric: ClassVar[str]
    """The metric that a table shows first."""
    first_metric: str | None = None
    """Another of the task's metrics, where a study asked for it."""
    trained: ClassVar[bool] = True
    """False where it cannot be trained here, and is there for adapters made elsewhere."""
    turn: ClassVar[int | None] = None
    """Place in the order in which `task: auto` asks tasks for their rows, lowest first; None: it has to be named."""
    speaks: ClassVar[bool] = False
    """True where the model answers with its language head, not with a head for this task."""
    writes: ClassVar[bool] = False
    """True where text is learned, and every token of it scored: `Tokens.targets`."""
    reads_apart: ClassVar[bool] = False
    """True for a task that writes with an encoder-decoder."""
    tags: ClassVar[bool] = False
    """True where every word has an output of its own, not every row."""
    embeds: ClassVar[bool] = False
    """True where there is no head, and a text becomes a vector."""
    several: ClassVar[bool] = False
    """True where a row may have several labels, each of them there or not."""
    images: ClassVar[bool] = False
    """True for the task that learns images with labels."""
    stratified: ClassVar[bool] = True
    """True where rows are of classes, each of which should have its share of every part."""
    compares: ClassVar[bool] = False
    """True where the loss compares the rows of a whole batch, so that it is no sum over parts of one."""
    develops: ClassVar[bool] = False
    """True where something is chosen on a development split, which is held out for it."""
    embedded: ClassVar[bool] = True
    """True where a classical model on embeddings can learn it."""
    judged: ClassVar[Literal["class", "number", ""]] = ""
    """The kind of a row's one answer that can be shown beside the right one; "" where it has none such."""
    lines: ClassVar[Literal["labelled", "texts", "transcript", "none"]] = "labelled"
    """The meaning of a text file's lines to this task."""
    notes: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Notes that its reader may make of rows, English and Portuguese, with `{places}`; read from the source, so written
    out."""
    Settings: ClassVar[type[Checked]] = Checked
    """The keys of a study file that say something to this task, and to others with the same class, alone."""
    reads: ClassVar[tuple[str, ...]] = ()
    """The keys of a data set that are so."""
    predictor: ClassVar[str] = "classifier"
    """The kind of what answers with an adapter of this task: a file of `predictor/`."""
    outputs: int
    """Width of the head; answers to a question where the model speaks, none where it writes."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer beside the tokenizer's end token, where the model writes."""
    template: "ChatTemplate | None" = None
    """The form in which conversations were learned, where the task has any."""
    texts: int = 1
    """Texts that a row is to a model that gives vectors."""
    label_names: Sequence[str] | None = None
    unit: tuple[float, float] = (0.0, 1.0)
    """Mean and deviation of what it predicts, where outputs are in deviations from the mean."""
    State: ClassVar[type[State]] = State

    # -- what it learns from

    @classmethod
    def is_meant(cls, parts: Parts) -> bool:
        """Return whether tables show by their columns that they are for this task."""
        return False

    @classmethod
    def claims(cls, labelled: "Labelled") -> bool:
        """Return whether texts with a column of labels show by these that they are for this task.

        Raises `UsageError` for labels that seem a mistake.
        """
        return False

    @classmethod
    @abstractmethod
    def read(cls, source: Source) -> TextDataset:
        """Return the data set; raises `UsageError` in one sentence for what is wrong with its rows."""

    @classmethod
    def of_labelled(cls, source: Source, labelled: "Labelled") -> TextDataset:
        """Return the data set of texts with a column of labels; only of tasks that `claims` some."""
        raise NotImplementedError(f"{cls.name} claims labels and does not read them")

    @classmethod
    def published_outputs(cls, preset: Preset) -> int:
        """Return what `outputs` will be for a preset that cannot be read here."""
        return preset.classes

    @classmethod
    @abstractmethod
    def made_for(cls, data: TextDataset, settings: Any, spec: DatasetSpec, tokenizer: Any) -> Self:
        """Make the task that a study sets for a data set; raises `UsageError` for `settings` that cannot be."""

    @classmethod
    def of_study(cls, data: TextDataset, config: Checked, spec: DatasetSpec, tokenizer: Any) -> "Task":
        """Make the task of a data set, with the metric that the study shows first; raises `UsageError` as `made_for`."""
        wanted = TASKS[data.task]
        # A key that nobody reads would leave a person believing in it, so it is refused by the task's name.
        if unread := wanted.unread(spec):
            raise UsageError(
                f"{spec.label_name}: {unread[0]} is for task: {', '.join(readers(unread[0]))}, and its rows are read for "
                f"task: {wanted.name}; leave it out, or set the task."
            )
        made = wanted.made_for(data, config, spec, tokenizer)
        if data.metric is not None:
            made.put_first(data.metric)
        return made

    @classmethod
    def settings_keys(cls) -> frozenset[str]:
        """Return the keys of a study file, and of a data set in it, that are for this task and not for all."""
        return frozenset((*cls.Settings.model_fields, *cls.reads))

    @classmethod
    def unread(cls, written: BaseModel) -> list[str]:
        """Return the keys that were written, of a study or of a data set, and are for other tasks."""
        fields = type(written).model_fields
        # A key may be for several tasks: what this one reads is not another's.
        others = sorted({key for own in TASKS.values() for key in own.settings_keys()} - cls.settings_keys())
        return [key for key in others if key in fields and getattr(written, key) != fields[key].default]

    @classmethod
    def of_labels(cls, names: Sequence[str]) -> Self:
        """Make the task of an adapter that another program trained, which says of it no more than the labels."""
        raise NotImplementedError(f"{cls.name} is not made of labels alone")

    @classmethod
    def of_text(cls, tokenizer: Any) -> Self:
        """Make the task of an adapter that another program taught to write with this tokenizer."""
        return cls()

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        """Return rows of texts as tokens; `apart` where what is read and what is said are two texts to the model."""
        # One form for all whose rows are texts with a label each; the others have their own.
        return tokenize(tokenizer, rows, max_length)

    by_group: Any = None
    """The rule by which the groups of rows decide between two classes, where it has one (`tasks/group_rule.py`)."""

    @property
    def group_column(self) -> str | None:
        """Return the column that has to come with texts, as classes are decided by the groups in it."""
        return None

    def ungrouped(self, values: Sequence[Any]) -> int:
        """Return how many of the values in `group_column` are of no group that decides."""
        return 0

    @property
    def reads_plainly(self) -> bool:
        """Return whether a text's tokens are a matter of the tokenizer alone, and so those of any such task."""
        return type(self).tokenize is Task.tokenize

    def noted(self, tokens: Tokens) -> tuple[str, ...]:
        """Return what is to be said of train rows as they were made tokens, a sentence each."""
        return ()

    @abstractmethod
    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, Any] | None = None) -> "Tensor":
        """Return the loss summed over the rows of logits (B, K).

        `weights` are the method's, of further terms, and what is trained beside (`trained_beside`).
        """

    def trained_beside(self) -> "dict[str, Tensor]":
        """Return what is trained of the loss itself, beside the adapter, as fresh parameters by name: a temperature, say."""
        return {}

    def with_trained(self, values: Mapping[str, float]) -> "Task":
        """Return the task with what was trained beside the adapter, by name."""
        return self

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Return labels as the head's outputs would be, for a classical model on embeddings."""
        return labels

    # -- what it gives

    @abstractmethod
    def decode(self, logits: np.ndarray) -> Decoded:
        """Return predictions and scores for logits (N, K)."""

    def decode_rows(self, tokens: Tokens, logits: np.ndarray) -> Decoded:
        """Return predictions and scores of rows from their logits; rows matter where words have labels, or groups decide."""
        return self.decode(logits)

    def developed(self, tokens: Tokens, logits: np.ndarray) -> "Task":
        """Return the task with what it chooses by a model's logits on the development split."""
        return self

    @property
    def wants_choices(self) -> bool:
        """Return whether each text comes with answers of its own to choose from."""
        return False

    def choosing(self, choices: Sequence[Sequence[str]]) -> "Task":
        """Return the task for texts with these answers."""
        return self

    def predictions(
        self, texts: Sequence[Any], tokens: Tokens, logits: np.ndarray, choices: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Prediction]:
        """Return what is predicted for each text: a label with its probabilities."""
        decoded = self.decode_rows(tokens, logits)
        each = [self.label_names or ()] * len(decoded.predictions) if choices is None else choices
        # Texts that come with answers have names of their own each; all others share the task's.
        return [
            Prediction(names[label], dict(zip(names, map(float, scores), strict=False)))
            # Rows with fewer answers than the widest one have scores for places where there are none.
            for names, label, scores in zip(each, decoded.predictions, decoded.scores, strict=True)
        ]

    def fields(self, choices: Sequence[str] | None, *, unsure: bool) -> tuple[str, ...]:
        """Return the columns that a table has of a prediction; `unsure` where some are left to a person."""
        names = choices or self.label_names or ()
        return (
            "prediction", *(("decided", "most_likely") if unsure else ()), "probability",
            *(f"p({name})" for name in names),
        )  # fmt: skip

    def nothing(self, *, unsure: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is said of a row without a text, as JSON and as a table have it."""
        more: dict[str, Any] = {"decided": False, "most_likely": None} if unsure else {}
        return {"label": None, **more, "probabilities": None}, more

    # -- how good that is

    def parts(self) -> Sequence[str]:
        """Return the parts (types of entity, say) of which there are metrics beside those of the whole."""
        return ()

    def metrics(self) -> dict[str, Metric]:
        """Return this task's metrics by name, of which a study may have any first."""
        return metrics_of(self.answers, self.outputs, self.parts())

    def shown(self, values: np.ndarray) -> np.ndarray:
        """Return labels or predictions as results keep them: (N,) numbers, or tuples of names where a row has several."""
        return values

    def measure(self, labels: np.ndarray, decoded: Decoded, *, scored: bool = True) -> dict[str, float]:
        """Return all metrics of what `decode` gave; without `scored` those alone that need no scores."""
        # By names, as results keep them: metrics of entities and of sets are taken of what a person reads.
        answers = Answers(self.shown(labels), self.shown(decoded.predictions), decoded.scores)
        return {name: own.value(answers) for name, own in self.metrics().items() if scored or not own.of_scores}

    def final_metrics(self, last: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result's metrics from the last entry of a history."""
        names = [key.removeprefix("test_") for key in last if key.startswith("test_")]
        # By the names that the history has: an older one may lack metrics that the task has by now.
        return {
            "metric": self.metric,
            "test_metric": last[f"test_{self.metric}"],
            "train_metric": last[f"train_{self.metric}"],
            "test_metrics": {name: last[f"test_{name}"] for name in names},
            "train_metrics": {name: last[f"train_{name}"] for name in names},
        }

    # -- an export beside the adapter: what both gave, in one unit

    def compared(self, outputs: "Tensor") -> "Tensor":
        """Return of an adapter's outputs (N, ...) what an export is held against."""
        # In the target's own unit, so that a difference can be read beside what was to be predicted.
        mean, deviation = self.unit
        return outputs if (mean, deviation) == (0, 1) else outputs * deviation + mean

    def compared_outside(self, outputs: "Tensor", rows: int) -> "Tensor":
        """Return the same of an exported model's outputs for so many rows."""
        return outputs

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        """Return predictions for what is compared."""
        return self.decode_rows(tokens, values)

    def labelled_outputs(self, outputs: "Tensor", labels: "Sequence[Tensor]") -> "Tensor":
        """Return of a model's outputs for a batch, with its labels, those that have one: all, where each row has."""
        return outputs

    def same(self, first: "Tensor", second: "Tensor") -> "Tensor | None":
        """Return for each output whether two models say the same; None where what they say is a number."""
        return first.argmax(1) == second.argmax(1)

    def outside(self) -> "Task":
        """Return the task of an exported head, whose outputs are in their own unit."""
        return self

    # -- what an adapter's afina.json says of it

    def state(self) -> dict[str, Any]:
        """Return a JSON-able description from which `restore` makes the task again."""
        # Only what was asked for is written: the metric that a task shows by itself may be another one later.
        chosen = {} if self.first_metric is None else {"metric": self.first_metric}
        return {"name": self.name, **self.own_state(), **chosen}

    def own_state(self) -> dict[str, Any]:
        """Return what a kind of task adds to `state`: what it is made with."""
        return {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make the task again from the keys of its `State`."""
        return cls(**state)

    def put_first(self, metric: str) -> None:
        """Have another of the task's metrics shown first; raises `UsageError` for one that it does not have."""
        known = self.metrics()
        if metric not in known:
            raise UsageError(f"metric: task {self.name} has no '{metric}' here{nearest(metric, known)}")
        # On this object alone: the class keeps the metric that others of its kind begin with.
        self.first_metric = self.metric = metric  # type: ignore[misc]


TASKS: Registry[type[Task]] = Registry("task", "afina.tasks")
"""All tasks by name."""
task = TASKS.register


def restore(state: Mapping[str, Any]) -> Task:
    """Make a task again from its `state`."""
    cls = TASKS.named(state["name"])
    # Keys that a newer Afina added are passed over, where what it does without them is the same.
    made = cls.from_state({key: value for key, value in state.items() if key in cls.State.model_fields})
    if state.get("metric") is not None:
        made.put_first(state["metric"])
    return made


def readers(key: str) -> list[str]:
    """Return the names of the tasks that read a key of a study file which is not for all."""
    return [name for name, cls in TASKS.items() if key in cls.settings_keys()]


def in_turn() -> list[type[Task]]:
    """Return the tasks that `task: auto` may find, in the order in which it asks them."""
    return sorted((cls for cls in TASKS.values() if cls.turn is not None), key=lambda cls: cls.turn or 0)


def the(**wanted: Any) -> type[Task]:
    """Return the first task of which these class attributes are true: `the(problem_type="regression")`."""
    return next(cls for cls in TASKS.values() if all(getattr(cls, key) == value for key, value in wanted.items()))

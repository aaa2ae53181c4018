"""Classification: softmax cross-entropy over K classes, smoothed and weighted where a study says so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from afina.checked import Checked
from afina.data.labelled import Labelled, read_labelled
from afina.data.labels.classes import check_classes, check_few_labels, classes, note_dates
from afina.data.rows import Rows, TextDataset
from afina.data.tokens.tokens import LabelledTokens, Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest
from afina.tasks.base import Task, task
from afina.tasks.group_rule import GroupRule
from afina.tasks.predictions import Decoded
from afina.tasks.source import Source
from afina.tasks.state import Labels, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ClassSettings", "ClassState", "Classification", "class_weights"]


class ClassSettings(Checked):
    """Has a study's keys for tasks whose answers are classes."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label that is spread over all classes (Szegedy et al., 2016)."""
    class_weights: Literal["balanced"] | dict[str, Annotated[float, Field(ge=0, le=1e6)]] | None = None
    """Weight of each class in the loss, by label name; `balanced`: rows / (classes * rows of the class)."""

    @field_validator("class_weights")
    @classmethod
    def _class_weights(cls, value: Any) -> Any:
        # Classes that all weigh nothing would leave no loss to learn from.
        if isinstance(value, dict) and not any(value.values()):
            raise ValueError("should be above 0 for one class at least")
        return value


class ClassState(State):
    """Holds what is kept of tasks whose outputs are classes."""

    label_names: Labels
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    weights: list[Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _weighed(self) -> "ClassState":
        if self.weights is not None and len(self.weights) != len(self.label_names):
            raise ValueError(f"weights should be {len(self.label_names)}, as many as labels, not {len(self.weights)}")
        return self


class DecidedState(ClassState):
    """Holds what is kept of a class a row, and by which rule it is decided."""

    by_group: GroupRule | None = None

    @model_validator(mode="after")
    def _two(self) -> "DecidedState":
        if self.by_group is not None and len(self.label_names) != 2:
            raise ValueError(f"by_group should stand beside two labels, not {len(self.label_names)}")
        return self


@task("classification")
class Classification(Task):
    """Learns one of K classes a row."""

    pipeline_tag = "text-classification"
    does = "It gives {input} one of {count} labels: {labels}."
    answers = "classes"
    metric = "accuracy"
    turn = 9  # after all others: any labels are classes to it
    judged: ClassVar[Literal["class", "number", ""]] = "class"
    images = True
    Settings = ClassSettings
    problem_type = "single_label_classification"
    State: ClassVar[type[ClassState]] = DecidedState
    taught_by = frozenset({"answers", "states"})
    reads: ClassVar[tuple[str, ...]] = ("groups",)
    label_names: tuple[str, ...]

    def __init__(
        self, label_names: Sequence[str], *, smoothing: float = 0.0, weights: Sequence[float] | None = None,
        by_group: GroupRule | Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Spread the share `smoothing` of a label over all classes; `weights` has each class's weight in the loss.

        Of two classes `by_group` may decide, by a threshold for each group of rows.
        """
        self.label_names = tuple(label_names)
        self.outputs = len(label_names)
        self.smoothing = smoothing
        self.weights = None if weights is None else list(weights)
        self.by_group = None if by_group is None else GroupRule.model_validate(by_group)
        if self.by_group is not None:  # on this object alone, as its thresholds have to be chosen
            self.develops = True  # type: ignore[misc]

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        # Any label is a class, so what is asked for by name is read as classes even where `auto` would take it for
        # numbers.
        return cls.of_labelled(source, read_labelled(source.parts))

    @classmethod
    def claims(cls, labelled: Labelled) -> bool:
        # Raises where nearly every row has a label of its own, which is a column of something else.
        check_few_labels(labelled.kept["train"][labelled.column], labelled.column, labelled.where, labelled.given)
        return True

    @classmethod
    def of_labelled(cls, source: Source, labelled: Labelled) -> TextDataset:
        names, labels = classes(labelled.kept, labelled.column, labelled.where, labelled.given, labelled.notes)
        note_dates(names, labelled.column, labelled.notes)
        splits = labelled.labelled_rows(labels)
        check_classes(names, {name: rows.label for name, rows in splits.items()}, labelled.where, labelled.notes)
        return labelled.finished(source.spec, cls.name, names, splits, source.train_limit, source.test_limit)

    @classmethod
    def made_for(cls, data: TextDataset, settings: ClassSettings, spec: DatasetSpec, tokenizer: Any) -> Self:
        assert data.label_names is not None
        weights = class_weights(settings.class_weights, data.train.label, data.label_names)
        return cls(data.label_names, smoothing=settings.label_smoothing, weights=weights)

    @classmethod
    def of_labels(cls, names: Sequence[str]) -> Self:
        return cls(names)

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, float] | None = None) -> "Tensor":
        from torch.nn.functional import cross_entropy

        by_class = None if self.weights is None else logits.new_tensor(self.weights)
        # Summed, and divided once for the whole step, so that micro-batches change nothing.
        return cross_entropy(logits, labels, weight=by_class, label_smoothing=self.smoothing, reduction="sum")

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float) -> "Tensor":
        from afina.ops.soft_targets import soft_losses

        return soft_losses(outputs, taught, temperature).sum()

    def hard_loss(self, outputs: "Tensor", taught: "Tensor") -> "Tensor":
        # As the labels are learned: smoothed and weighted where a study says so.
        return Classification.loss(self, outputs, taught.argmax(dim=-1))

    def decode(self, logits: np.ndarray) -> Decoded:
        # Without the largest logit no exponential can overflow; the shares are the same.
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Decoded(logits.argmax(axis=1), shifted / shifted.sum(axis=1, keepdims=True))

    # -- by which group a row is in, where that decides

    @property
    def group_column(self) -> str | None:
        return None if self.by_group is None else self.by_group.column

    def ungrouped(self, values: Sequence[Any]) -> int:
        return 0 if self.by_group is None else int((self.by_group.named(values) < 0).sum())

    @property
    def reads_plainly(self) -> bool:
        return super().reads_plainly or (type(self) is Classification and self.by_group is None)

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        tokens = super().tokenize(tokenizer, rows, max_length, apart=apart)
        if self.by_group is None:
            return tokens
        assert isinstance(tokens, LabelledTokens), "rows have a class each"
        return replace(tokens, group=self.by_group.of(rows))

    def decode_rows(self, tokens: Tokens, logits: np.ndarray) -> Decoded:
        return self.decode(logits if self.by_group is None else self.by_group.shifted(logits, _groups_of(tokens)))

    def developed(self, tokens: Tokens, logits: np.ndarray) -> Task:
        if self.by_group is None:
            return self
        rule = self.by_group.chosen(logits, tokens.labels, _groups_of(tokens))
        # A task of its own, as in what tells several labels: this one goes on without thresholds.
        made = Classification(self.label_names, smoothing=self.smoothing, weights=self.weights, by_group=rule)
        if self.first_metric is not None:
            made.put_first(self.first_metric)
        return made

    def own_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"label_names": list(self.label_names)}
        # What is left at its default is not written, so that older files and newer ones compare equal.
        if self.smoothing:
            state["smoothing"] = self.smoothing
        if self.weights is not None:
            state["weights"] = self.weights
        if self.by_group is not None:
            state["by_group"] = self.by_group.model_dump(exclude_none=True)
        return state


def _groups_of(tokens: Tokens) -> np.ndarray:
    group = getattr(tokens, "group", None)
    assert group is not None, "rows were read by the task that decides by their groups"
    return np.asarray(group)


def class_weights(
    wanted: str | Mapping[str, float] | None, labels: np.ndarray, names: Sequence[str]
) -> list[float] | None:
    """Return each class's weight in the loss: as given by name, or `balanced`: rows / (classes * rows of the class).

    Raises `UsageError` for a class that there is not.
    """
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping):
        known = labels[labels >= 0]  # of tags, which are not behind a row's words
        counts = np.bincount(known, minlength=len(names)).clip(min=1)
        balanced: list[float] = (len(known) / (len(names) * counts)).tolist()
        return balanced
    if unknown := [label for label in wanted if label not in names]:
        raise UsageError(f"class_weights: there is no class '{unknown[0]}'{nearest(unknown[0], names)}")
    # A class that is not named weighs as it would without any weights.
    return [float(wanted.get(label, 1.0)) for label in names]

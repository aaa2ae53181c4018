"""Regression: squared error on targets standardised with the train split's mean and deviation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from afina.data.labelled import Labelled, read_labelled
from afina.data.labels.classes import are_quantities, numbers
from afina.data.rows import TextDataset
from afina.data.sources.presets import Preset
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.base import Task, task
from afina.tasks.predictions import Decoded, Prediction
from afina.tasks.source import Source
from afina.tasks.state import State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Regression"]


class _Number(State):
    mean: float
    deviation: float = Field(gt=0)


@task("regression")
class Regression(Task):
    """One number a row; the head learns it in standard units, so that any scale of target can be learned."""

    pipeline_tag = "text-classification"
    does = "It gives {input} a number."
    answers = "numbers"
    metric = "pearson"
    turn = 3
    stratified = False
    judged = "number"
    answer_form = "number"
    problem_type = "regression"
    answers_with = "a number"
    outputs = 1
    State = _Number
    taught_by = frozenset({"answers", "states"})
    tempered = False

    def __init__(self, *, mean: float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation
        self.unit = (mean, deviation)

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        return cls.of_labelled(source, read_labelled(source.parts, apart=False))

    @classmethod
    def claims(cls, labelled: Labelled) -> bool:
        return labelled.given is None and are_quantities(labelled.kept, labelled.column)

    @classmethod
    def of_labelled(cls, source: Source, labelled: Labelled) -> TextDataset:
        labels = {
            name: numbers(table, labelled.column, labelled.parts.place(name)) for name, table in labelled.kept.items()
        }
        # A deviation of zero would make every target infinite, and there is nothing to tell apart.
        if (labels["train"] == labels["train"][0]).all():
            raise UsageError(
                f"{labelled.where}: every train label is {labels['train'][0]:g}; there is nothing to learn."
            )
        splits = labelled.rows(labels)
        return labelled.finished(source.spec, cls.name, None, splits, source.train_limit, source.test_limit)

    @classmethod
    def published_outputs(cls, preset: Preset) -> int:
        return cls.outputs

    @classmethod
    def made_for(cls, data: TextDataset, settings: Any, spec: DatasetSpec, tokenizer: Any) -> Self:
        labels = data.train.label
        # A deviation of zero (one value in all rows) would divide by zero.
        return cls(mean=float(np.mean(labels)), deviation=float(np.std(labels)) or 1.0)

    @classmethod
    def of_labels(cls, names: Sequence[str]) -> Self:
        # Another program's head is in the target's own unit.
        return cls(mean=0.0, deviation=1.0)

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, float] | None = None) -> "Tensor":
        # Standardised before it is rounded to the precision of the logits: large targets may differ in digits that
        # this lacks.
        target = ((labels - self.mean) / self.deviation).to(logits.dtype)
        return (logits[:, 0] - target).square().sum()

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float) -> "Tensor":
        # A number has no other form: the teacher's is learned as a label is.
        return (outputs[:, 0] - taught[:, 0]).square().sum()

    def hard_loss(self, outputs: "Tensor", taught: "Tensor") -> "Tensor":
        return self.soft_loss(outputs, taught, 1.0)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        standard: np.ndarray = (labels - self.mean) / self.deviation
        return standard

    def decode(self, logits: np.ndarray) -> Decoded:
        # In float64, as the mean may be large beside the deviation.
        values = logits[:, 0].astype(np.float64) * self.deviation + self.mean
        return Decoded(values, values[:, None])

    def predictions(
        self, texts: Sequence[Any], tokens: Tokens, logits: np.ndarray, choices: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Prediction]:
        """Return a number for each text."""
        return [Prediction(float(value), None) for value in self.decode(logits).predictions]

    def fields(self, choices: Sequence[str] | None, *, unsure: bool) -> tuple[str, ...]:
        return ("prediction",)

    def nothing(self, *, unsure: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"label": None}, {}

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        return Decoded(values[:, 0], values)

    def same(self, first: "Tensor", second: "Tensor") -> None:
        return None

    def outside(self) -> "Regression":
        # An exported head has the unit worked into it.
        return Regression(mean=0.0, deviation=1.0)

    def own_state(self) -> dict[str, Any]:
        return {"mean": self.mean, "deviation": self.deviation}

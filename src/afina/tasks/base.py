"""What a task is: the size of its output, its loss, its predictions and its metrics; one file a task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from afina.data.batching import Tokens, tokenize
from afina.data.rows import Rows
from afina.data.templates import load_template, make_template
from afina.errors import UsageError, nearest
from afina.measure.metrics.base import Answers, Metric, metrics_of

__all__ = ["Decoded", "Task", "load_task", "make_task"]


@dataclass(frozen=True)
class Decoded:
    """Predictions (N,) and scores (N, K): class probabilities, or the number itself."""

    predictions: np.ndarray
    scores: np.ndarray


class Task(ABC):
    """What is learned from rows with labels."""

    name: ClassVar[str]
    answers: str
    """The kind of its answers, of which it has every metric (`Metric.of`): classes, numbers, tokens, ..."""
    metric: ClassVar[str]
    """The metric that a table shows first."""
    first_metric: str | None = None
    """Where a study asked for another of the task's, that."""
    speaks: ClassVar[bool] = False
    """Whether the model answers with its language head, not with a head for this task."""
    writes: ClassVar[bool] = False
    """Whether what is learned is text, each token of it scored: `Tokens.targets`."""
    tags: ClassVar[bool] = False
    """Whether every word has an output of its own, not every row."""
    embeds: ClassVar[bool] = False
    """Whether there is no head, and a text becomes a vector."""
    outputs: int
    """Width of the head; answers to a question where the model speaks, none where it writes."""
    stop: tuple[str, ...] = ()
    """Where the model writes, what ends it beside the tokenizer's end token."""

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        """Return rows of texts as tokens; `apart` where what is read and what is said are two texts to the model."""
        return tokenize(tokenizer, rows, max_length)

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor, weights: Mapping[str, float] | None = None) -> Tensor:
        """Return the loss summed over the rows of logits (B, K); `weights` are the method's, of further terms."""

    @abstractmethod
    def decode(self, logits: np.ndarray) -> Decoded:
        """Return predictions and scores for logits (N, K)."""

    def decode_rows(self, tokens: Tokens, logits: np.ndarray) -> Decoded:
        """Return predictions and scores of rows from their logits; only where words have labels the rows matter."""
        return self.decode(logits)

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
        answers = Answers(self.shown(labels), self.shown(decoded.predictions), decoded.scores)
        return {name: own.value(answers) for name, own in self.metrics().items() if scored or not own.of_scores}

    # -- an export beside the adapter: what both gave, in one unit

    def compared(self, outputs: Tensor) -> Tensor:
        """Return of an adapter's outputs (N, ...) what an export is held against."""
        return outputs

    def compared_outside(self, outputs: Tensor, rows: int) -> Tensor:
        """Return the same of an exported model's outputs for so many rows."""
        return outputs

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        """Return predictions for what is compared."""
        return self.decode_rows(tokens, values)

    def same(self, first: Tensor, second: Tensor) -> Tensor | None:
        """Return for each output whether two models say the same; None where what they say is a number."""
        return first.argmax(1) == second.argmax(1)

    def final_metrics(self, last: Mapping[str, Any]) -> dict[str, Any]:
        """Return a result's metrics from the last entry of a history."""
        names = [key.removeprefix("test_") for key in last if key.startswith("test_")]
        return {
            "metric": self.metric,
            "test_metric": last[f"test_{self.metric}"],
            "train_metric": last[f"train_{self.metric}"],
            "test_metrics": {name: last[f"test_{name}"] for name in names},
            "train_metrics": {name: last[f"train_{name}"] for name in names},
        }

    def state(self) -> dict[str, Any]:
        """JSON-able description from which `load_task` makes the task again."""
        chosen = {} if self.first_metric is None else {"metric": self.first_metric}
        return {**self.own_state(), **chosen}

    @abstractmethod
    def own_state(self) -> dict[str, Any]:
        """Return what a kind of task adds to `state`: its `name`, and what it is made with."""

    def put_first(self, metric: str) -> None:
        """Have another of the task's metrics shown first; raises `UsageError` for one that it does not have."""
        known = self.metrics()
        if metric not in known:
            raise UsageError(f"metric: task {self.name} has no '{metric}' here{nearest(metric, known)}")
        self.first_metric = self.metric = metric  # type: ignore[misc]


def make_task(
    name: str,
    labels: np.ndarray,
    label_names: tuple[str, ...] | None,
    *,
    smoothing: float = 0.0,
    class_weights: str | Mapping[str, float] | None = None,
    answers: int = 0,
    prompt: str | None = None,
    template: str | Mapping[str, str] | None = None,
    merge_system: bool = False,
    tokenizer: Any = None,
    metric: str | None = None,
) -> Task:
    """Make the task of a data set from its train labels; `smoothing` and `class_weights` are for classification.

    `answers` (the most that a row has) is for choices, `prompt` for choices and seq2seq, `template` and `merge_system`
    for chat, whose template the `tokenizer` may have.

    `metric` is the one that tables show first. Raises `UsageError` for a weight of a class that there is not, for a prompt or
    template that cannot be, and for a metric that the task does not have.
    """
    task = _made(
        name,
        labels,
        label_names,
        smoothing,
        class_weights,
        answers,
        prompt,
        template,
        tokenizer,
        merge_system=merge_system,
    )
    if metric is not None:
        task.put_first(metric)
    return task


def _made(
    name: str, labels: np.ndarray, label_names: tuple[str, ...] | None, smoothing: float,
    class_weights: str | Mapping[str, float] | None, answers: int, prompt: str | None,
    template: str | Mapping[str, str] | None, tokenizer: Any, *, merge_system: bool,
) -> Task:  # fmt: skip
    from afina.tasks.chat import Chat
    from afina.tasks.choices import Choices
    from afina.tasks.classification import Classification
    from afina.tasks.language import Language
    from afina.tasks.regression import Regression
    from afina.tasks.seq2seq import Seq2Seq
    from afina.tasks.tagging import Tagging

    if name == Chat.name:
        return Chat(make_template(template, tokenizer, merge_system=merge_system))
    if name == Seq2Seq.name:
        return Seq2Seq(prompt)
    if name == Language.name:
        return Language()
    if name == Choices.name:
        return Choices(answers, label_names, prompt)
    if name == Regression.name:
        spread = float(np.std(labels))
        return Regression(mean=float(np.mean(labels)), deviation=spread or 1.0)
    assert label_names is not None
    weights: list[float] | None = None
    if class_weights == "balanced":
        known = labels[labels >= 0]  # of tags, which are not behind a row's words
        counts = np.bincount(known, minlength=len(label_names)).clip(min=1)
        weights = (len(known) / (len(label_names) * counts)).tolist()
    elif isinstance(class_weights, Mapping):
        if unknown := [label for label in class_weights if label not in label_names]:
            raise UsageError(f"class_weights: there is no class '{unknown[0]}'{nearest(unknown[0], label_names)}")
        weights = [float(class_weights.get(label, 1.0)) for label in label_names]
    kind = Tagging if name == Tagging.name else Classification
    return kind(label_names, smoothing=smoothing, weights=weights)


def load_task(state: Mapping[str, Any]) -> Task:
    """Make a task again from its `state`."""
    task = _loaded(state)
    if state.get("metric") is not None:
        task.put_first(state["metric"])
    return task


def _loaded(state: Mapping[str, Any]) -> Task:
    from afina.tasks.chat import Chat
    from afina.tasks.choices import Choices
    from afina.tasks.classification import Classification
    from afina.tasks.embedding import Embedding
    from afina.tasks.language import Language
    from afina.tasks.regression import Regression
    from afina.tasks.seq2seq import Seq2Seq
    from afina.tasks.tagging import Tagging

    if state["name"] == Chat.name:
        return Chat(load_template(state["template"]))
    if state["name"] == Seq2Seq.name:
        return Seq2Seq(state["prompt"])
    if state["name"] == Language.name:
        return Language()
    if state["name"] == Embedding.name:
        return Embedding()
    if state["name"] == Regression.name:
        return Regression(mean=state["mean"], deviation=state["deviation"])
    if state["name"] == Choices.name:
        return Choices(state["answers"], state["label_names"], state["prompt"])
    kind = Tagging if state["name"] == Tagging.name else Classification
    return kind(tuple(state["label_names"]), smoothing=state.get("smoothing", 0.0), weights=state.get("weights"))

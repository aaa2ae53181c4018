"""Choices: which of several answers a language model finds likeliest after a question, as T-Few does.

Liu et al., 2022, arXiv:2205.05638, section 3.2: rank the answers by their mean log-probability
beta(y) = 1/T sum_t log p(y_t | x, y_<t), and train by L_LM + L_UL + L_LN, where
    L_LM = -beta(right)                                                            (equation 1)
    L_UL = -sum of log(1 - p) over the wrong answers' tokens / their number        (equation 2)
    L_LN = -log(exp beta(right) / sum over answers of exp beta)                    (equation 4)
The last two have a weight each, which a method sets (`Method.unlikelihood`, `Method.length_normalisation`).
"""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from afina.data.labelled import Labelled, read_labelled
from afina.data.labels.answers import answers_of, right_answers
from afina.data.labels.classes import check_classes, classes, note_dates
from afina.data.rows import Rows, TextDataset, most_answers
from afina.data.sources.presets import Preset
from afina.data.tokens.tokenize import tokenize_answers
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.base import task
from afina.tasks.predictions import Decoded
from afina.tasks.source import Source
from afina.tasks.speaking import SpeakingTask
from afina.tasks.state import MOST_LABELS, Labels, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Choices"]

_MEAN, _, _AGAINST, _TOKENS = range(4)


class _Answers(State):
    answers: int = Field(ge=0, le=MOST_LABELS)
    label_names: Labels | None
    prompt: str | None


@task("choices")
class Choices(SpeakingTask):
    """One of several answers a row; its "logits" are the answers' scores (B, C, 4) of `backbone/language_head.py`."""

    pipeline_tag = "multiple-choice"
    does = "It says which of several answers to a question is the likeliest."
    answers = "choices"
    metric = "accuracy"
    predictor = "chooser"
    embedded = False
    judged = "class"
    reads = ("choices", "answers", "prompt")
    State = _Answers
    taught_by = frozenset({"answers"})

    def __init__(self, answers: int, label_names: Sequence[str] | None = None, prompt: str | None = None) -> None:
        """Take the most answers that a row has; rows that have none of their own share `label_names`.

        `prompt` is what the model reads, with {text} and {text_pair} in it. Raises `UsageError` for another field.
        """
        self.outputs = answers
        self.label_names = None if label_names is None else tuple(label_names)
        self.prompt = prompt
        # Any other field would be left for the model to read, braces and all.
        fields = [name for _, name, _, _ in Formatter().parse(prompt or "{text}") if name is not None]
        if "text" not in fields or not set(fields) <= {"text", "text_pair"}:
            raise UsageError(
                f"prompt: {prompt!r} should hold {{text}}, and {{text_pair}} where there are pairs, alone."
            )

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        return cls.of_labelled(source, read_labelled(source.parts, answers=True))

    @classmethod
    def of_labelled(cls, source: Source, labelled: Labelled) -> TextDataset:
        spec, where, limits = source.spec, labelled.where, (source.train_limit, source.test_limit)
        if "choices" in labelled.columns:
            answers = {
                n: answers_of(t, labelled.columns["choices"], labelled.parts.place(n)) for n, t in labelled.kept.items()
            }
            right = {
                n: right_answers(t, labelled.column, answers[n], labelled.parts.place(n))
                for n, t in labelled.kept.items()
            }
            return labelled.finished(spec, cls.name, None, labelled.rows(right, answers), *limits)
        # Without answers of their own rows are asked for their labels' names, or for what the data set has in their
        # place.
        names, labels = classes(labelled.kept, labelled.column, where, labelled.given, labelled.notes)
        note_dates(names, labelled.column, labelled.notes)
        splits = labelled.labelled_rows(labels)
        check_classes(names, {name: rows.label for name, rows in splits.items()}, where, labelled.notes)
        if spec.answers is not None:
            if len(spec.answers) != len(names):
                raise UsageError(
                    f"answers: there are {len(spec.answers)} for {len(names)} labels ({', '.join(names)})."
                )
            names = tuple(spec.answers)
        return labelled.finished(spec, cls.name, names, splits, *limits)

    @classmethod
    def published_outputs(cls, preset: Preset) -> int:
        return preset.answers or preset.classes

    @classmethod
    def made_for(cls, data: TextDataset, settings: Any, spec: DatasetSpec, tokenizer: Any) -> Self:
        return cls(most_answers(data), data.label_names, spec.prompt)

    @classmethod
    def of_labels(cls, names: Sequence[str]) -> Self:
        # What has no labels was trained to write; it can say too which of several answers is likeliest.
        return cls(2)

    def example(self, *, pairs: bool) -> str:
        if not self.wants_choices:
            return super().example(pairs=pairs)
        return 'predict(["Which is it?"], choices=[["this one", "that one"]])'

    @property
    def wants_choices(self) -> bool:
        return self.label_names is None

    def choosing(self, choices: Sequence[Sequence[str]]) -> "Choices":
        return Choices(max(map(len, choices)), None, self.prompt)

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        # Rows without answers of their own are all asked with the labels' names.
        answers = rows.choices or [list(self.label_names or ())] * len(rows)
        pairs: Sequence[str | None] = rows.text_pair or [None] * len(rows)
        questions = [self._question(text, pair) for text, pair in zip(rows.text, pairs, strict=True)]
        return tokenize_answers(
            tokenizer, Rows(questions, None, rows.label), answers, max_length, choices=self.outputs, apart=apart
        )

    def _question(self, text: str, pair: str | None) -> str:
        # A pair without a prompt is two lines, which says no more than that one stands behind the other.
        prompt = self.prompt or ("{text}" if pair is None else "{text}\n{text_pair}")
        # A space at the end would be the answer's.
        return prompt.format(text=text, text_pair=pair or "").rstrip()

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, float] | None = None) -> "Tensor":
        import torch
        from torch.nn.functional import cross_entropy

        weights = weights or {}
        mean = logits[..., _MEAN]

        # T-Few's three terms (Liu et al., 2022, equations 1 to 3): the right answer's loss, a choice among all answers
        # by their mean log-probability, and log(1 - p) of the wrong ones' tokens.
        value = -mean.gather(1, labels[:, None]).sum()
        if by_length := weights.get("length_normalisation"):
            value = value + by_length * cross_entropy(mean, labels, reduction="sum")
        if unlikely := weights.get("unlikelihood"):
            wrong = torch.ones_like(mean).scatter(1, labels[:, None], 0.0)
            # At least one, so that a row without a wrong answer is no division by zero.
            tokens = (logits[..., _TOKENS] * wrong).sum(dim=1).clamp(min=1)
            value = value - unlikely * ((logits[..., _AGAINST] * wrong).sum(dim=1) / tokens).sum()
        return value

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float) -> "Tensor":
        """Return T^2 KL of the choice among a row's answers."""
        from afina.ops.soft_targets import soft_losses

        # Answers that a row lacks have minus infinity, with both: as a number its share is 0 all the same.
        student, teacher = (own[..., _MEAN].clamp(min=-1e4) for own in (outputs, taught))
        return soft_losses(student, teacher, temperature).sum()

    def hard_loss(self, outputs: "Tensor", taught: "Tensor") -> "Tensor":
        return self.loss(outputs, taught[..., _MEAN].argmax(dim=1))

    def decode(self, logits: np.ndarray) -> Decoded:
        scores = logits[..., _MEAN]
        # Without the largest no exponential overflows, and the shares are the same.
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        return Decoded(scores.argmax(axis=1), shifted / shifted.sum(axis=1, keepdims=True))

    def compared(self, outputs: "Tensor") -> "Tensor":
        """Return the answers' mean log-probabilities; where a row has fewer answers, a number below all."""
        # Missing answers are minus infinity, whose difference from itself is no number.
        return outputs[..., _MEAN].clamp(min=-1e4)

    def compared_outside(self, outputs: "Tensor", rows: int) -> "Tensor":
        return outputs[:, _MEAN].reshape(rows, -1).clamp(min=-1e4)

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        return Decoded(values.argmax(axis=1), values)

    def own_state(self) -> dict[str, Any]:
        names = None if self.label_names is None else list(self.label_names)
        return {"answers": self.outputs, "label_names": names, "prompt": self.prompt}

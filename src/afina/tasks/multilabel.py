"""Multilabel: several labels a row, each told by itself: binary cross-entropy of K sigmoids, averaged over the labels.

A label is given to a text whose probability reaches the label's threshold. Thresholds are chosen, one a label, by the F1
on the development split (Lipton et al., 2014, arXiv:1402.1892), which is held out for it; until then they are 0.5.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from afina.data.columns import find_columns
from afina.data.labelled import single_split, with_both, with_columns
from afina.data.labels.label_sets import check_sets, listed_labels
from afina.data.rows import TextDataset
from afina.data.sources.finding import Parts
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, nearest
from afina.tasks.base import Task, task
from afina.tasks.classification import ClassSettings
from afina.tasks.predictions import Decoded, Prediction, Shown, short
from afina.tasks.source import Source
from afina.tasks.state import Labels, State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MultiLabel", "SeveralLabels"]


class _Several(State):
    label_names: Labels
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    weights: list[Annotated[float, Field(ge=0)]] | None = None
    thresholds: list[Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _each(self) -> "_Several":
        for key in ("weights", "thresholds"):
            # A threshold or a weight too few would be another label's.
            if (values := getattr(self, key)) is not None and len(values) != len(self.label_names):
                raise ValueError(f"{key} should be {len(self.label_names)}, as many as labels, not {len(values)}")
        return self


@dataclass(frozen=True)
class SeveralLabels(Prediction):
    """The labels of a text, none or several, with every label's probability; `label` has them in one text."""

    labels: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SeveralLabels({', '.join(map(repr, self.labels)) or 'none'})"

    def as_dict(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "probabilities": self.probabilities}

    def shown(self, at_least: float | None) -> Shown:
        each = {name: short(p) for name, p in (self.probabilities or {}).items()}
        return Shown(
            {"labels": list(self.labels), "probabilities": each},
            {"prediction": self.label, **{f"p({name})": p for name, p in each.items()}},
        )


@task("multilabel", "multi-label", "multi_label", "multi_label_classification")
class MultiLabel(Task):
    """Any of K labels a row; labels and predictions are (N, K) of 0 and 1."""

    pipeline_tag = "text-classification"
    does = "It gives {input} those of {count} labels that hold, or none: {labels}."
    answers = "sets"
    metric = "micro_f1"
    several = True
    answer_form = "labels"
    Settings = ClassSettings
    stratified = False
    develops = True
    embedded = False
    problem_type = "multi_label_classification"
    answers_with = "none or several labels"
    State = _Several
    taught_by = frozenset({"answers", "states"})
    notes = (
        ("the labels are the columns of 0 and 1: {list}", "os rótulos são as colunas de 0 e 1: {list}"),
        (
            "the labels of a row stand in one text, with '{mark}' between them",
            "os rótulos de uma linha estão num só texto, com '{mark}' entre eles",
        ),
        (
            "the {count} labels of '{column}', 0 or 1 each, have no names: they are numbered from 0",
            "os {count} rótulos de '{column}', 0 ou 1 cada um, não têm nome: são numerados a partir de 0",
        ),
        (
            "of {list} nothing can be learned: every train row has it, or none",
            "de {list} nada se pode aprender: toda linha de treino o tem, ou nenhuma",
        ),
        (
            "no test row has {list}: how well it is told is not measured",
            "nenhuma linha de teste tem {list}: quão bem é distinguido não se mede",
        ),
    )
    label_names: tuple[str, ...]

    def __init__(
        self, label_names: Sequence[str], *, smoothing: float = 0.0, weights: Sequence[float] | None = None,
        thresholds: Sequence[float] | None = None,
    ) -> None:  # fmt: skip
        """Draw the share `smoothing` of each answer to the middle; `weights` has what a row with the label counts for."""
        self.label_names, self.outputs, self.smoothing = tuple(label_names), len(label_names), smoothing
        self.weights = None if weights is None else list(weights)
        self.thresholds = None if thresholds is None else list(thresholds)

    # -- what it learns from

    @classmethod
    def is_meant(cls, parts: Parts) -> bool:
        return bool(parts.spec.flags)

    turn = 2

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        notes = list(source.parts.notes)
        # Columns of 0 and 1, lists and texts with a mark between labels are all made lists of names first.
        parts, read, given = listed_labels(with_columns(source.parts, notes), notes)
        columns = find_columns(parts.tables, parts.spec, parts.where)
        parts = single_split(parts, columns["text"], columns["label"], notes, apart=True)
        tables = with_both(parts, columns, notes)
        sets = {name: [json.loads(own) for own in t[tables.column].to_pylist()] for name, t in tables.kept.items()}
        names = given or tuple(sorted({label for own in sets.values() for row in own for label in row}))
        check_sets(names, sets, tables.where, notes)
        # In the order of their names where none was given: the same rows give the same head on every machine.
        places = {name: place for place, name in enumerate(names)}
        labels = {name: np.zeros((len(own), len(names)), dtype=np.int8) for name, own in sets.items()}
        for name, rows in sets.items():
            for row, its in enumerate(rows):
                labels[name][row, [places[label] for label in its]] = 1
        splits = tables.rows(labels)
        made = tables.finished(source.spec, cls.name, names, splits, source.train_limit, source.test_limit)
        # Named again as the person has them: the column of lists was made here.
        return replace(made, columns={**made.columns, "label": read if len(read) > 1 else read[0]})

    @classmethod
    def made_for(cls, data: TextDataset, settings: ClassSettings, spec: DatasetSpec, tokenizer: Any) -> Self:
        names, wanted = data.label_names or (), settings.class_weights
        weights: list[float] | None = None
        if isinstance(wanted, Mapping):
            if unknown := [label for label in wanted if label not in names]:
                raise UsageError(f"class_weights: there is no class '{unknown[0]}'{nearest(unknown[0], names)}")
            weights = [float(wanted.get(label, 1.0)) for label in names]
        elif wanted is not None:  # balanced: rows with and without a label count alike
            there = data.train.label.sum(axis=0).clip(min=1)
            weights = ((len(data.train) - there).clip(min=1) / there).tolist()
        return cls(names, smoothing=settings.label_smoothing, weights=weights)

    @classmethod
    def of_labels(cls, names: Sequence[str]) -> Self:
        return cls(names)

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, float] | None = None) -> "Tensor":
        from torch.nn.functional import binary_cross_entropy_with_logits

        # Divided by the number of labels, so that a row weighs as much as one of a task with a single label.
        target = labels.to(logits.dtype) * (1 - self.smoothing) + self.smoothing / 2
        by_label = None if self.weights is None else logits.new_tensor(self.weights)
        each = binary_cross_entropy_with_logits(logits, target, pos_weight=by_label, reduction="sum")
        return each / self.outputs

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float) -> "Tensor":
        """Return T^2 KL of each label's yes and no, over the number of labels as in `loss`."""
        from torch.nn.functional import logsigmoid

        student, teacher = outputs.float() / temperature, taught.float() / temperature
        apart = sum(
            logsigmoid(sign * teacher).exp() * (logsigmoid(sign * teacher) - logsigmoid(sign * student))
            for sign in (1.0, -1.0)
        )
        assert not isinstance(apart, int)
        return temperature**2 * apart.sum() / self.outputs

    def hard_loss(self, outputs: "Tensor", taught: "Tensor") -> "Tensor":
        return self.loss(outputs, (taught > 0).to(outputs.dtype))

    # -- what it gives

    def decode(self, logits: np.ndarray) -> Decoded:
        # Beyond 80 the sigmoid is 0 or 1 to the last digit of a float, and the exponential would overflow.
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        return Decoded((scores >= self._cuts()).astype(np.int8), scores)

    def _cuts(self) -> np.ndarray:
        return np.array(self.thresholds if self.thresholds is not None else [0.5] * self.outputs)

    def developed(self, tokens: Tokens, logits: np.ndarray) -> "MultiLabel":
        scores = self.decode(logits).scores
        # Each label has a cut of its own: rare ones are often right far below 0.5.
        cuts = [_best_cut(scores[:, place], tokens.labels[:, place]) for place in range(self.outputs)]
        # A task of its own: the one that was trained with goes on with its thresholds until the whole run is read.
        made = MultiLabel(self.label_names, smoothing=self.smoothing, weights=self.weights, thresholds=cuts)
        if self.first_metric is not None:
            made.put_first(self.first_metric)
        return made

    def predictions(
        self, texts: Sequence[Any], tokens: Tokens, logits: np.ndarray, choices: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Prediction]:
        """Return the labels of each text whose probability reaches their threshold."""
        decoded = self.decode(logits)
        return [
            SeveralLabels("; ".join(labels), dict(zip(self.label_names, map(float, scores), strict=True)), labels)
            for labels, scores in zip(self.shown(decoded.predictions), decoded.scores, strict=True)
        ]

    def fields(self, choices: Sequence[str] | None, *, unsure: bool) -> tuple[str, ...]:
        return ("prediction", *(f"p({name})" for name in self.label_names))

    def nothing(self, *, unsure: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"labels": None, "probabilities": None}, {}

    def shown(self, values: np.ndarray) -> np.ndarray:
        names = np.array(self.label_names, dtype=object)
        # Tuples of different lengths make a row each, where `np.array` would take tuples of one length for a table.
        return np.fromiter((tuple(names[row > 0]) for row in values), dtype=object, count=len(values))

    def same(self, first: "Tensor", second: "Tensor") -> "Tensor":
        # Probabilities may part a little where neither crosses its threshold: what counts is which labels are given.
        a, b = (value.sigmoid() >= value.new_tensor(self._cuts()) for value in (first, second))
        return (a == b).all(dim=1)

    def own_state(self) -> dict[str, Any]:
        more = {"smoothing": self.smoothing or None, "weights": self.weights, "thresholds": self.thresholds}
        return {"label_names": list(self.label_names)} | {k: v for k, v in more.items() if v is not None}


def _best_cut(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the threshold with the highest F1, midway to the next lower score; of equals the one nearest to 0.5."""
    if not labels.any():  # nothing to choose by
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    # F1 of taking the first k rows, for every k at once: 2 TP / (predicted + there).
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + labels.sum())
    last = np.append(ranked[1:] < ranked[:-1], True)  # a cut parts no equal scores
    cuts = (ranked + np.append(ranked[1:], 0.0)) / 2
    best = np.flatnonzero(last & np.isclose(f1, f1[last].max()))
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])

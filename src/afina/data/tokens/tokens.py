"""Tokenised rows of one split: one type a kind, by what its rows are to learn.

A text has one label (`LabelledTokens`, also a number, or several labels that are there or not), a tag for each word
(`TaggedTokens`), answers to choose from (`AnswerTokens`), tokens of its own to write (`WrittenTokens`), or passages that
answer it and that do not (`PassageTokens`). Images are `Pixels`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

__all__ = [
    "IGNORED", "KINDS", "AnswerTokens", "LabelledTokens", "PassageTokens", "Pixels", "TaggedTokens", "TargetTokens",
    "TextTokens", "Tokens", "WrittenTokens", "joined",
]  # fmt: skip

IGNORED = -100
"""Marks, in targets, that nothing is learned here."""


@dataclass(frozen=True)
class Tokens(ABC):
    """Holds the rows of one split as a model reads them, each of one or several sequences."""

    ids: np.ndarray
    """Input of the model: the tokens of all sequences end to end, or the pixels of each image."""
    offsets: np.ndarray
    """Bounds of the sequences, in tokens or patches: sequence i has those from `offsets[i]` to `offsets[i + 1]`."""
    labels: np.ndarray
    """(N,), or (N, K) where a row has several."""
    cut: int = 0
    """Texts that were longer than the limit."""
    by_word: ClassVar[bool] = False
    """True where every word has a label and an output, not every row."""

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.choices

    @property
    def choices(self) -> int:
        """Return how many sequences a row has."""
        return 1

    @property
    def texts_cut(self) -> int:
        """Return how many texts were longer than the limit, each counted once, however many sequences it has."""
        return self.cut

    @property
    def lengths(self) -> np.ndarray:
        """Return the tokens of each row, (N,); of its longest sequence where there are several."""
        lengths: np.ndarray = np.diff(self.offsets).reshape(-1, self.choices).max(axis=1)
        return lengths

    def lengths_of(self, sequences: np.ndarray) -> np.ndarray:
        """Return the tokens of these sequences; `lengths` looks at all of them, which a step has no time for."""
        lengths: np.ndarray = self.offsets[sequences + 1] - self.offsets[sequences]
        return lengths

    def sequences(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the sequences of these rows."""
        return (rows[:, None] * self.choices + np.arange(self.choices)).reshape(-1)

    @cached_property
    def trained(self) -> np.ndarray:
        """Count the terms of each row's loss, (N,): one where a row has a label."""
        return np.ones(len(self), dtype=np.int64)

    @property
    def read(self) -> int:
        """Return how many tokens an epoch reads."""
        return int(self.offsets[-1])

    def evaluated(self) -> "Tokens":
        """Return the rows as an evaluation reads them, which is not how they are learned where rows share texts."""
        return self

    def output_labels(self) -> np.ndarray:
        """Return the labels of all outputs: of the rows, or of the words in order where words have them."""
        return self.labels

    @abstractmethod
    def take(self, rows: np.ndarray) -> Self:
        """Return only these rows, in this order; what was counted of all rows is not known of them."""

    def parts(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Return what a file keeps: arrays and counts by field, of which `KINDS[kind](...)` makes the rows again."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        return arrays, {name: value for name, value in values.items() if isinstance(value, int)}


@dataclass(frozen=True)
class Pixels(Tokens):
    """Holds images (N, C, H, W) with a label each; the offsets count patches."""

    def take(self, rows: np.ndarray) -> Self:
        # Cuts were counted over all rows, and say nothing of some.
        return replace(self, ids=self.ids[rows], offsets=_ends(self.lengths[rows]), labels=self.labels[rows], cut=0)


@dataclass(frozen=True)
class TextTokens(Tokens):
    """Holds texts; every kind of them below may be in one batch with its like."""

    segments: np.ndarray | None = None
    """The sentence (0 or 1) of each token, for models that ask for it."""

    def columns(self) -> Mapping[str, np.ndarray]:
        """Return what there is of each token, by field."""
        return {"ids": self.ids} | ({} if self.segments is None else {"segments": self.segments})

    def take(self, rows: np.ndarray) -> Self:
        sequences = self.sequences(rows)
        pieces = [slice(self.offsets[index], self.offsets[index + 1]) for index in sequences]
        changed: dict[str, Any] = self._taken(sequences)
        for name, values in self.columns().items():
            changed[name] = np.concatenate([values[piece] for piece in pieces])
        return replace(self, offsets=_ends(self.lengths_of(sequences)), labels=self.labels[rows], **changed)

    def _taken(self, sequences: np.ndarray) -> dict[str, Any]:
        """Return a kind's own fields of these sequences, its counts at zero."""
        return {"cut": 0}


@dataclass(frozen=True)
class LabelledTokens(TextTokens):
    """Holds texts with a label each: a class, a number, or (N, K) labels that are there or not."""

    group: np.ndarray | None = None
    """The group of each row (N,), -1 for none, where classes are decided by it."""

    def _taken(self, sequences: np.ndarray) -> dict[str, Any]:
        return {"cut": 0, "group": None if self.group is None else self.group[sequences]}


@dataclass(frozen=True, kw_only=True)
class AnswerTokens(TextTokens):
    """Holds questions, each as one sequence for every answer to choose from, one after another."""

    answers: np.ndarray
    """Last tokens of each sequence that are the answer; 0 where a question has fewer than `most`."""
    most: int
    """Answers, and so sequences, that each question has."""
    rows_cut: int = 0
    """Questions that were cut before one of their answers at least; `cut` counts each answer's."""

    @property
    def choices(self) -> int:
        return self.most

    @property
    def texts_cut(self) -> int:
        return self.rows_cut

    def _taken(self, sequences: np.ndarray) -> dict[str, Any]:
        return {"cut": 0, "rows_cut": 0, "answers": self.answers[sequences]}


@dataclass(frozen=True, kw_only=True)
class PassageTokens(TextTokens):
    """Holds questions and passages, each as one sequence, the questions first; a row is a question and passages.

    `labels` (N, `most` + R) are numbers of passages: of those that the row brings, the first of which answers, and of all R
    that answer its question, -1 where it has fewer.
    """

    questions: np.ndarray
    """Sequence of each row's question, (N,)."""
    asked: int
    """Number of questions, and so the first passage's sequence."""
    most: int
    """Passages that a row brings."""

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def choices(self) -> int:
        return 1 + self.most

    @property
    def lengths(self) -> np.ndarray:
        sequences = self.sequences(np.arange(len(self)))
        lengths: np.ndarray = self.lengths_of(sequences).reshape(-1, self.choices).max(axis=1)
        return lengths

    def sequences(self, rows: np.ndarray) -> np.ndarray:
        brought = self.asked + self.labels[rows, : self.most]
        sequences: np.ndarray = np.concatenate([self.questions[rows, None], brought], axis=1).reshape(-1)
        return sequences

    @property
    def read(self) -> int:
        return int(self.lengths_of(self.sequences(np.arange(len(self)))).sum())

    def take(self, rows: np.ndarray) -> Self:
        return replace(self, questions=self.questions[rows], labels=self.labels[rows], cut=0)

    def evaluated(self) -> LabelledTokens:
        """Return each of the rows' questions once, and behind them all passages: a text a row.

        The labels (Q + P, R) of a question are the passages that answer it; of a passage there is none, -1.
        """
        # The first row of each question stands for it: they have the same answers.
        asked, rows = np.unique(self.questions, return_index=True)
        texts = np.concatenate([asked, np.arange(self.asked, len(self.offsets) - 1)])
        right = self.labels[rows, self.most :]
        labels = np.full((len(texts), right.shape[1]), -1, dtype=np.int64)
        labels[: len(asked)] = right
        each = LabelledTokens(self.ids, self.offsets, np.zeros(len(self.offsets) - 1), self.cut, self.segments)
        return replace(each.take(texts), labels=labels, cut=self.cut)


@dataclass(frozen=True, kw_only=True)
class TargetTokens(TextTokens):
    """Holds texts whose tokens are learned one by one."""

    targets: np.ndarray
    """The right output of the model at each token, as long as `ids`; `IGNORED` where nothing is trained."""

    def columns(self) -> Mapping[str, np.ndarray]:
        return {**super().columns(), "targets": self.targets}

    @cached_property
    def trained(self) -> np.ndarray:
        """Count the targets of each row, (N,)."""
        # Sums at the rows' bounds: a loop over rows would take seconds for a large set.
        before = np.concatenate([[0], np.cumsum(self.targets != IGNORED)])
        counts: np.ndarray = np.diff(before[self.offsets])
        return counts


@dataclass(frozen=True, kw_only=True)
class TaggedTokens(TargetTokens):
    """Holds texts of words with a label each: `labels` (N, W) are `IGNORED` behind a row's words.

    A word's target, its label, stands at its first token.
    """

    by_word = True

    def output_labels(self) -> np.ndarray:
        labels: np.ndarray = self.targets[self.targets != IGNORED]
        return labels


@dataclass(frozen=True, kw_only=True)
class WrittenTokens(TargetTokens):
    """Holds texts to write: a token's target is the token that follows it, and a row's label how many targets it has."""

    turns: int = 0
    """Texts or answers that there are to write, in all rows."""
    endless: int = 0
    """Those of them whose end was cut off."""

    def _taken(self, sequences: np.ndarray) -> dict[str, Any]:
        return {"cut": 0, "turns": 0, "endless": 0}


KINDS: dict[str, type[Tokens]] = {
    "labelled": LabelledTokens,
    "tagged": TaggedTokens,
    "answers": AnswerTokens,
    "written": WrittenTokens,
    "passages": PassageTokens,
    "pixels": Pixels,
}
"""Each kind of tokens, by the name that files have for it."""


def joined(first: LabelledTokens, second: LabelledTokens) -> LabelledTokens:
    """Return the rows of both, one after another."""
    segments = None
    if first.segments is not None and second.segments is not None:
        segments = np.concatenate([first.segments, second.segments])
    return LabelledTokens(
        np.concatenate([first.ids, second.ids]), np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        np.concatenate([first.labels, second.labels]), first.cut + second.cut, segments,
    )  # fmt: skip


def _ends(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])

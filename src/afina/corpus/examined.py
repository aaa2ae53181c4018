"""Examine the rows of a study before anything is trained: leaked test rows, doubted labels, labels by group and language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afina.corpus.balance import AxisBalance, Balance, LabelRows
from afina.corpus.label_noise import LabelNoise, LabelNoiseSearch
from afina.corpus.languages import language_of
from afina.corpus.leaks import Leaks, TrainMarks
from afina.data.groups.word_lists import read_word_lists

__all__ = ["ExaminedRows", "GroupColumns", "RowExamination", "examine"]

_SIMILARITY = 0.8
_BALANCED = 20_000
"""Train rows, from everywhere, whose groups, lengths and languages are counted."""


@dataclass(frozen=True)
class ExaminedRows:
    """Holds a split's texts, of pairs both in one, their labels by name if they have one each, and numbers in their files."""

    texts: Sequence[str]
    labels: Sequence[str] | None = None
    numbers: Sequence[int] | None = None

    def place(self, row: int) -> str:
        return f"row {(row if self.numbers is None else int(self.numbers[row]) - 1) + 1}"


@dataclass(frozen=True)
class GroupColumns:
    """Says by what train rows are put into groups."""

    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Values of the train rows in columns that are groups."""
    words: str | None = None
    """A person's own file of words in the place of ours."""

    @property
    def named(self) -> list[str]:
        """Return what tells it from another."""
        return [*self.columns, *([] if self.words is None else [self.words])]


@dataclass(frozen=True)
class RowExamination:
    """Holds what was found in a study's rows."""

    train_rows: int
    test_rows: int
    counted: int
    """Train rows whose groups, lengths and languages were counted."""
    leaks: Leaks
    noise: LabelNoise | None = None
    by_label: Mapping[str, LabelRows] = field(default_factory=dict)
    """Rows, mean length in words, and languages of each label."""
    groups: Sequence[AxisBalance] = ()
    grouped: Sequence[str] = ()
    """Columns, and a person's file of words, that rows were grouped by."""

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self), "leaks": self.leaks.as_dict(), "noise": self.noise and self.noise.as_dict(),
            "by_label": {label: vars(rows) for label, rows in self.by_label.items()},
            "groups": [axis.as_dict() for axis in self.groups],
        }  # fmt: skip

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "RowExamination":
        """Return what `as_dict` gave; raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` for anything else."""
        return cls(
            train_rows=values["train_rows"], test_rows=values["test_rows"], counted=values["counted"],
            leaks=Leaks.of(values["leaks"]), noise=None if values["noise"] is None else LabelNoise.of(values["noise"]),
            by_label={label: LabelRows(**rows) for label, rows in values["by_label"].items()},
            groups=[AxisBalance.of(axis) for axis in values["groups"]], grouped=values.get("grouped", ()),
        )  # fmt: skip


def examine(train: ExaminedRows, test: ExaminedRows, grouped: GroupColumns | None = None) -> RowExamination:
    """Look at the rows; a few hundred bytes a train row are kept meanwhile, and of many rows a part is looked at.

    Labels are counted by what `grouped` says. Raises `UsageError` for a column that is no grouping.
    """
    grouped = grouped or GroupColumns()
    marks, noise = TrainMarks(), LabelNoiseSearch()
    balance = Balance(tuple(grouped.columns), read_word_lists(grouped.words))
    each = max(1, -(-len(train.texts) // _BALANCED))
    for row, text in enumerate(train.texts):
        marks.add(text)
        if train.labels is None:
            continue
        noise.add(text, train.labels[row], train.place(row))
        if row % each == 0:
            others = {name: values[row] for name, values in grouped.columns.items()}
            balance.add(text, train.labels[row], len(text.split()), language_of(text), others)
    return RowExamination(
        len(train.texts), len(test.texts), -(-len(train.texts) // each),
        marks.found_in(test.texts, _SIMILARITY, train=train.place, test=test.place),
        noise.found(), balance.by_label(), balance.by_group(), grouped.named,
    )  # fmt: skip

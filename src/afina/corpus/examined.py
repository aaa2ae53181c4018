"""Examine the rows of a study before anything is trained: leaked test rows, doubted labels, labels by group and language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afina.corpus.balance import AxisBalance, Balance, LabelRows
from afina.corpus.label_noise import LabelNoise, LabelNoiseSearch
from afina.corpus.languages import language_of
from afina.corpus.leaks import Leaks, TrainMarks

__all__ = ["ExaminedRows", "RowExamination", "examine"]

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
            groups=[AxisBalance.of(axis) for axis in values["groups"]],
        )  # fmt: skip


def examine(train: ExaminedRows, test: ExaminedRows) -> RowExamination:
    """Look at the rows; a few hundred bytes a train row are kept meanwhile, and of many rows a part is looked at."""
    marks, noise, balance = TrainMarks(), LabelNoiseSearch(), Balance()
    each = max(1, -(-len(train.texts) // _BALANCED))
    for row, text in enumerate(train.texts):
        marks.add(text)
        if train.labels is None:
            continue
        noise.add(text, train.labels[row], train.place(row))
        if row % each == 0:
            balance.add(text, train.labels[row], len(text.split()), language_of(text))
    return RowExamination(
        len(train.texts), len(test.texts), -(-len(train.texts) // each),
        marks.found_in(test.texts, _SIMILARITY, train=train.place, test=test.place),
        noise.found(), balance.by_label(), balance.by_group(),
    )  # fmt: skip

"""Count labels by group, by length and by language, before anything is trained: what a model is given to learn from.

Groups are a column's values, or are found by words (`data/groups/words.yaml`), with the limits that stand there. Labels that
are shared out otherwise in one group than in another are told by a chi-squared test of independence, its p-value times the
number of axes tested. Rows that say what an earlier one says, with its label and columns, are counted, and not tested: copies
would make any difference sure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from afina.data.cell_text import cell_text
from afina.data.groups.grouping import MOST_GROUPS, NONE, by_words, check_groups
from afina.data.groups.word_lists import WordLists, read_word_lists
from afina.data.plain_words import as_said
from afina.errors import UsageError

__all__ = ["FEWEST", "MOST_LABELS", "AxisBalance", "Balance", "LabelRows"]

FEWEST = 30
"""Rows with a label that a group needs to be compared."""
MOST_LABELS = 50
"""Labels beyond which they are no classes."""


@dataclass(frozen=True)
class AxisBalance:
    """Says how labels are shared out among the groups of one axis."""

    axis: str
    counts: dict[str, dict[str, int]]
    """Rows by group and label."""
    several: int
    """Rows with words of several groups, which are in none."""
    p_value: float | None
    """The probability of so uneven labels by chance, corrected for the axes that were tested; None where none was."""
    too_small: tuple[str, ...]
    """Groups with fewer rows than are compared."""

    @property
    def is_uneven(self) -> bool:
        """Return whether chance does not explain it."""
        return self.p_value is not None and self.p_value < 0.05

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "too_small": list(self.too_small), "is_uneven": self.is_uneven}

    @classmethod
    def of(cls, values: dict[str, Any]) -> "AxisBalance":
        """Return what `as_dict` gave; raises `KeyError` or `TypeError` for anything else."""
        plain = {name: values[name] for name in ("axis", "counts", "several", "p_value")}
        return cls(**plain, too_small=tuple(values["too_small"]))


@dataclass(frozen=True)
class LabelRows:
    """Says what the rows of one label are like."""

    rows: int
    mean_length: float
    languages: dict[str, int]


@dataclass
class Balance:
    """Counts rows as they pass by."""

    columns: Sequence[str] = ()
    """Columns whose values are groups, beside those that words are found of."""
    lists: WordLists = field(default_factory=read_word_lists)
    _axes: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    _tested: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """The same of rows that come for the first time."""
    _seen: set[int] = field(default_factory=set)
    """Hashes of what was said with which label and columns."""
    _several: Counter[str] = field(default_factory=Counter)
    _lengths: dict[str, list[int]] = field(default_factory=dict)
    _languages: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, text: str, label: str, length: int, language: str, others: Mapping[str, Any] | None = None) -> None:
        """Take a row with a label, and its `others` columns."""
        if label not in self._lengths:
            # A column with a value a row is no label, and would fill memory.
            if len(self._lengths) > MOST_LABELS:
                return
            self._lengths[label], self._languages[label] = [0, 0], Counter()
        self._lengths[label][0] += 1
        self._lengths[label][1] += length
        self._languages[label][language] += 1
        given = {name: (others or {}).get(name) for name in self.columns}
        values = {name: cell_text(value) for name, value in given.items()}
        key = hash((as_said(text), label, *values.values()))
        counted = [self._axes] if key in self._seen else [self._axes, self._tested]
        self._seen.add(key)
        for name, value in values.items():
            groups = self._axes.setdefault(name, {})
            # One more than are groups is enough to know that these are none.
            if value and (value in groups or len(groups) <= MOST_GROUPS):
                for axes in counted:
                    axes.setdefault(name, {}).setdefault(value, Counter())[label] += 1
        for name, axis in self.lists.axes.items():
            grouping = by_words([text], axis)
            self._several[name] += grouping.several
            if (group := int(grouping.of[0])) != NONE:
                for axes in counted:
                    axes.setdefault(name, {}).setdefault(grouping.groups[group], Counter())[label] += 1

    def by_label(self) -> dict[str, LabelRows]:
        """Return what the rows of each label are like; nothing where there is one label, or too many."""
        if not 1 < len(self._lengths) <= MOST_LABELS:
            return {}
        return {
            label: LabelRows(rows, total / rows, dict(self._languages[label].most_common()))
            for label, (rows, total) in self._lengths.items()
        }

    def by_group(self) -> list[AxisBalance]:
        """Return how labels are shared out, for each axis with rows in a group; nothing where there are too many labels.

        Raises `UsageError` for a column that is no grouping, and where labels were to be counted by one and there are none.
        """
        if not 1 < len(self._lengths) <= MOST_LABELS:
            if self.columns:
                count = len(self._lengths) if len(self._lengths) <= MOST_LABELS else f"more than {MOST_LABELS}"
                raise UsageError(
                    f"Labels are counted by '{self.columns[0]}' where there are from 2 to {MOST_LABELS} of them, not {count}"
                    "; say which column has them with --label."
                )
            return []
        for name in self.columns:
            check_groups(name, len(self._axes[name]), at_least=True)
        tests = {name: _p_value(self._tested.get(name, {})) for name in self._axes}
        made = sum(p is not None for p in tests.values())
        return [
            AxisBalance(
                name, {group: dict(counts) for group, counts in groups.items()}, self._several[name],
                None if (p := tests[name]) is None else min(1.0, p * made),
                tuple(group for group in groups if self._tested[name][group].total() < FEWEST),
            )
            for name, groups in self._axes.items()
        ]  # fmt: skip


def _p_value(groups: Mapping[str, Counter[str]]) -> float | None:
    """Return the p-value of independence of group and label; None where fewer than two groups have enough rows."""
    large = [counts for counts in groups.values() if counts.total() >= FEWEST]
    labels = sorted({label for counts in large for label in counts})
    if len(large) < 2 or len(labels) < 2:
        return None
    from scipy.stats import chi2_contingency

    table = np.array([[counts[label] for label in labels] for counts in large])
    return float(chi2_contingency(table).pvalue)

"""Decide between two classes by a threshold for each group, chosen on the development split.  Hardt et al., 2016.

Nothing of the training changes; what is learned from is what the same method learns from without it. What it costs is that
the group of each text has to be known when it is answered, and that equal texts of two groups may be answered unequally.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.data.groups.grouping import NONE, Grouping
from afina.errors import UsageError
from afina.mitigation.base import MitigatedRows, Mitigation, mitigation
from afina.tasks.group_rule import Equal, GroupRule

__all__ = ["GroupThresholds"]


@mitigation("thresholds")
@dataclass(frozen=True, kw_only=True)
class GroupThresholds(Mitigation):
    """Chooses a threshold for each group, so that one rate is the same in all of them."""

    develops = True

    equal: Equal = "false_negatives"
    """The rate that is made equal: rows of the second class that are not found, or (`selection`) how often it is answered."""
    fewest: int = 30
    """Development rows that a group needs for a threshold of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fewest < 5:
            raise UsageError(
                f"{self.name}: a threshold is chosen on 5 rows or more, so fewest cannot be {self.fewest}."
            )

    def learned(self, texts: Sequence[str], labels: np.ndarray, values: Sequence[Any] | None = None) -> MitigatedRows:
        grouping = self.grouped(texts, values)
        if len(np.unique(labels)) > 2:
            raise UsageError(
                f"{self.name}: a threshold decides between two classes, and these rows have {len(np.unique(labels))}; take "
                "another mitigation."
            )
        return MitigatedRows((), rule=self._rule(grouping))

    def _rule(self, grouping: Grouping) -> GroupRule:
        if self.column is not None:
            return GroupRule(groups=list(grouping.groups), equal=self.equal, fewest=self.fewest, column=self.column)
        # With the words in it the adapter finds groups as they were found, whatever lists there are by then.
        axis = self.axis()
        return GroupRule(
            groups=[group.name for group in axis.groups], equal=self.equal, fewest=self.fewest, axis=axis.name,
            words=[sorted(group.words) for group in axis.groups],
        )  # fmt: skip

    def check_development(self, rule: GroupRule, labels: np.ndarray, group: np.ndarray, names: Sequence[str]) -> str:
        """Return a note on the development rows; raises `UsageError` where they are too few for two thresholds."""
        counted = np.ones(len(labels), dtype=bool) if self.equal == "selection" else labels == 1
        rows = np.bincount(group[counted & (group != NONE)], minlength=len(rule.groups))
        enough = rows >= self.fewest
        if enough.sum() < 2:
            of_class = "" if self.equal == "selection" else f" labelled '{names[1]}'"
            shown = ", ".join(f"{name} {count}" for name, count in zip(rule.groups, rows, strict=True) if count)
            raise UsageError(
                f"{self.name}: of the development rows no two groups of {self.groups_by} have {self.fewest} rows{of_class} "
                f"({shown or 'none'}); give more rows, lower fewest, or leave it out."
            )
        chosen = ", ".join(f"{name} ({rows[place]})" for place, name in enumerate(rule.groups) if enough[place])
        return f"thresholds by {self.groups_by}: chosen on development rows of {chosen}"

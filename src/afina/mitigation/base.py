"""Define what a mitigation of bias is, and keep the registry: one more is one file in this folder.

A mitigation looks at the train rows' texts and labels, before any training, and says how each row weighs, in what cells
batches are balanced, or which rows are added. It changes no test row, and no row of anybody who does not ask for it.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from afina.data.groups.grouping import NONE, Grouping, by_column, by_words
from afina.data.groups.word_lists import GroupAxis, read_word_lists
from afina.errors import UsageError
from afina.registry import Registry
from afina.settings import make_named
from afina.tasks.group_rule import GroupRule

__all__ = ["MITIGATIONS", "MitigatedRows", "Mitigation", "chooses", "make_mitigation", "mitigation"]


@dataclass(frozen=True)
class MitigatedRows:
    """Says what a run with a mitigation learns from: the train rows as they are, and what is said of them here."""

    notes: tuple[str, ...]
    """Sentences on what was done, for whoever starts the study."""
    weights: np.ndarray | None = None
    """(N,) factor of each row's loss."""
    cells: np.ndarray | None = None
    """(N,) number of the cell from which batches take as many rows as from any other; `NONE` for rows that come once."""
    added: tuple[tuple[str, int], ...] = ()
    """Texts that are learned too, each with the number of the row whose label it has."""
    rule: GroupRule | None = None
    """The rule by which the group of a row decides, once a model has answered the development split."""


@dataclass(frozen=True, kw_only=True)
class Mitigation(ABC):
    """A way against bias; subclasses add their settings as fields."""

    name: ClassVar[str] = ""
    takes_steps: ClassVar[bool] = True
    """True if it acts on batches or their loss, which a method that is fitted has not."""
    pairs: ClassVar[bool] = True
    """True if rows may be pairs of texts."""
    develops: ClassVar[bool] = False
    """True if something is chosen on a development split, which is then held out of the train rows of all runs."""
    columns: ClassVar[bool] = True
    """True if a column may put rows into groups; what changes words needs words."""

    by: str = "gender"
    """The axis of the lists of words by which rows are put into groups."""
    column: str | None = None
    """A column of the data whose values are the groups, in the place of words."""
    words: str | None = None
    """A YAML file of words in the place of Afina's own, as `afina audit bias --words` takes."""

    def __post_init__(self) -> None:
        if self.column is not None and not self.columns:
            raise UsageError(f"{self.name}: it changes words, of which a column tells nothing; leave column out.")
        if self.column is not None and (self.words is not None or self.by != "gender"):
            raise UsageError(
                f"{self.name}: groups come from a column or from words; leave out column, or by and words."
            )

    @property
    def groups_by(self) -> str:
        """Return what puts rows into groups, as sentences name it."""
        return self.column or self.by

    # Not asked when it is made: an adapter that was trained with a person's words is loaded without their file.
    def axis(self) -> GroupAxis:
        """Return the axis; raises `UsageError` for one that there is not."""
        return read_word_lists(self.words).named([self.by])[0]

    def check(self) -> None:
        """Raise `UsageError` for an axis that there is not, where words put rows into groups."""
        if self.column is None:
            self.axis()

    def grouping(self, texts: Sequence[str], values: Sequence[Any] | None) -> Grouping:
        """Return the groups of texts, or of their `values` in the column where one is named."""
        if self.column is None:
            return by_words(texts, self.axis())
        assert values is not None, "who names a column brings its values"
        return by_column(self.column, values)

    def grouped(self, texts: Sequence[str], values: Sequence[Any] | None = None, fewest: int = 2) -> Grouping:
        """Return the train rows' groups; raises `UsageError` where two have not `fewest` rows each."""
        grouping = self.grouping(texts, values)
        if int((grouping.counts() >= fewest).sum()) < 2:
            otherwise = "name another axis (by:), give words of your own (words:)"
            raise UsageError(
                f"{self.name}: of the train rows no two groups of {self.groups_by} have {fewest} rows; "
                f"{otherwise if self.column is None else 'name another column (column:)'}, or leave it out."
            )
        return grouping

    def check_development(self, rule: GroupRule, labels: np.ndarray, group: np.ndarray, names: Sequence[str]) -> str:
        """Return a note on the rows that something is chosen on; raises `UsageError` where they are too few."""
        raise NotImplementedError(f"{self.name} chooses nothing")

    @abstractmethod
    def learned(self, texts: Sequence[str], labels: np.ndarray, values: Sequence[Any] | None = None) -> MitigatedRows:
        """Return what is learned of train texts with a class each (N,), and their `values` in the column if one is named.

        Raises `UsageError` where it can do nothing.
        """

    def settings(self) -> dict[str, Any]:
        """Return all settings as JSON-able values."""
        return dataclasses.asdict(self)


MITIGATIONS: Registry[type[Mitigation]] = Registry("mitigation", "afina.mitigation")
"""All of them by name."""
mitigation = MITIGATIONS.register


def chooses(methods: Iterable[Any]) -> bool:
    """Return whether any of what a study file names as mitigations chooses something on a development split.

    One that there is not is refused elsewhere, by name.
    """
    names = (next(iter(given), "") if isinstance(given, Mapping) else given for given in methods)
    return any(isinstance(name, str) and name in MITIGATIONS and MITIGATIONS[name].develops for name in names)


def make_mitigation(given: Any, start: str = "") -> Mitigation:
    """Make what a study file names: `reweigh`, or {reweigh: {by: age}}; raises `UsageError` as `make_named`."""
    return make_named(MITIGATIONS, given, f"{start}mitigate: ")


def cells_of(grouping: Grouping, labels: np.ndarray) -> np.ndarray:
    """Return the number of each row's group and label together (N,), `NONE` for rows of no group."""
    classes = int(labels.max(initial=0)) + 1
    return np.where(grouping.of == NONE, NONE, grouping.of * classes + labels)

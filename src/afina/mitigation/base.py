"""Define what a mitigation of bias is, and keep the registry: one more is one file in this folder.

A mitigation looks at the train rows' texts and labels, before any training, and says how each row weighs, in what cells
batches are balanced, or which rows are added. It changes no test row, and no row of anybody who does not ask for it.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from afina.data.groups.grouping import NONE, Grouping, by_words
from afina.data.groups.word_lists import GroupAxis, read_word_lists
from afina.errors import UsageError
from afina.registry import Registry
from afina.settings import make_named

__all__ = ["MITIGATIONS", "MitigatedRows", "Mitigation", "make_mitigation", "mitigation"]


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


@dataclass(frozen=True, kw_only=True)
class Mitigation(ABC):
    """A way against bias; subclasses add their settings as fields."""

    name: ClassVar[str] = ""
    takes_steps: ClassVar[bool] = True
    """True if it acts on batches or their loss, which a method that is fitted has not."""
    pairs: ClassVar[bool] = True
    """True if rows may be pairs of texts."""

    by: str = "gender"
    """The axis of the lists of words by which rows are put into groups."""
    words: str | None = None
    """A YAML file of words in the place of Afina's own, as `afina audit bias --words` takes."""

    # Not asked when it is made: an adapter that was trained with a person's words is loaded without their file.
    def axis(self) -> GroupAxis:
        """Return the axis; raises `UsageError` for one that there is not."""
        return read_word_lists(self.words).named([self.by])[0]

    def grouped(self, texts: Sequence[str], fewest: int = 2) -> Grouping:
        """Return the texts' groups; raises `UsageError` where two have not `fewest` rows each."""
        grouping = by_words(texts, self.axis())
        if int((grouping.counts() >= fewest).sum()) < 2:
            raise UsageError(
                f"{self.name}: of the train rows no two groups of {self.by} have {fewest} rows; name another axis (by:), "
                "give words of your own (words:), or leave it out."
            )
        return grouping

    @abstractmethod
    def learned(self, texts: Sequence[str], labels: np.ndarray) -> MitigatedRows:
        """Return what is learned of train texts with a class each (N,); raises `UsageError` where it can do nothing."""

    def settings(self) -> dict[str, Any]:
        """Return all settings as JSON-able values."""
        return dataclasses.asdict(self)


MITIGATIONS: Registry[type[Mitigation]] = Registry("mitigation", "afina.mitigation")
"""All of them by name."""
mitigation = MITIGATIONS.register


def make_mitigation(given: Any, start: str = "") -> Mitigation:
    """Make what a study file names: `reweigh`, or {reweigh: {by: age}}; raises `UsageError` as `make_named`."""
    return make_named(MITIGATIONS, given, f"{start}mitigate: ")


def cells_of(grouping: Grouping, labels: np.ndarray) -> np.ndarray:
    """Return the number of each row's group and label together (N,), `NONE` for rows of no group."""
    classes = int(labels.max(initial=0)) + 1
    return np.where(grouping.of == NONE, NONE, grouping.of * classes + labels)

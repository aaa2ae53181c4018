"""Put rows into groups: by a column, by words, or by two groupings at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from afina.data.cell_text import cell_text
from afina.data.groups.word_lists import GroupAxis
from afina.data.plain_words import plain_words
from afina.errors import UsageError

__all__ = [
    "MOST_GROUPS",
    "NONE",
    "Grouping",
    "alike",
    "by_column",
    "by_words",
    "check_groups",
    "crossed",
    "refuse_read",
]

NONE = -1
"""The group of a row that is in none, or in several at once."""
MOST_GROUPS = 50
"""Values of a column beyond which it says something else than a group."""


@dataclass(frozen=True)
class Grouping:
    """Says of each row in which group it is."""

    name: str
    groups: tuple[str, ...]
    of: np.ndarray
    """(N,) number of each row's group, or `NONE`."""
    by: Literal["words", "column", "both"]
    several: int = 0
    """Rows with words of more than one group, which are in none."""

    def counts(self) -> np.ndarray:
        """Return the rows of each group (G,)."""
        return np.bincount(self.of[self.of != NONE], minlength=len(self.groups))

    @property
    def without(self) -> int:
        """Return the rows that are in no group, those with words of several aside."""
        return int((self.of == NONE).sum()) - self.several

    def with_enough(self, fewest: int, counts: np.ndarray | None = None) -> tuple["Grouping", list[tuple[str, int]]]:
        """Return it with the groups of at least so many rows alone, and the others with their rows.

        `counts` (G,) are the groups' rows that are counted, where these are not all.
        """
        counts = self.counts() if counts is None else counts
        large = np.flatnonzero(counts >= fewest)
        place = np.full(len(self.groups) + 1, NONE)  # the last is that of NONE
        place[large] = np.arange(len(large))
        small = [(self.groups[i], int(counts[i])) for i in range(len(self.groups)) if 0 < counts[i] < fewest]
        return Grouping(self.name, tuple(self.groups[i] for i in large), place[self.of], self.by, self.several), small


def by_words(texts: Sequence[str], axis: GroupAxis) -> Grouping:
    """Group texts by an axis's words, whole words in any case; one with words of two groups is in none."""
    of, several = np.full(len(texts), NONE), 0
    for row, text in enumerate(texts):
        groups = {number for word in set(axis.pattern.findall(text.casefold())) for number in axis.places[word]}
        if len(groups) == 1:
            of[row] = groups.pop()
        several += len(groups) > 1
    return Grouping(axis.name, tuple(group.name for group in axis.groups), of, "words", several)


def by_column(name: str, values: Sequence[Any]) -> Grouping:
    """Group rows by a column's values, an empty one and NaN being none; raises `UsageError` for one that is no grouping."""
    texts = [cell_text(value) for value in values]
    groups = tuple(sorted(set(texts) - {""}))
    check_groups(name, len(groups))
    place = {group: number for number, group in enumerate(groups)} | {"": NONE}
    return Grouping(name, groups, np.array([place[text] for text in texts], dtype=np.int64), "column")


def alike(groups: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the groups that differ in case, accents and spaces alone, which may be meant as one."""
    named: dict[str, list[str]] = {}
    for group in groups:
        named.setdefault(" ".join(plain_words(group)) or group, []).append(group)
    return [tuple(several) for several in named.values() if len(several) > 1]


def check_groups(column: str, count: int, *, at_least: bool = False) -> None:
    """Raise `UsageError` for a column with so many values that they are no groups, or with one alone.

    With `at_least` no more than one value too many was counted.
    """
    if not 2 <= count <= MOST_GROUPS:
        many = f"more than {MOST_GROUPS} values" if at_least else f"{count:,} values"
        many = ("no value", "one value alone")[count] if count < 2 else many
        raise UsageError(f"The column '{column}' has {many}; a column of groups has from 2 to {MOST_GROUPS}.")


def refuse_read(column: str, read: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a column of groups from which labels or texts are read: `read` has these by what they are."""
    for what, name in read.items():
        if column == name or (isinstance(name, list) and column in name):
            is_read = "labels are" if what == "label" else "texts are"
            raise UsageError(f"The column '{column}' is the one that {is_read} read from; name another for the groups.")


def crossed(groupings: Sequence[Grouping]) -> list[Grouping]:
    """Return every pair of groupings as one: women who are young, men who are old.

    A pair of which one tells the other (a town and its country) makes no new groups, and is left out.
    """
    pairs = []
    for one, other in combinations(groupings, 2):
        in_both = (one.of != NONE) & (other.of != NONE)
        together = len(np.unique(np.stack([one.of[in_both], other.of[in_both]]), axis=1).T)
        if together <= max(len(np.unique(one.of[in_both])), len(np.unique(other.of[in_both]))):
            continue
        both = np.where((one.of == NONE) | (other.of == NONE), NONE, one.of * len(other.groups) + other.of)
        names = tuple(f"{a} · {b}" for a in one.groups for b in other.groups)
        pairs.append(Grouping(f"{one.name} × {other.name}", names, both, "both"))
    return pairs

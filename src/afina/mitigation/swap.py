"""Add each train row that names a group once more, with the group's words swapped for another's: counterfactual data
augmentation.  Lu et al., 2020, arXiv:1807.11714.

Words are swapped with those at the same place of another group's list in the same language (`data/groups/words.yaml`: she,
he; mother, father), and a word whose list is longer with none, so that such rows are swapped only as far as that goes. Lists
of other axes than gender were not written pair by pair: look at what is added, or give your own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from afina.data.groups.word_lists import GroupAxis
from afina.errors import UsageError
from afina.mitigation.base import MitigatedRows, Mitigation, mitigation

__all__ = ["Swap"]

_OWNED = {"her": "his", "his": "her"}
_WORD_BEHIND = re.compile(r" \w")


@mitigation("swap")
@dataclass(frozen=True, kw_only=True)
class Swap(Mitigation):
    """Adds rows with the words of one group swapped for another's, under the same label."""

    takes_steps = False
    pairs = False

    def learned(self, texts: Sequence[str], labels: np.ndarray) -> MitigatedRows:
        axis, random = self.axis(), np.random.default_rng(0)
        added: list[tuple[str, int]] = []
        for row, text in enumerate(texts):
            if len(others := _groups_in(text, axis)) != 1:
                continue  # of no group, or of several, whose words would be exchanged for each other's
            (group,) = others
            # Of more than two groups one is drawn, evenly over the rows.
            other = (group + int(random.integers(1, len(axis.groups)))) % len(axis.groups)
            if (swapped := _swapped(text, axis, group, other)) != text:
                added.append((swapped, row))
        if not added:
            raise UsageError(
                f"{self.name}: no train row has a word of {self.by} that another group has a word for; name another axis "
                "(by:), give words of your own (words:), or leave it out."
            )
        return MitigatedRows(
            (f"swap by {self.by}: {len(added):,} rows are added with words swapped",), added=tuple(added)
        )


def _groups_in(text: str, axis: GroupAxis) -> set[int]:
    return {number for word in axis.pattern.findall(text.casefold()) for number in axis.places[word]}


def _swapped(text: str, axis: GroupAxis, group: int, other: int) -> str:
    """Return a text with the words of one group exchanged for those of another, in their case."""
    pairs = _pairs(axis, group, other)

    def change(match: re.Match[str]) -> str:
        word, plain = match[0], match[0].casefold()
        # `her` is him, and before a word his; the other way round likewise.
        owned = _OWNED.get(plain) if _WORD_BEHIND.match(match.string, match.end()) else None
        new = owned if owned in pairs.values() else pairs.get(plain)
        if new is None:
            return word
        return new.upper() if word.isupper() and len(word) > 1 else new.capitalize() if word[:1].isupper() else new

    return re.compile(axis.pattern.pattern, re.IGNORECASE).sub(change, text)


def _pairs(axis: GroupAxis, group: int, other: int) -> Mapping[str, str]:
    """Return what each word of a group becomes: the other's word at the same place of its list."""
    ours, theirs = axis.groups[group].lists, axis.groups[other].lists
    pairs: dict[str, str] = {}
    for language, words in ours.items():
        for word, new in zip(words, theirs.get(language, ()), strict=False):
            pairs.setdefault(word, new)
    return pairs

"""Add each train row that names one group once more, with the group's words swapped for another's: counterfactual data
augmentation.  Lu et al., 2020, arXiv:1807.11714.

Words are swapped as the audit swaps them, by pairs (`data/groups/swaps.yaml`: she, he; mother, father) with what agrees in
Portuguese. Of lists of a person's own those at the same place of two lists in one language are a pair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.data.groups.word_lists import LANGUAGES, GroupAxis, NamedGroup
from afina.data.groups.word_swaps import SWAP_AXES, SwappedWords, other_words, sides_of
from afina.errors import UsageError
from afina.mitigation.base import MitigatedRows, Mitigation, mitigation

__all__ = ["Swap"]


@mitigation("swap")
@dataclass(frozen=True, kw_only=True)
class Swap(Mitigation):
    """Adds rows with the words of one group swapped for another's, under the same label."""

    takes_steps = False
    pairs = False
    columns = False

    def learned(self, texts: Sequence[str], labels: np.ndarray, values: Sequence[Any] | None = None) -> MitigatedRows:
        axis, every, random = self.axis(), self._pairs_of_sides(), np.random.default_rng(0)
        added: list[tuple[str, int]] = []
        for row, text in enumerate(texts):
            if self.words is not None and len(_groups_in(text, axis)) > 1:
                continue  # their words would be exchanged for each other's
            if others := [found[1] for sides in every if (found := other_words(text, sides)) is not None]:
                # Of several groups that it could name one is drawn.
                added.append((others[int(random.integers(len(others)))], row))
        if not added:
            raise UsageError(
                f"{self.name}: no train row has a word of {self.by} that another group has a word for; name another axis "
                "(by:), give words of your own (words:), or leave it out."
            )
        return MitigatedRows(
            (f"swap by {self.by}: {len(added):,} rows are added with words swapped",), added=tuple(added)
        )

    def _pairs_of_sides(self) -> list[tuple[SwappedWords, SwappedWords]]:
        """Return what is swapped for what, by language and pair of groups."""
        axis = self.axis()
        if self.words is not None:
            return list(self._own_pairs(axis))
        if self.by not in SWAP_AXES:
            raise UsageError(
                f"{self.name}: {self.by} has no pairs of words, as {', '.join(SWAP_AXES)} have; give some of your own "
                "(words:)."
            )
        return [sides_of(self.by, language) for language in LANGUAGES]

    def _own_pairs(self, axis: GroupAxis) -> Iterator[tuple[SwappedWords, SwappedWords]]:
        for place, first in enumerate(axis.groups):
            for second in axis.groups[place + 1 :]:
                for language in LANGUAGES:
                    ours, theirs = first.lists.get(language, ()), second.lists.get(language, ())
                    if len(ours) != len(theirs):
                        raise UsageError(self._not_pairs(language, first, second))
                    if ours:
                        pairs = list(zip(ours, theirs, strict=True))
                        yield (
                            SwappedWords.of(dict(pairs), {}),
                            SwappedWords.of({other: own for own, other in pairs}, {}),
                        )

    def _not_pairs(self, language: str, first: NamedGroup, second: NamedGroup) -> str:
        counts = (f"{len(group.lists.get(language, ()))} of {group.name}" for group in (first, second))
        return (
            f"{self.name}: {self.words} has {' and '.join(counts)} ({language}); words to be swapped are as many in both "
            "lists, each at the place of the one that stands for it."
        )


def _groups_in(text: str, axis: GroupAxis) -> set[int]:
    return {number for word in axis.pattern.findall(text.casefold()) for number in axis.places[word]}

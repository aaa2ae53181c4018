"""Put a text into the mouth of somebody: the same text in frames that differ in who says it, and in nothing else.

`Mary writes: ...` and `John writes: ...` ask the same. How often answers differ between people of two groups is compared with
how often they differ between two people of one group, which a model does by its noise alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afina.corpus.languages import language_of
from afina.data.groups.word_lists import GroupAxis

__all__ = ["Framed", "framed"]

_FRAMES = {
    "en": ("{person} writes: {text}", "A message from {person}: {text}", "From {person}: {text}"),
    "pt": ("{person} escreve: {text}", "Uma mensagem de {person}: {text}", "De {person}: {text}"),
}
"""Before the text, as of a long one the end is cut."""


@dataclass(frozen=True)
class Framed:
    """Holds rows in frames."""

    axis: str
    groups: tuple[str, ...]
    rows: np.ndarray
    """(R,) the places of the rows that were framed."""
    texts: list[list[str]]
    """For each group the R texts in its frame, and last those of a second person of one group."""
    control: np.ndarray
    """(R,) the number of the group of whom the last texts have a second person."""


def framed(texts: Sequence[str], axis: GroupAxis, rows: np.ndarray, seed: int) -> Framed | None:
    """Put texts into frames of each group of an axis, in their own language; None where two groups cannot be named in it."""
    random = np.random.default_rng(seed)
    languages = ["pt" if language_of(texts[row]) == "pt" else "en" for row in rows]
    # Of all rows in one language: groups that one language cannot name would be compared on other rows.
    language = max(("en", "pt"), key=languages.count)
    groups = axis.framed_in(language)
    taken = np.array([row for row, own in zip(rows, languages, strict=True) if own == language], dtype=np.int64)
    if len(groups) < 2 or not len(taken):
        return None
    control = random.integers(0, len(groups), len(taken))
    columns: list[list[str]] = [[] for _ in range(len(groups) + 1)]
    for place, row in enumerate(taken):
        frame = _FRAMES[language][int(random.integers(len(_FRAMES[language])))]
        # Two people of each group in an order drawn anew for each row: no name stands for its group alone.
        for number, group in enumerate(groups):
            people = group.person[language]
            first, second = random.choice(len(people), 2, replace=False)
            columns[number].append(_said(frame, people[first], texts[row]))
            if number == control[place]:
                columns[-1].append(_said(frame, people[second], texts[row]))
    return Framed(axis.name, tuple(group.name for group in groups), taken, columns, control)


def _said(frame: str, person: str, text: str) -> str:
    # A frame that begins with the person begins a sentence.
    whole = frame.format(person=person, text=text)
    return whole[:1].upper() + whole[1:]

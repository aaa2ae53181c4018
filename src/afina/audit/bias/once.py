"""Count each text once in a group and label: rows that say what an earlier one says are no further rows to a test."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from afina.data.groups.grouping import NONE, Grouping
from afina.data.plain_words import as_said
from afina.data.rows import Rows

__all__ = ["first_of_each", "once", "said_by"]


def said_by(rows: Rows) -> np.ndarray:
    """Return a number for what each row (N,) says, texts that differ in case and spaces alone having the same."""
    pairs = [""] * len(rows) if rows.text_pair is None else rows.text_pair
    numbers: dict[tuple[str, str], int] = {}
    wordings = [(as_said(text), as_said(pair)) for text, pair in zip(rows.text, pairs, strict=True)]
    return np.array([numbers.setdefault(each, len(numbers)) for each in wordings], dtype=np.int64)


def first_of_each(*numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the places, in order, of the first row of each combination of the numbers (N,) that rows have."""
    places: np.ndarray = np.unique(np.stack(numbers, axis=1), axis=0, return_index=True)[1]
    return np.sort(places)


def once(grouping: Grouping, wording: np.ndarray, label: np.ndarray) -> Grouping:
    """Return a grouping in which each text is in a group once with each label, further rows of it being in none."""
    of = np.full(len(wording), NONE)
    firsts = first_of_each(wording, label, grouping.of)
    of[firsts] = grouping.of[firsts]
    return replace(grouping, of=of)

"""Decide between two classes by a threshold of each group's own.  Hardt, Price and Srebro, 2016, arXiv:1610.02413.

With m = logit of the second class - logit of the first, a row of group g is given the second where m > cut[g]. The cuts make
one rate equal in all groups on the development split: how often rows of the second class are found, or how often it is
answered at all; of all such rates it is the one at which most rows are right. Rows of no group keep cut 0, probability 1/2.
The group of a row has to be known when it is answered: by its words, or by a column that comes with it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from afina.data.cell_text import cell_text
from afina.data.groups.grouping import NONE, by_words
from afina.data.groups.word_lists import GroupAxis, NamedGroup
from afina.data.rows import Rows
from afina.errors import UsageError
from afina.tasks.state import State

__all__ = ["Equal", "GroupCut", "GroupRule"]

Equal = Literal["false_negatives", "selection"]
"""The rate that thresholds make equal, by the name of the audit's check."""
_DRAWS = 200
"""Redrawn development splits by which it is told how far a threshold is known."""
_BEYOND = 1.0
"""Logits beyond the surest row at which a cut lies that no row, or every row, passes."""
_Groups = Annotated[list[str], Field(min_length=2)]


class GroupCut(State):
    """Holds one group's cut and what it changed on the development rows."""

    cut: float
    low: float
    high: float
    """Ends of the cut's 95% interval, over development rows drawn anew."""
    rows: int
    """Development rows that count for the rate."""
    before: float
    after: float
    """The rate at probability 1/2, and at the cut."""


class GroupRule(State):
    """Says how rows are put into groups, what is made equal, and the cuts that were chosen, by the groups' places."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)

    groups: _Groups
    equal: Equal
    fewest: Annotated[int, Field(ge=1)]
    column: str | None = None
    """The column whose values are the groups."""
    axis: str | None = None
    words: list[list[str]] | None = None
    """The words of each group, of an axis of this name."""
    cuts: list[GroupCut | None] | None = None
    """None of a group with too few development rows."""

    @model_validator(mode="after")
    def _whole(self) -> "GroupRule":
        if (self.column is None) == (self.words is None):
            raise ValueError("groups should come from a column or from words")
        for key in ("words", "cuts"):
            if (values := getattr(self, key)) is not None and len(values) != len(self.groups):
                raise ValueError(f"{key} should be {len(self.groups)}, as many as groups, not {len(values)}")
        return self

    @cached_property
    def _axis(self) -> GroupAxis:
        words = self.words or []
        named = zip(self.groups, words, strict=True)
        return GroupAxis(str(self.axis), tuple(NamedGroup(name, frozenset(own), {}) for name, own in named))

    def of(self, rows: Rows) -> np.ndarray:
        """Return each row's group (N,), -1 for none; raises `UsageError` where rows come without the column."""
        if self.column is None:
            pairs = rows.text_pair or [""] * len(rows)
            return by_words([f"{text} {pair}" for text, pair in zip(rows.text, pairs, strict=True)], self._axis).of
        if rows.group is None:
            raise UsageError(
                f"This adapter decides by a threshold for each group of the column '{self.column}', and texts come without "
                "it: have afina predict read a --file that has the column, or give groups= in Python."
            )
        return self.named(rows.group)

    def named(self, values: Sequence[Any]) -> np.ndarray:
        """Return the group (N,) of each of a column's values, -1 for one that the rule does not know."""
        places = {name: place for place, name in enumerate(self.groups)}
        # As written first: rules of before call a group 1.0 that is 1 now.
        return np.array(
            [places.get(str(value).strip(), places.get(cell_text(value), NONE)) for value in values], dtype=np.int64
        )

    def shifted(self, logits: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return logits (N, 2) from which each group's cut is taken, so that the larger one decides."""
        if self.cuts is None:
            return logits
        cuts = np.array([0.0 if own is None else own.cut for own in self.cuts] + [0.0])  # the last is that of NONE
        moved = logits.copy()
        moved[:, 1] -= cuts[group].astype(logits.dtype)
        return moved

    def chosen(self, logits: np.ndarray, label: np.ndarray, group: np.ndarray) -> "GroupRule":
        """Return the rule with cuts by logits (N, 2), labels (N,) and groups (N,) of development rows."""
        margin = (logits[:, 1] - logits[:, 0]).astype(np.float64)
        counted = np.ones(len(label), dtype=bool) if self.equal == "selection" else label == 1
        rows_of = [np.flatnonzero(group == place) for place in range(len(self.groups))]
        taken = [place for place, rows in enumerate(rows_of) if counted[rows].sum() >= self.fewest]
        if len(taken) < 2:
            return self.model_copy(update={"cuts": [None] * len(self.groups)})
        given = [(margin[rows], label[rows], counted[rows]) for rows in (rows_of[place] for place in taken)]
        cuts, random, drawn = _equal_cuts(given, self.equal), np.random.default_rng(0), []
        for _ in range(_DRAWS):
            rows = [_redrawn(counts, random) for _, _, counts in given]
            again = [tuple(part[taken] for part in each) for each, taken in zip(given, rows, strict=True)]
            drawn.append(_equal_cuts(again, self.equal))
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        made: list[GroupCut | None] = [None] * len(self.groups)
        for number, (place, (values, _, counts)) in enumerate(zip(taken, given, strict=True)):
            made[place] = GroupCut(
                cut=cuts[number], low=float(low[number]), high=float(high[number]), rows=int(counts.sum()),
                before=float((values[counts] > 0).mean()), after=float((values[counts] > cuts[number]).mean()),
            )  # fmt: skip
        return self.model_copy(update={"cuts": made})


def _redrawn(counts: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return rows drawn with replacement, as many that count as there are."""
    yes, no = np.flatnonzero(counts), np.flatnonzero(~counts)
    return np.concatenate([random.choice(yes, len(yes)), random.choice(no, len(no)) if len(no) else no])


def _equal_cuts(groups: Sequence[tuple[Any, ...]], equal: Equal) -> list[float]:
    """Return a cut a group, of (margin, label, counted) of its rows, at the equal rate at which most rows are right.

    Of equals it is the rate nearest to that of all rows at probability 1/2. A class that is never answered, or always, is no
    answer, however many rows are right with it; all of its rows may be found.
    """
    ladders = [_ladder(*group) for group in groups]
    ends = 1 if equal == "selection" else 0
    each = [np.arange(1, len(cuts) - ends) / (len(cuts) - 1) for cuts, _ in ladders]
    rates = np.unique(np.concatenate([*each, [0.5]]))
    steps = [np.round(rates * (len(cuts) - 1)).astype(int) for cuts, _ in ladders]
    right = np.sum([of_right[step] for (_, of_right), step in zip(ladders, steps, strict=True)], axis=0)
    plain = np.concatenate([margin[counted] > 0 for margin, _, counted in groups]).mean()
    best = np.flatnonzero(right == right.max())
    chosen = best[np.abs(rates[best] - plain).argmin()]
    return [float(cuts[step[chosen]]) for (cuts, _), step in zip(ladders, steps, strict=True)]


def _ladder(margin: np.ndarray, label: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for k = 0 ... n the cut above which k of the n rows that count lie, and how many rows are right with it."""
    ranked = -np.sort(-margin[counted])
    # Beyond all rows that count there is none to lie between: probability 1/2 stays where it is there already.
    none, every = (0.0 if ranked[0] <= 0 else ranked[0] + _BEYOND), (0.0 if ranked[-1] > 0 else ranked[-1] - _BEYOND)
    cuts = np.concatenate([[none], (ranked[1:] + ranked[:-1]) / 2, [every]])
    yes, no = np.sort(margin[label == 1]), np.sort(margin[label == 0])
    right = len(yes) - np.searchsorted(yes, cuts, side="right") + np.searchsorted(no, cuts, side="right")
    return cuts, right

"""Integrated gradients: (x - b) times the mean gradient on the straight line from b to x.  Sundararajan et al., 2017.

arXiv:1703.01365. The mean is taken at points of Gauss and Legendre, or at 11 of which 5 make a rule of their own
(`nested.py`), at 12 more where the two differ, and at 24 more where these and the 11 do; of next words, whose probability
changes on all of the way, at 15 and 16 more that lie evenly. Values add up to f(x) - f(b), but for what the points are too
few for, which is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from afina.errors import UsageError
from afina.explanation.asker import Asker
from afina.explanation.nested import CROWDED, EVEN, NestedRules
from afina.explanation.ways.base import Attributed, AttributionWay, all_words, way

__all__ = ["IntegratedGradients"]

_ALIKE = 0.4
"""Share of the largest value by which a rule and the one within it may differ at a word; most err by a tenth of that."""
_LACKING = 0.03
"""Share of the score's change that a rule's values may lack."""


@way("integrated-gradients")
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(AttributionWay):
    """Follows the gradient from the baseline to the text."""

    told: ClassVar[str] = "what each word added on the way from the baseline to the text"
    gradients = True

    steps: int | None = None
    """Points on the line, each a pass forward and back; left out, 11 of them, and 23 or 47 where they are too few (of
    next words 15, and 31)."""

    def __post_init__(self) -> None:
        if self.steps is not None and not 1 <= self.steps <= 1024:
            raise UsageError(f"{self.name}: steps should be from 1 to 1024, not {self.steps}.")

    def attribute(self, asker: Asker) -> list[Attributed]:
        ends = asker.scores([*all_words(asker, there=True), *all_words(asker, there=False)])
        changes = ends[: len(asker.questions)] - ends[len(asker.questions) :]
        everything = range(len(asker.questions))
        if self.steps is not None:
            points, weights = np.polynomial.legendre.leggauss(self.steps)
            return [
                Attributed(values, missing=float(change - values.sum()), points=self.steps)
                for values, change in zip(
                    (weights / 2 @ own for own in _gradients(asker, everything, (points + 1) / 2)), changes, strict=True
                )
            ]
        made: dict[int, Attributed] = {}
        at: dict[int, np.ndarray] = {}
        asked, begin, rules = list(everything), 0, CROWDED if asker.kind.by_head else EVEN
        for count in rules.counts[1:]:
            for number, further in zip(asked, _gradients(asker, asked, rules.points()[begin:count]), strict=True):
                at[number] = np.concatenate([at[number], further]) if begin else further
                made[number] = _nested(at[number], changes[number], rules)
            asked, begin = [number for number in asked if not _is_enough(made[number], changes[number])], count
        return [made[number] for number in everything]


def _gradients(asker: Asker, numbers: Sequence[int], shares: np.ndarray) -> list[np.ndarray]:
    """Return for each question its words' gradients (S, W) at shares of the way."""
    # All steps of all texts at once: the asker puts those of like length together.
    _, gradients = asker.gradients([(number, float(share)) for number in numbers for share in shares], of="way")
    count = len(shares)
    return [np.stack(gradients[place * count : (place + 1) * count]) for place in range(len(numbers))]


def _nested(gradients: np.ndarray, change: float, rules: NestedRules) -> Attributed:
    """Return the values of a rule's points (S, W), and how far those of the rule within them lie from these."""
    count = len(gradients)
    half = (count - 1) // 2
    values, before = rules.weights(count) @ gradients, rules.weights(half) @ gradients[:half]
    return Attributed(
        values,
        missing=float(change - values.sum()),
        points=count,
        moved=float(np.abs(values - before).max(initial=0.0)),
    )


def _is_enough(attributed: Attributed, change: float) -> bool:
    largest = float(np.abs(attributed.values).max(initial=0.0))
    assert attributed.moved is not None
    assert attributed.missing is not None
    return attributed.moved <= _ALIKE * largest and abs(attributed.missing) <= _LACKING * max(0.1, abs(change))

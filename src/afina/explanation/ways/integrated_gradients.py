"""Integrated gradients: (x - b) times the mean gradient on the straight line from b to x.  Sundararajan et al., 2017.

arXiv:1703.01365. The mean is taken at the points of Gauss and Legendre. Values add up to f(x) - f(b), but for what the points
are too few for, which is told.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from afina.errors import UsageError
from afina.explanation.asker import Asker
from afina.explanation.ways.base import Attributed, AttributionWay, all_words, way

__all__ = ["IntegratedGradients"]


@way("integrated-gradients")
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(AttributionWay):
    """Follows the gradient from the baseline to the text."""

    told: ClassVar[str] = "what each word added on the way from the baseline to the text"
    gradients = True

    steps: int = 32
    """Points on the line, each a pass forward and back."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1024:
            raise UsageError(f"{self.name}: steps should be from 1 to 1024, not {self.steps}.")

    def attribute(self, asker: Asker) -> list[Attributed]:
        points, weights = np.polynomial.legendre.leggauss(self.steps)
        shares, weights = (points + 1) / 2, weights / 2
        count = len(asker.questions)
        # All steps of all texts at once: the asker puts those of like length together.
        _, gradients = asker.gradients(
            [(number, float(share)) for number in range(count) for share in shares], of="way"
        )
        ends = asker.scores([*all_words(asker, there=True), *all_words(asker, there=False)])
        made = []
        for number in range(count):
            steps = np.stack(gradients[number * self.steps : (number + 1) * self.steps])
            values = weights @ steps
            made.append(Attributed(values, missing=float(ends[number] - ends[count + number] - values.sum())))
        return made

"""Shapley values: what a word adds to the words before it, over orders that are drawn.  Shapley, 1953; Castro et al., 2009.

Each order is taken forwards and backwards, which halves the variance for additive scores (Mitchell et al., 2022,
arXiv:2104.12199). Values add up to f(x) - f(b) exactly.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from afina.errors import UsageError
from afina.explanation.asker import Asker
from afina.explanation.ways.base import Attributed, AttributionWay, way

__all__ = ["Shapley"]


@way("shapley")
@dataclass(frozen=True, kw_only=True)
class Shapley(AttributionWay):
    """Puts the words in one by one, in orders that are drawn; needs no gradients, and many passes."""

    told: ClassVar[str] = "what each word added to those before it, over orders that were drawn"

    samples: int = 20
    """Orders of the words, half of them drawn and half the same backwards; an order takes as many passes as words."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.samples <= 10_000:
            raise UsageError(f"{self.name}: samples should be from 2 to 10,000, not {self.samples}.")

    def attribute(self, asker: Asker) -> list[Attributed]:
        return [self._of(asker, number) for number in range(len(asker.questions))]

    def _of(self, asker: Asker, number: int) -> Attributed:
        count, random = len(asker.questions[number].words), np.random.default_rng([self.seed, number])
        orders: list[np.ndarray] = []
        while len(orders) < self.samples:
            order = random.permutation(count)
            orders += [order, order[::-1]]
        orders = orders[: self.samples]
        # Row k of an order has its first k words.
        present = np.zeros((len(orders), count + 1, count), dtype=bool)
        for place, order in enumerate(orders):
            for step, word in enumerate(order):
                present[place, step + 1 :, word] = True
        scores = asker.scores([(number, row) for own in present for row in own]).reshape(len(orders), count + 1)
        added = np.zeros((len(orders), count))
        for place, order in enumerate(orders):
            added[place, order] = np.diff(scores[place])
        # An order and the same backwards are one draw.
        pairs = np.stack([added[place : place + 2].mean(axis=0) for place in range(0, len(orders), 2)])
        error = pairs.std(axis=0, ddof=1).max(initial=0.0) / np.sqrt(len(pairs)) if len(pairs) > 1 else None
        return Attributed(added.mean(axis=0), missing=0.0, error=None if error is None else float(error))

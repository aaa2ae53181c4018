"""Check words' values by the model itself: comprehensiveness and sufficiency.  DeYoung et al., 2020, arXiv:1911.03429.

    comprehensiveness = mean over shares k of f(x) - f(x without the k words that count most)     large is faithful
    sufficiency       = mean over shares k of f(x) - f(those k words alone)                       small is faithful

each beside the same with as many words drawn at random: what any deletion would do is no merit of the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afina.explanation.asker import Asker
from afina.explanation.ways.base import Attributed
from afina.measure.bootstrap import Estimate, estimates, mean_of

__all__ = ["Faithfulness", "check"]

_SHARES = (0.1, 0.2, 0.5)
_DRAWS, _FEWEST_DRAWS = 10, 2
_OVER_TEXTS = 10
"""Texts from which on an interval is over texts: two redrawn lie between each other, which says nothing of a third."""
_ASKED = 100
"""Draws over all texts from which fewer are taken of each: that texts differ is then what makes an interval wide."""


@dataclass(frozen=True)
class Faithfulness:
    """Holds how far the words of largest value decide, in nats, beside as many drawn ones."""

    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float
    comprehensiveness_gain: Estimate
    """Comprehensiveness less the drawn words'; with its interval over texts, or over draws where there are few."""
    sufficiency_gain: Estimate
    """The drawn words' sufficiency less the values'."""
    texts: int
    """Texts that could be checked: those of one word cannot."""

    @property
    def holds(self) -> bool | None:
        """Return whether deleting these words lowers the score, and more than others' does; None where it cannot be told."""
        low, high = self.comprehensiveness_gain.low, self.comprehensiveness_gain.high
        if low is None or high is None:
            return None
        if high < 0:
            return False
        # Words without which a model is as sure as before decide nothing, though others matter even less.
        return True if low > 0 and self.comprehensiveness > 0 else None


def check(asker: Asker, attributed: Sequence[Attributed], seed: int) -> Faithfulness | None:
    """Return how faithful values are to an asker's model; None where no text has two words."""
    chosen = [number for number, question in enumerate(asker.questions) if len(question.words) > 1]
    if not chosen:
        return None
    asked, draws = list[tuple[int, np.ndarray]](), max(_FEWEST_DRAWS, min(_DRAWS, -(-_ASKED // len(chosen))))
    for number in chosen:
        values = attributed[number].values
        random = np.random.default_rng([seed, number])
        # By the value itself and not by its size: what spoke against the answer is none of its reasons.
        orders = [np.argsort(-values, kind="stable"), *(random.permutation(len(values)) for _ in range(draws))]
        asked.append((number, np.ones(len(values), dtype=bool)))
        for order in orders:
            for share in _SHARES:
                top = np.zeros(len(values), dtype=bool)
                top[order[: min(len(values) - 1, max(1, round(share * len(values))))]] = True
                asked += [(number, ~top), (number, top)]
    scores = asker.scores(asked).reshape(len(chosen), -1)
    # (texts, orders, shares, without or alone)
    falls = scores[:, :1, None, None] - scores[:, 1:].reshape(len(chosen), 1 + draws, len(_SHARES), 2)
    each = falls.mean(axis=2)
    (without, alone), (drawn_without, drawn_alone) = np.moveaxis(each[:, 0], 1, 0), np.moveaxis(each[:, 1:], 2, 0)
    return Faithfulness(
        float(without.mean()), float(alone.mean()), float(drawn_without.mean()), float(drawn_alone.mean()),
        _estimate(without[:, None] - drawn_without, seed), _estimate(drawn_alone - alone[:, None], seed), len(chosen),
    )  # fmt: skip


def _estimate(gains: np.ndarray, seed: int) -> Estimate:
    """Return the mean of gains (texts, draws), with its interval over texts; of few texts, over the draws of these."""
    if len(gains) < _OVER_TEXTS:
        low, high = np.quantile(gains.mean(axis=0), [0.025, 0.975])
        return Estimate(float(gains.mean()), float(low), float(high))
    (estimate,), _ = estimates([mean_of("gain", gains.mean(axis=1))], seed=seed)
    return estimate

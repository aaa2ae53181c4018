"""Metrics of text that a model learns to write: a row's label is its number of tokens, its prediction their summed loss."""

from collections.abc import Callable

import numpy as np

from afina.measure.metrics.base import Answered, Metric, Pick, Share, metric

__all__ = ["Loss", "Perplexity", "TokenAccuracy"]

_TOKENS, _HITS = 1, 2
"""Columns of the scores (N, 3): a row's tokens, and those of them that were the likeliest (tasks/language.py)."""


@metric("loss")
class Loss(Metric):
    """Mean loss in nats a token."""

    of = ("tokens",)
    higher_is_better = False
    portuguese = "perda"

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        tokens, losses = answers.label, answers.prediction
        # Of all tokens together, as rows differ in length.
        return lambda pick: float(losses[pick].sum() / tokens[pick].sum())


@metric("perplexity")
class Perplexity(Loss):
    """Measures exp(loss)."""

    portuguese = "perplexidade"

    def over(self, answers: Answered) -> Callable[[Pick], float]:
        loss = super().over(answers)
        return lambda pick: float(np.exp(min(loss(pick), 700.0)))


@metric("token_accuracy")
class TokenAccuracy(Share):
    """Share of the tokens that were the likeliest at their place."""

    of = ("tokens",)
    percent = False
    of_scores = True
    portuguese = "acurácia por token"

    def parts(self, answers: Answered) -> np.ndarray:
        return answers.scores[:, [_HITS, _TOKENS]].astype(float)

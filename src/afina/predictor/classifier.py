"""Classify: a label with its probabilities, several labels, or a number, for each text, pair of texts or image."""

from collections.abc import Sequence

import numpy as np

from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.predictor.predictor import Predictor, Texts, predictor
from afina.tasks.predictions import Prediction, TextAnswers

__all__ = ["Classifier"]


@predictor("classifier")
class Classifier(Predictor):
    """Answers with what its task's head says of a row."""

    def predict(
        self,
        texts: Texts,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        groups: Sequence[str | None] | None = None,
        batch_size: int = 32,
    ) -> Sequence[Prediction]:
        """Return one prediction a text, as `Predictor.predict` says.

        `groups` are each text's, of the column by which the adapter decides (None where it is not known); others pass them
        over.
        """
        texts = self.given(texts, lists=self.task.tags)
        tokens = self.read(texts, text_pairs, choices, groups)
        # Nothing was asked, so nothing is loaded or run.
        if tokens is None:
            return []
        return TextAnswers(
            self.task.predictions(list(texts), tokens, self.outputs(tokens, batch_size), choices), tokens
        )

    def logits(
        self,
        texts: Texts,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        tokens = self.read(texts, text_pairs, choices)
        # As wide as the answers would be, so that arrays of several calls can be joined.
        return np.zeros((0, self.task.outputs), np.float32) if tokens is None else self.outputs(tokens, batch_size)

    def read(
        self, texts: Texts, text_pairs: Sequence[str] | None, choices: Sequence[Sequence[str]] | None,
        groups: Sequence[str | None] | None = None,
    ) -> Tokens | None:  # fmt: skip
        """Return what `predict` was given as the model takes it, None for nothing; raises `UsageError` as `predict` says."""
        if choices is not None:
            raise UsageError("This adapter wants no choices.")
        taken = self.given(texts)
        if isinstance(taken, np.ndarray):
            return self.images(taken)
        return self.tokens(self.rows(taken, text_pairs, groups)) if taken else None

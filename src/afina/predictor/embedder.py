"""Embed: a vector for each text, from an adapter without a head."""

from collections.abc import Sequence

import numpy as np

from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.predictor.classifier import Classifier
from afina.predictor.predictor import Texts, predictor
from afina.train.embed import embed

__all__ = ["Embedder"]


@predictor("embedder")
class Embedder(Classifier):
    """Answers with vectors, the mean of a text's tokens' states; `embed` has other ways to pool them."""

    trained_to = "embed texts"

    def outputs(self, tokens: Tokens, batch_size: int) -> np.ndarray:
        return embed(self.backbone, tokens, "mean", batch_size=batch_size, adapter=self.adapter)

    def logits(
        self,
        texts: Texts,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        raise UsageError(f"{self.folder} has no task head: it is an embedding adapter; embed gives its vectors.")

"""Tag: a tag for each word of a text, and the entities that the tags mark."""

from collections.abc import Sequence

import numpy as np

from afina.data.labels.tags import untagged, words_of
from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.predictor.classifier import Classifier
from afina.predictor.predictor import Texts, predictor

__all__ = ["Tagger"]


@predictor("tagger")
class Tagger(Classifier):
    """Answers for each word; a text may come as a list of its words."""

    def read(
        self, texts: Texts, text_pairs: Sequence[str] | None, choices: Sequence[Sequence[str]] | None,
        groups: Sequence[str | None] | None = None,
    ) -> Tokens | None:  # fmt: skip
        if choices is not None:
            raise UsageError("This adapter wants no choices.")
        if text_pairs is not None:
            raise UsageError("This adapter tags the words of one text at a time and wants no second texts.")
        taken = self.given(texts, lists=True)
        assert not isinstance(taken, np.ndarray), "models that tag read texts"
        return self.tokens(untagged(words_of(taken))) if taken else None

"""Choose: which of several answers the model finds likeliest after a text; what can say that can write, too."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afina.data.rows import Rows
from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.given_texts import given_choices
from afina.predictor.classifier import Classifier
from afina.predictor.predictor import Texts, predictor
from afina.predictor.writer import Writer

__all__ = ["Chooser"]


@predictor("chooser")
@dataclass(eq=False, repr=False)
class Chooser(Classifier, Writer):
    """Answers with one of the answers: the labels that it learned, or those that come with each text."""

    trained_to = "choose"

    def read(
        self, texts: Texts, text_pairs: Sequence[str] | None, choices: Sequence[Sequence[str]] | None,
        groups: Sequence[str | None] | None = None,
    ) -> Tokens | None:  # fmt: skip
        # Labels are learned, choices are asked with: an adapter wants one of the two.
        if (choices is not None) != self.task.wants_choices:
            wanted = "each text's answers; give them as choices" if self.task.wants_choices else "no choices"
            raise UsageError(f"This adapter wants {wanted}.")
        taken = self.given(texts)
        assert not isinstance(taken, np.ndarray), "models that speak read texts"
        if not taken:
            return None
        given = None if choices is None else given_choices(choices, len(taken))
        if given is not None and (few := [index for index, own in enumerate(given) if len(own) < 2]):
            raise UsageError(f"Text {few[0] + 1} of {len(taken)} has {len(given[few[0]])} choices; give at least two.")
        return self.tokens(self.rows(taken, text_pairs, choices=given))

    def tokens(self, rows: Rows) -> Tokens:
        if rows.choices is None or not self.task.wants_choices:
            return super().tokens(rows)
        return self.tokenized(self.task.choosing(rows.choices), rows)

    def outputs(self, tokens: Tokens, batch_size: int) -> np.ndarray:
        # A head without weights of its own takes any number of answers; set here, as texts may be read by another thread.
        self.adapter.head.outputs = tokens.choices
        return super().outputs(tokens, batch_size)

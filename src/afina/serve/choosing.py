"""Choose among answers with a model that writes: between two of the engine's steps, with nothing of its own on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from afina.errors import UsageError
from afina.predictor.chooser import Chooser
from afina.serve.encoders import parts_of
from afina.tasks.predictions import Prediction

__all__ = ["Chosen", "Question", "choose"]

_SEQUENCES = 32
"""Texts with one of their answers each that go through the model at one time, while those who write wait."""
_LETTERS, _TOKENS = 8192, 8192
"""Letters of these, where it is more than one text, and tokens of a single text with all its answers."""


@dataclass(frozen=True)
class Question:
    """Holds texts and, where the adapter has no labels of its own, the answers to choose among."""

    texts: Sequence[str]
    pairs: Sequence[str] | None
    choices: Sequence[Sequence[str]] | None
    may_cut: bool = True
    """True if texts that are too long lose their start, as in training."""

    def parts(self, answers: int) -> "list[Question]":
        """Return the same in parts that the model takes at one time, with so many answers to each text."""
        count = max(1, _SEQUENCES // answers)
        slices = [
            slice(start, min(start + count, part.stop))
            for part in parts_of(self.texts, self.pairs, _LETTERS // answers)
            for start in range(part.start, part.stop, count)
        ]
        return [
            Question(
                self.texts[own], self.pairs and self.pairs[own], self.choices and self.choices[own], self.may_cut
            )
            for own in slices
        ]  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """Holds what was chosen, one prediction a text, and how much was read for it."""

    predictions: Sequence[Prediction]
    tokens: int
    cut: int
    """Texts that were too long and were cut."""


def choose(chooser: Chooser, question: Question) -> Chosen:
    """Return an adapter's choices; nothing else may use its model meanwhile.

    Raises `UsageError` for an empty text, and for one that is too long and not to be cut.
    """
    tokens = chooser.read(question.texts, question.pairs, question.choices)
    assert tokens is not None, "a request has a text at least"
    if tokens.cut and not question.may_cut:
        raise UsageError(f"{tokens.cut} of the texts are longer than the {chooser.longest} tokens that are read.")
    if len(question.texts) == 1 and (read := int(tokens.offsets[-1])) > _TOKENS:
        raise UsageError(
            f"A text with each of its answers has {read:,} tokens, and {_TOKENS:,} are read at one time; give fewer answers."
        )
    outputs = chooser.outputs(tokens, _SEQUENCES)
    predictions = chooser.task.predictions(question.texts, tokens, outputs, question.choices)
    return Chosen(predictions, int(tokens.offsets[-1]), tokens.cut)

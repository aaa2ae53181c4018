"""Choose among answers with a model that writes: between two of the engine's steps, with nothing of its own on it.

Texts become tokens before, in the thread that reads prompts: a tokenizer is one thread's, and no step waits for long texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.predictor.chooser import Chooser
from afina.serve.encoders import letters_in, parts_within
from afina.tasks.predictions import Prediction

__all__ = ["Chosen", "Question", "QuestionTooLong", "choose", "read_question"]

_SEQUENCES = 32
"""Texts with one of their answers each that go through the model at one time, while those who write wait."""
_LETTERS, _TOKENS = 8192, 8192
"""Letters of these, answers counted, where it is more than one text; tokens of a single text with all its answers."""


class QuestionTooLong(UsageError):
    """Refuses texts that have more tokens, alone or with all their answers, than are read."""


@dataclass(frozen=True)
class Question:
    """Holds texts and, where the adapter has no labels of its own, the answers to choose among."""

    texts: Sequence[str]
    pairs: Sequence[str] | None
    choices: Sequence[Sequence[str]] | None
    may_cut: bool = True
    """True if texts that are too long lose their start, as in training."""

    def parts(self, answers: int) -> "list[Question]":
        """Return the same in parts that the model takes at one time, with at most so many answers to each text."""
        letters = [answers * count for count in letters_in(self.texts, self.pairs)]
        # Whoever asks may give answers that are longer than any text.
        if self.choices is not None:
            letters = [own + sum(map(len, given)) for own, given in zip(letters, self.choices, strict=True)]
        count = max(1, _SEQUENCES // answers)
        slices = [
            slice(start, min(start + count, part.stop))
            for part in parts_within(letters, _LETTERS)
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


def read_question(chooser: Chooser, question: Question) -> Tokens:
    """Return the tokens of texts with their answers; raises `QuestionTooLong`, and `UsageError` for what is wrong."""
    tokens = chooser.read(question.texts, question.pairs, question.choices)
    assert tokens is not None, "a request has a text at least"
    if tokens.cut and not question.may_cut:
        count = f"{tokens.texts_cut} of {len(question.texts)} texts" if len(question.texts) > 1 else "The text"
        raise QuestionTooLong(
            f"{count}, with an answer behind it, has more than the {chooser.longest} tokens that are read; shorten it."
        )
    if len(question.texts) == 1 and (read := int(tokens.offsets[-1])) > _TOKENS:
        raise QuestionTooLong(
            f"A text with each of its answers has {read:,} tokens, and {_TOKENS:,} are read at one time; give fewer or "
            "shorter answers, or a shorter text."
        )
    return tokens


def choose(chooser: Chooser, question: Question, tokens: Tokens) -> Chosen:
    """Return an adapter's choices for what was read of a question; nothing else may use its model meanwhile."""
    outputs = chooser.outputs(tokens, _SEQUENCES)
    predictions = chooser.task.predictions(question.texts, tokens, outputs, question.choices)
    return Chosen(predictions, int(tokens.offsets[-1]), tokens.texts_cut)

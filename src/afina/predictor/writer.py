"""Write: what follows a prompt or a conversation, by one adapter or by several of one base in one batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.errors import UsageError
from afina.generation.generate import encode_prompt
from afina.generation.on_backbone import WritesOnBackbone
from afina.generation.rows import Request
from afina.generation.template import Message, Template, template_of
from afina.generation.writes import Writes
from afina.predictor.predictor import Predictor, Texts, predictor, rows_of

__all__ = ["Writer", "writer_of"]


@predictor("writer")
@dataclass(eq=False, repr=False)
class Writer(WritesOnBackbone, Predictor):
    """Answers with text."""

    trained_to = "write"

    merge_system: bool = False

    def stands_beside(self, other: Writes) -> bool:
        return isinstance(other, Writer) and other.backbone is self.backbone

    @property
    def template(self) -> Template:
        """Return how a conversation becomes a prompt: as trained, or as the tokenizer says, or plainly."""
        return template_of(self.task, self.tokenizer, merge_system=self.merge_system)

    def request(
        self, prompt: str | Sequence[Message], adapter: Any, number: int = 0, *, special: bool = False
    ) -> Request:
        """Return what `write` takes for a prompt and one of the adapters on this one's backbone, or none.

        Raises `UsageError` for adapters that do not write or stand on another backbone.
        """
        # None stands for the bare model, which this one's tokens and template are for.
        speaker = self if adapter is None else writer_of(adapter)
        if speaker.backbone is not self.backbone:
            raise UsageError(f"{speaker.folder} has a model of its own; load it beside the other adapter.")
        if adapter is None and self.method.owns_backbone:
            raise UsageError(f"{self.folder} changed the whole model; the one that it began with is not there.")
        text, stop, marks = speaker.worded(prompt)
        if adapter is None:  # the bare model knows its own tokens alone
            branches, tokenizer, words = None, self.backbone.tokenizer, 0
        else:
            branches, tokenizer, words = speaker.adapter, speaker.tokenizer, speaker.adapter.words
        special = special or not isinstance(prompt, str)  # the template's, where it is a conversation
        tokens = encode_prompt(self.backbone, text, marks=marks, tokenizer=tokenizer, words=words, special=special)
        return Request(tokens, branches, stop, number, tokenizer)

    def logits(
        self,
        texts: Texts,
        text_pairs: Sequence[str] | None = None,
        *,
        choices: Sequence[Sequence[str]] | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """Return of each row (N, 3) its tokens' summed loss, their number, and those that were likeliest.

        A row is what the task reads: a text, a source with its target as `text_pairs`, or a conversation's JSON.
        """
        if choices is not None:
            raise UsageError("This adapter wants no choices.")
        taken = self.given(texts)
        assert not isinstance(taken, np.ndarray), "models that speak read texts"
        if not taken:
            return np.zeros((0, self.task.outputs), np.float32)
        return self.outputs(self.tokens(rows_of(taken, text_pairs)), batch_size)


def writer_of(adapter: Predictor) -> Writer:
    """Return an adapter that writes as what it is; raises `UsageError` for another."""
    if not isinstance(adapter, Writer):
        raise adapter.writes_not()
    return adapter

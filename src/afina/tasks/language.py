"""Causal language modelling: -log p(token | those before it), summed over the tokens of each text."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from afina.data.batching import Tokens
from afina.data.rows import Rows
from afina.data.sequences import whole_texts
from afina.errors import UsageError
from afina.tasks.base import Decoded, Task

__all__ = ["Language"]

_LOSS = 0


class Language(Task):
    """Every token of a text; its "logits" are (B, 3), what `backbone/language.py` says of each row's targets.

    A row's label is how many tokens it has to say, its prediction their summed loss in nats.
    """

    name = "language"
    answers = "tokens"
    metric = "perplexity"
    speaks = True
    writes = True
    outputs = 0
    reads_apart = False
    """Whether it is learned by an encoder-decoder, not by a decoder."""

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        """Return rows as tokens with their targets; raises `UsageError` where the model reads and writes otherwise."""
        if apart and not self.reads_apart:
            raise UsageError(
                f"An encoder-decoder reads one text and writes another: set task: seq2seq, not {self.name}."
            )
        if self.reads_apart and not apart:
            raise UsageError(
                f"task: {self.name} is for encoder-decoders; with a decoder set task: chat and template: plain."
            )
        tokens = self.tokens(tokenizer, rows, max_length)
        if not len(tokens):
            raise UsageError(f"No row has a token to train on within {max_length} tokens; raise max_length.")
        return tokens

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> Tokens:
        """Return the rows that have a target; there may be none."""
        return whole_texts(tokenizer, rows.text, max_length)

    def loss(self, logits: Tensor, labels: Tensor, weights: Mapping[str, float] | None = None) -> Tensor:
        return logits[:, _LOSS].sum()

    def decode(self, logits: np.ndarray) -> Decoded:
        return Decoded(logits[:, _LOSS].astype(np.float64), logits)

    def compared(self, outputs: Tensor) -> Tensor:
        return outputs[:, :1]

    def compared_outside(self, outputs: Tensor, rows: int) -> Tensor:
        """Return the summed loss of each text's tokens (N, 1)."""
        return -outputs[:, 1:2]

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        return Decoded(values[:, 0], values)

    def same(self, first: Tensor, second: Tensor) -> None:
        return None

    def own_state(self) -> dict[str, Any]:
        return {"name": self.name}

"""Show what a model is about to learn: some rows with their trained tokens, how many those are, and whether they end."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from afina.data.tokens.tokens import IGNORED, WrittenTokens

__all__ = ["Learned", "learned"]

_EXAMPLES = 3
_LOOKED_AT = 200


@dataclass(frozen=True)
class Learned:
    """Counts over the train rows, and the texts of a few of them."""

    rows: int
    tokens: int
    trained: int
    answers: int
    """Or whole texts, those that `max_length` cut off too."""
    endless: int
    """Answers whose end `max_length` cut off."""
    end: str
    """The text that ends an answer."""
    ended: int
    """The number among the first `looked_at` rows whose last trained token ends an answer."""
    looked_at: int
    examples: tuple[tuple[tuple[str, bool], ...], ...]
    """Pieces of text, each with whether it is trained."""

    def sentences(self) -> list[str]:
        """Say it in words."""
        lines = [
            f"{self.trained:,} of {self.tokens:,} tokens are trained ({100 * self.trained / self.tokens:.0f}%), in "
            f"{self.rows:,} rows"
        ]
        if not self.end:
            lines.append("the tokenizer has no end token, so that the model will not learn to stop")
        else:
            share = f"{self.ended:,} of {self.looked_at:,} rows looked at"
            lines.append(f"the end {self.end!r} is trained in {share}")
        if self.endless:
            lines.append(f"{self.endless:,} of {self.answers:,} answers lose their end; raise max_length to keep it")
        return lines


def learned(tokens: WrittenTokens, tokenizer: Any, stop: tuple[str, ...]) -> Learned:
    """Describe train rows that are written; `stop` is what ends an answer, where the tokenizer's end token does not."""
    trained = tokens.targets != IGNORED
    # The first rows are enough to see what is meant; all of them would take as long as tokenising.
    looked_at = range(min(len(tokens), _LOOKED_AT))
    end = stop[0] if stop else (tokenizer.eos_token or "")
    pieces = [_pieces(tokens, row, tokenizer) for row in looked_at]
    # What is trained last is where a row ends, as far as the model learns it.
    last = [next((text for text, own in reversed(row) if own), "") for row in pieces]
    return Learned(
        rows=len(tokens), tokens=int(tokens.offsets[-1]), trained=int(trained.sum()),
        answers=tokens.turns, endless=tokens.endless, end=end,
        ended=sum(text.rstrip().endswith(end) for text in last) if end else 0, looked_at=len(looked_at),
        examples=tuple(tuple(row) for row in pieces[:_EXAMPLES]),
    )  # fmt: skip


def _pieces(tokens: WrittenTokens, row: int, tokenizer: Any) -> list[tuple[str, bool]]:
    span = slice(tokens.offsets[row], tokens.offsets[row + 1])
    ids = tokens.ids[span]
    # A target is learned at the token before it, and shown at its own.
    trained = np.concatenate([[False], tokens.targets[span][:-1] != IGNORED])
    cuts = [0, *(np.flatnonzero(np.diff(trained)) + 1), len(ids)]
    return [
        (tokenizer.decode(ids[start:stop], skip_special_tokens=False), bool(trained[start]))
        for start, stop in pairwise(cuts)
    ]

"""Cut texts into the pieces of tokens that a model is calibrated on, alike for the same seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from afina.errors import UsageError

__all__ = ["pieces_of"]

_FEWEST = 64
"""Tokens below which texts tell nothing of what a model reads."""


def pieces_of(
    tokenizer: Any, texts: Sequence[str], *, samples: int, length: int, context: int, seed: int
) -> np.ndarray:
    """Return token ids (N, T) of at most `samples` pieces of `length` tokens, or of as many as the context allows.

    Texts follow one another, with the tokenizer's end mark between them; each piece has the marks that the tokenizer puts
    around a text. Which texts and pieces is drawn by the seed. Raises `UsageError` where there are next to no words.
    """
    before, after = _marks(tokenizer)
    inner = max(1, min(length, context) - len(before) - len(after))
    generator = np.random.default_rng(seed)
    usable = [text for text in texts if text.strip()]
    between = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    tokens: list[int] = []
    for place in generator.permutation(len(usable)):
        tokens += [*tokenizer(usable[place], add_special_tokens=False)["input_ids"], *between]
        if len(tokens) >= samples * inner:
            break
    if len(tokens) < min(_FEWEST, inner):
        raise UsageError(
            f"There are {len(tokens)} tokens of text to calibrate on, which tell nothing of what the model reads; give some "
            f"thousands, {samples * inner:,} are used."
        )
    inner = min(inner, len(tokens))
    count = min(samples, len(tokens) // inner)
    cut = np.array(tokens[: count * inner], dtype=np.int64).reshape(count, inner)
    marks = [np.tile(np.array(own, dtype=np.int64), (count, 1)) for own in (before, after)]
    return np.concatenate([marks[0], cut, marks[1]], axis=1)


def _marks(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text."""
    plain, whole = (list(tokenizer("a", add_special_tokens=own)["input_ids"]) for own in (False, True))
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []

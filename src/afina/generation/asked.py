"""Say what a language model is asked where it is measured: how likely it finds texts, and what it writes to prompts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from afina.errors import UsageError
from afina.generation.rows import Written

__all__ = ["AskedModel", "Pair"]

Pair = tuple[Sequence[int], Sequence[int]]
"""Tokens that are read, and tokens that are scored after them; at least one of each."""


class AskedModel(ABC):
    """Scores texts and writes some."""

    tokenizer: Any
    context: int
    """Most tokens that are read at once."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return what the model is called."""

    @property
    def reads_apart(self) -> bool:
        """Return whether the model reads one text and writes another (an encoder-decoder)."""
        return False

    @abstractmethod
    def likelihoods(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Return each pair's log-probability of the scored tokens (N,), and whether greedy decoding gives them (N,) bool.

        What is read is cut at its start where it is too long. Raises `UsageError` where the scored tokens exceed the context.
        """

    @abstractmethod
    def go_on(self, prompts: Sequence[Sequence[int]], most: Sequence[int], stop: Sequence[str] = ()) -> list[Written]:
        """Write greedily after each prompt's tokens, for at most as many tokens as `most` has for it."""

    @property
    def prefix(self) -> int:
        """Return the token that comes before a text without context: the start mark, or else the end mark."""
        tokenizer = self.tokenizer
        first = next((one for one in (tokenizer.bos_token_id, tokenizer.eos_token_id) if one is not None), None)
        return int(tokenizer.pad_token_id if first is None else first)

    def write(self, prompts: Sequence[str], *, stop: Sequence[str], most: int, marks: bool | None = None) -> list[str]:
        """Return what the model writes after each prompt, up to its end mark, a stop text or `most` tokens.

        A prompt that is too long is cut at its start. Raises `UsageError` where `most` leaves no room for a prompt.
        """
        if most >= self.context:
            raise UsageError(
                f"To write {most} tokens leaves none of the {self.context} that the model takes to read a prompt."
            )
        # Room is kept for what is written: of a prompt that is too long the end is read, as its beginning matters
        # least.
        ids = [self.encode(prompt, marks=marks)[most - self.context :] or [self.prefix] for prompt in prompts]
        texts: list[str] = []
        for written in self.go_on(ids, [most] * len(ids), stop):
            # Decoded without the prompt, as the harness does: a tokenizer may then drop the leading space.
            text = self.tokenizer.decode(written.tokens, skip_special_tokens=True)
            ends = [place for mark in stop if mark and (place := text.find(mark)) >= 0]
            # The first of the stop texts, whichever it is, ends the answer.
            texts.append(text[: min(ends, default=len(text))])
        return texts

    def encode(self, text: str, *, marks: bool | None = None) -> list[int]:
        """Return a text's tokens; `marks` None adds the tokenizer's marks unless the text has the start mark."""
        start = self.tokenizer.bos_token
        # A chat template has written the start mark already; a second one is nothing that the model has seen.
        if marks is None:
            marks = not (start and text.startswith(start))
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=marks)
        return tokens

"""Write with a graph that takes and gives keys and values, in whatever runtime runs it.

Rows of a batch stand at the end of its width, as everywhere where texts are gone on from: what is before them is not seen.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from afina.errors import AfinaError
from afina.export.manifest import Manifest
from afina.export.runtime import Session
from afina.export.writing.names import GIVEN, kept_names

__all__ = ["Call", "Going", "WritingSession", "padded"]

Call = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
"""Runs a graph once: inputs by name, outputs in their order."""


def padded(prompts: Sequence[Sequence[int]], pad: int, *, before: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return prompts in one batch (B, T), with padding before or behind each, and the mask (B, T) of their tokens."""
    width = max(map(len, prompts))
    ids, mask = np.full((len(prompts), width), pad, np.int64), np.zeros((len(prompts), width), np.int64)
    for row, prompt in enumerate(prompts):
        place = slice(width - len(prompt), width) if before else slice(0, len(prompt))
        ids[row, place], mask[row, place] = prompt, 1
    return ids, mask


class Going:
    """The rows of one batch that a graph writes: what is kept of their tokens from one step to the next."""

    def __init__(
        self, call: Call, prompts: Sequence[Sequence[int]], shapes: Sequence[tuple[int, int]], pad: int
    ) -> None:
        """Read prompts; `every` (B, T, V) is then what may follow each token, `logits` (B, V) what follows the last."""
        self._call, self._shapes = call, shapes
        self._run(self._begun(prompts, pad))

    def _begun(self, prompts: Sequence[Sequence[int]], pad: int) -> dict[str, np.ndarray]:
        """Return what the graph takes to read prompts."""
        # Padding before the text, so that the last place of every row is what the next token follows.
        ids, mask = padded(prompts, pad, before=True)
        self._names = kept_names(len(self._shapes))[0]
        self._kept: Sequence[np.ndarray] = self._nothing(len(prompts))
        return self._given(ids, mask, np.maximum(mask.cumsum(axis=1) - 1, 0))

    def _nothing(self, rows: int) -> list[np.ndarray]:
        """Return keys and values of no tokens: the graph takes them as tensors of length zero."""
        return [np.zeros((rows, heads, 0, width), np.float32) for heads, width in self._shapes for _ in range(2)]

    def go_on(self, tokens: np.ndarray | Sequence[int]) -> np.ndarray:
        """Add a token (B,) to each row, or several (B, T); return logits (B, V) of the next."""
        self._run(self.step(tokens))
        return self.logits

    def step(self, tokens: np.ndarray | Sequence[int]) -> dict[str, np.ndarray]:
        """Return what the graph takes to add a token (B,) to each row, or several (B, T)."""
        added = np.asarray(tokens, np.int64).reshape(len(self._mask), -1)
        # Positions count a row's own tokens, and none of its padding.
        places = self._mask.sum(axis=1, keepdims=True) + np.arange(added.shape[1])
        return self._given(added, np.concatenate([self._mask, np.ones_like(added)], axis=1), places)

    def _given(self, *values: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip((*GIVEN, *self._names), (*values, *self._kept), strict=True))

    def _run(self, given: Mapping[str, np.ndarray]) -> None:
        self._mask = given[GIVEN[1]]
        self.every, *self._kept = self._call(given)
        self.logits: np.ndarray = self.every[:, -1]


class WritingSession(Session):
    """Writes in a runtime that runs a graph by `call`."""

    def __init__(self, call: Call, manifest: Manifest) -> None:
        self._call, self._pad = call, int(manifest.reading["pad_token_id"])
        self._shapes = [(int(heads), int(width)) for heads, width in manifest.reading["kept"]]
        self.context = int(manifest.reading["context"])
        self._last: tuple[list[int], Going] | None = None
        """The text that was asked last, and what is kept of it."""

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logits (B, V) of what follows each row of `input_ids` (B, T), padded on either side."""
        mask = inputs["attention_mask"].astype(bool)
        prompts = [row[own].tolist() for row, own in zip(inputs["input_ids"], mask, strict=True)]
        return self.begin(prompts).logits

    def room(self, prompt: Sequence[int]) -> int:
        """Return how many tokens can be written behind a prompt."""
        return self.context - len(prompt)

    def begin(self, prompts: Sequence[Sequence[int]]) -> Going:
        """Read prompts in one batch, to go on from; raises `AfinaError` for one that is empty or too long."""
        if not all(0 < len(prompt) <= self.context for prompt in prompts):
            longest = max(map(len, prompts))
            raise AfinaError(
                f"A text has {longest} tokens; this model reads from 1 to {self.context}, with what it writes."
            )
        return self._going(prompts)

    def _going(self, prompts: Sequence[Sequence[int]]) -> Going:
        return Going(self._call, prompts, self._shapes, self._pad)

    def next_logits(self, tokens: Sequence[int], read: int | None = None) -> np.ndarray:
        """Return the logits (T, V) of what follows each token of a text, whose first `read` are read as a prompt is."""
        first = len(tokens) if read is None else read
        going = self.begin([tokens[:first]])
        parts = [going.every[0]]
        if first < len(tokens):
            going.go_on(np.array(tokens[first:]))
            parts.append(going.every[0])
        return np.concatenate(parts)

    def following(self, tokens: Sequence[int], written: Sequence[int] = ()) -> np.ndarray:
        read, going = self._last or ([], None)
        given = [*tokens, *written]
        # More than one token more is another prompt, whose ends are elsewhere.
        if going is not None and len(read) + 1 == len(given) <= self.context and given[:-1] == read:
            going.go_on(given[-1:])
        else:
            going = self.begin([given])
        self._last = given, going
        logits: np.ndarray = going.logits[0]
        return logits

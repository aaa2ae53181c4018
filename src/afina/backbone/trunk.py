"""Compute each row once through the frozen layers below every branch, and hand it to the layers above.

No gradient reaches those layers, and dropout is off in them (on what never learns it is only noise): a row's states are
the same in every epoch, for every adapter and in every evaluation.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from afina.backbone.flight import Flight
from afina.backbone.lending import Loan
from afina.data.tokens.batching import Batch, evaluation_batches
from afina.data.tokens.tokens import Tokens

__all__ = ["LowerLayers", "Trunk", "Trunks"]

_SHARE = 0.125
"""Share of the free memory that states may take; more of them lie in a file of the temporary folder."""
_BATCH = 64
_Compute = Callable[[np.ndarray], Tensor]


class _Reached(Exception):
    """Carries the states out of a pass that need not go further."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


class Trunk:
    """The states of one data set's sequences behind the lower layers, of all their tokens or of the first alone."""

    def __init__(self, tokens: Tokens, *, first_only: bool) -> None:
        self.tokens, self.first_only = tokens, first_only
        count = len(tokens.offsets) - 1
        self._starts = np.arange(count + 1) if first_only else tokens.offsets
        self._kept: Tensor | None = None
        self._known = np.zeros(count, dtype=bool)
        self._room = True

    def fill(self, rows: np.ndarray, compute: _Compute) -> None:
        """Compute what is missing of these rows with `compute`, which gives states (sequences, T, D) of rows."""
        choices = self.tokens.choices
        # By rows: where answers are chosen between, a row's sequences are computed together.
        missing = rows[~self._known[self.tokens.sequences(rows)].reshape(-1, choices).all(axis=1)]
        lengths = self.tokens.lengths_of(self.tokens.sequences(missing)).reshape(-1, choices).max(axis=1) * choices
        for part in evaluation_batches(lengths, max(1, _BATCH // choices)) if self._room and len(missing) else ():
            self._keep(self.tokens.sequences(missing[part]), compute(missing[part]))

    def states(self, rows: np.ndarray, width: int, compute: _Compute) -> Tensor:
        """Return the states (sequences, width, D) of rows, zeros behind each; of first tokens (sequences, 1, D)."""
        # Rows that are not known yet are computed in batches of their own, sorted by length, and kept.
        self.fill(rows, compute)
        # Nothing could be kept, so that each batch computes its own.
        if self._kept is None:
            states = compute(rows)
            return states[:, :1] if self.first_only else _widened(states, width)
        sequences = self.tokens.sequences(rows)
        # One state a sequence, so that no padding is needed.
        if self.first_only:
            return self._kept[torch.from_numpy(sequences)][:, None]

        # Zeros behind each text are never looked at: the mask hides them.
        padded = self._kept.new_zeros((len(sequences), width, self._kept.shape[1]))
        for place, index in enumerate(sequences):
            start, stop = self._starts[index], self._starts[index + 1]
            padded[place, : stop - start] = self._kept[start:stop]
        return padded

    def _keep(self, sequences: np.ndarray, states: Tensor) -> None:
        if self._kept is None:
            self._kept = _empty(int(self._starts[-1]), states.shape[2], states.dtype)
            # Tried once: a place that had no room has none a moment later.
            self._room = self._kept is not None
        # No room in memory or on the disk: nothing is kept, and each batch computes its rows anew.
        if self._kept is not None:
            for state, index in zip(states.cpu(), sequences, strict=True):
                start, stop = self._starts[index], self._starts[index + 1]
                self._kept[start:stop] = state[: stop - start]
            self._known[sequences] = True


class Trunks:
    """Holds the cached states of several data sets below several layers, for as long as they train."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, bool], Trunk] = {}
        self.tupled: dict[nn.Module, bool] = {}
        """True for a layer that gives its states in a tuple, which is seen when they are computed."""

    def of(self, tokens: Tokens, layers: int, *, first_only: bool) -> Trunk:
        """Return what is known of a data set; the key is the object itself, which the trunk keeps alive."""
        return self._found.setdefault((id(tokens), layers, first_only), Trunk(tokens, first_only=first_only))


class LowerLayers:
    """The layers below every branch of an attachment, passed over wherever a batch brings what they would give."""

    def __init__(
        self, layers: Sequence[nn.Module], trunk_of: Callable[[Tokens], Trunk], reach: Callable[[Tokens, np.ndarray], Any],
        flight: Flight, trunks: Trunks,
    ) -> None:  # fmt: skip
        """Lend the layers a forward of their own; `reach` takes rows into the model as an evaluation does."""
        # Shared by all attachments of a cohort, as what a layer gives is the model's own.
        self._trunk_of, self._run, self._flight, self._tupled = trunk_of, reach, flight, trunks.tupled
        self.loans = [Loan(layer, self._passed_over(layer, last=layer is layers[-1])) for layer in layers]

    def fill(self, tokens: Tokens, rows: np.ndarray) -> None:
        """Compute now what batches of these rows will want."""
        self._trunk_of(tokens).fill(rows, self._compute(tokens))

    def add(self, batch: Batch, pieces: Sequence[tuple[Tokens, np.ndarray]], width: int) -> Batch:
        """Return the batch with what is known of its rows, which are `width` tokens wide for the first layer."""
        # Pieces of a batch may be of several data sets.
        trunks = [self._trunk_of(tokens) for tokens, _ in pieces]
        states = [
            trunk.states(rows, width, self._compute(tokens))
            for trunk, (tokens, rows) in zip(trunks, pieces, strict=True)
        ]
        inputs = dict(batch.inputs)

        # No layer runs any more, so the first token's column stands for the whole text; a mask would have the old
        # width.
        if trunks[0].first_only and "input_ids" in inputs:
            inputs.pop("attention_mask", None)
            inputs = {name: value[:, :1] for name, value in inputs.items()}
        device = next(iter(inputs.values())).device
        known = torch.cat([own.to(device) for own in states])
        return replace(batch, inputs=inputs, known=known)

    def _compute(self, tokens: Tokens) -> _Compute:
        def compute(rows: np.ndarray) -> Tensor:
            # The pass is broken off at the last lower layer by an exception: nothing above it is computed, whatever
            # model it is.
            try:
                self._run(tokens, rows)
            except _Reached as reached:
                return reached.states
            raise AssertionError("a pass without known states goes through the layers")

        return compute

    def _passed_over(self, layer: nn.Module, *, last: bool) -> Callable[..., Any]:
        forward = layer.forward

        def passed_over(states: Tensor, *args: Any, **settings: Any) -> Any:
            now = self._flight.now
            if now.known is None:
                output = forward(states, *args, **settings)
                self._tupled[layer] = isinstance(output, tuple)
                if last and now.reaching:
                    raise _Reached(output[0] if self._tupled[layer] else output)
                return output
            # The lower layers hand on what they were given, unused; the last of them gives the known states.
            states = now.known if last else states
            return (states, None) if self._tupled[layer] else states

        return passed_over


def _widened(states: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, 0, width - states.shape[1]))


def _empty(count: int, width: int, dtype: torch.dtype) -> Tensor | None:
    """Return a tensor (count, width) in memory or, where that is scarce, in a file; None if neither has room."""
    size = count * width * dtype.itemsize
    if size <= _SHARE * psutil.virtual_memory().available:
        return torch.zeros((count, width), dtype=dtype).zero_()  # all of it now, not page by page
    # Half of the disk at most, as the same folder may hold other programs' files.
    if size > 0.5 * shutil.disk_usage(tempfile.gettempdir()).free:
        return None
    with tempfile.NamedTemporaryFile(prefix="afina-trunk-") as file:
        # The file has no name from here on, and is gone with the tensor.
        return torch.from_file(file.name, shared=True, size=count * width, dtype=dtype).view(count, width)

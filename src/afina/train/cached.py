"""Compute gradients of a loss over a whole batch in micro-batches: GradCache.  Gao et al., 2021, arXiv:2101.06983.

    dL/dw = sum over rows i of (dL/dv_i)(dv_i/dw),  v_i the row's outputs

First all outputs, of which no graph is kept, then the loss and its gradient with regard to them, then each micro-batch once
more, with its graph, into which that gradient goes. It costs a second forward pass, and the memory of one micro-batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.data.tokens.tokens import Tokens

__all__ = ["cached_gradients"]


class _Trained(Protocol):
    """Declares what is asked of a member of the loop."""

    tokens: Tokens
    position: Any

    def loss(self, logits: Tensor, labels: Tensor, of: int) -> Tensor: ...


def cached_gradients(
    attached: Attachment, group: Sequence[_Trained], batches: Sequence[np.ndarray], micro_batch_size: int
) -> None:
    """Add the gradients of one batch of each member, whose loss is taken over all of the batch's outputs at once.

    A member's outputs are (rows, K), or (rows * C, K) where a row is C sequences. Dropout is the same in both passes.
    """
    whole = max(map(len, batches))
    outputs: list[list[Tensor]] = [[] for _ in group]
    labels: list[list[Tensor]] = [[] for _ in group]
    pieces, random = [], []
    for start in range(0, whole, micro_batch_size):
        piece = [
            (member.tokens, rows[start : start + micro_batch_size]) for member, rows in zip(group, batches, strict=True)
        ]
        first, again = _same_random(attached)
        batch = attached.batch(piece)
        # With a graph, which is let go at once: without one attention is computed, and drops, in another way.
        with first:
            made = [output.detach() for output in attached.outputs(batch)]
        for place, (member, tokens) in enumerate(zip(group, batch.tokens, strict=True)):
            outputs[place].append(made[place])
            labels[place].append(batch.labels[place])
            member.position.tokens += tokens
        pieces.append(piece)
        random.append(again)

    leaves = [torch.cat(parts).requires_grad_() for parts in outputs]
    losses = [
        member.loss(leaf, torch.cat(parts), max(1, int(member.tokens.trained[rows].sum())))
        for member, leaf, parts, rows in zip(group, leaves, labels, batches, strict=True)
    ]
    # Only down to the leaves: the graph behind them was let go.
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]

    gradients = [_divided(leaf, parts) for leaf, parts in zip(leaves, outputs, strict=True)]
    for place, (piece, again) in enumerate(zip(pieces, random, strict=True)):
        with again:
            made = attached.outputs(attached.batch(piece))
        # A member with fewer rows has nothing in the last pieces.
        there = [index for index, output in enumerate(made) if len(output)]
        torch.autograd.backward([made[index] for index in there], [gradients[index][place] for index in there])


def _divided(leaf: Tensor, parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the gradient of all outputs cut as they were made."""
    assert leaf.grad is not None
    return torch.split(leaf.grad, [len(part) for part in parts])


def _same_random(attached: Attachment) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return two blocks, of which the second draws what the first did, from our own source of dropout and from torch's."""
    first, again = attached.source.replayed() if attached.source is not None else (nullcontext(), nullcontext())
    device, mark = attached.backbone.device, list[Tensor]()

    # One place for what the first block leaves and the second takes.
    @contextmanager
    def once() -> Iterator[None]:
        mark.append(_state(device))
        with first:
            yield

    @contextmanager
    def replayed() -> Iterator[None]:
        # What drew in between goes on from where it was.
        now = _state(device)
        _set_state(device, mark[0])
        try:
            with again:
                yield
        finally:
            _set_state(device, now)

    return once(), replayed()


def _state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)

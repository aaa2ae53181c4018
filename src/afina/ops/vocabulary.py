"""Cross-entropy over a vocabulary, -log softmax(c tanh((scale W h + b) / c))[target], never with all logits at once.

Places go through the head in chunks. As a place's loss depends on its own state alone, and the head W (V, D) is frozen,
its gradient dL/dh = scale W^T ((p - onehot) * (1 - tanh^2)) is taken while the chunk's logits are there: they are
computed once, and what is kept for the backward pass is as large as the states. Without a softcap c the tanh falls away.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, linear

__all__ = ["plain_token_losses", "token_losses"]

_LOGITS = {"cpu": 1 << 21, "cuda": 1 << 26}
"""Logits of a chunk: 8 MB in float32 on a CPU, 256 MB on a GPU."""


def plain_token_losses(
    states: Tensor, targets: Tensor, weight: Tensor, *, scale: float = 1.0, bias: Tensor | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Compute `token_losses` by its definition, with all logits (N, V) at once and autograd's gradients."""
    logits = linear((states * scale).to(weight.dtype), weight).float()
    if bias is not None:
        logits = logits + bias
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return cross_entropy(logits, targets, reduction="none"), logits.argmax(dim=1) == targets


def token_losses(
    states: Tensor, targets: Tensor, weight: Tensor, *, scale: float = 1.0, bias: Tensor | None = None,
    softcap: float | None = None, chunk: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return each place's loss (N,) in nats, float32, and whether its target was the likeliest token (N,).

    `states` (N, D) have gradients; the head's `weight` (V, D) too where it is trained, tied to the embeddings, and is then
    paid for with a second pass over the logits. `bias` (V,) has none. `chunk` is how many places make one.
    """
    places = chunk or max(1, _LOGITS[states.device.type] // len(weight))
    losses: tuple[Tensor, Tensor] = _TokenLosses.apply(states, targets, weight, scale, bias, softcap, places)  # type: ignore[no-untyped-call]
    return losses


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, targets: Tensor, weight: Tensor, scale: float, bias: Tensor | None,
        softcap: float | None, chunk: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        of_states, of_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[2]
        losses = states.new_empty(len(states), dtype=torch.float32)
        hits = torch.empty_like(targets, dtype=torch.bool)

        # A frozen head needs of the logits nothing but their gradient in the states, which is as small as these: it is
        # taken in the same pass, and no logits are kept for the backward one.
        gradient = torch.empty_like(states) if of_states and not of_weight else None
        for start in range(0, len(states), chunk):
            part = slice(start, start + chunk)
            logs, slope = _log_probabilities(states[part], weight, scale, bias, softcap)
            losses[part] = -logs.gather(1, targets[part, None])[:, 0]
            hits[part] = logs.argmax(dim=1) == targets[part]
            if gradient is not None:
                of_logits = _of_logits(logs, slope, targets[part])
                gradient[part] = (of_logits.to(weight.dtype) @ weight).mul_(scale)

        # A trained head's gradient is summed over chunks, so the logits are computed a second time instead of being
        # kept.
        if of_weight:
            ctx.save_for_backward(states, targets, weight, bias)
        else:
            ctx.save_for_backward(gradient)
        ctx.settings = scale, softcap, chunk
        ctx.mark_non_differentiable(hits)
        return losses, hits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_losses = gradients[0][:, None]
        if not ctx.needs_input_grad[2]:
            (gradient,) = ctx.saved_tensors
            return gradient * of_losses.to(gradient.dtype), None, None, None, None, None, None
        states, targets, weight, bias = ctx.saved_tensors
        scale, softcap, chunk = ctx.settings
        of_states, of_weight = torch.empty_like(states), torch.zeros_like(weight)
        for start in range(0, len(states), chunk):
            part = slice(start, start + chunk)
            logs, slope = _log_probabilities(states[part], weight, scale, bias, softcap)
            of_logits = (_of_logits(logs, slope, targets[part]) * of_losses[part]).to(weight.dtype)
            of_states[part] = (of_logits @ weight).mul_(scale)
            of_weight.addmm_(of_logits.T, states[part].to(weight.dtype), alpha=scale)
        return of_states, None, of_weight, None, None, None, None


def _log_probabilities(
    states: Tensor, weight: Tensor, scale: float, bias: Tensor | None, softcap: float | None
) -> tuple[Tensor, Tensor | None]:
    """Return log p (C, V) and, with a softcap, its slope 1 - tanh^2 at the raw logits."""
    logits = linear((states * scale).to(weight.dtype), weight).float()
    if bias is not None:
        logits += bias
    slope = None
    if softcap is not None:
        # In place wherever it may be: (C, V) is the largest tensor here.
        bent = logits.div_(softcap).tanh_()
        slope = 1 - bent.square()
        logits = bent * softcap
    return torch.log_softmax(logits, dim=1), slope


def _of_logits(logs: Tensor, slope: Tensor | None, targets: Tensor) -> Tensor:
    """Return p - onehot (C, V), times the slope; `logs` is used up."""
    of_logits = logs.exp_()
    of_logits[torch.arange(len(targets), device=targets.device), targets] -= 1
    return of_logits if slope is None else of_logits.mul_(slope)

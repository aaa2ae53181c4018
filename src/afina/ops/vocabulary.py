"""Losses over a vocabulary, of log softmax(c tanh((scale W h + b) / c)), never with all logits at once.

Places go through the head in chunks. As a place's loss depends on its own state alone, and the head W (V, D) is frozen,
its gradient dL/dh = scale W^T (dL/dz * (1 - tanh^2)) is taken while the chunk's logits z are there: they are computed
once, and what is kept for the backward pass is as large as the states. Without a softcap c the tanh falls away.

    cross-entropy with a target        L = -log p[target]                   dL/dz = p - onehot
    soft targets at a temperature T    L = T^2 KL(t || p), p of z / T       dL/dz = T (p - q)

Soft targets t are a teacher's likeliest tokens and, as one class, all others (ops/soft_targets.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, linear

from afina.ops.kind import kind_of

__all__ = ["VocabularyHead", "chunk_of", "chunked_losses", "plain_logits", "plain_token_losses", "token_losses"]

_LOGITS = {"cpu": 1 << 21, "cuda": 1 << 26}
"""Logits of a chunk: 8 MB in float32 on a CPU, 256 MB on a GPU."""


@dataclass(frozen=True)
class VocabularyHead:
    """Holds what a language head multiplies by, and what it makes of the product."""

    weight: Tensor
    """(V, D)."""
    scale: float = 1.0
    bias: Tensor | None = None
    """(V,), without gradient."""
    softcap: float | None = None
    temperature: float = 1.0
    """The number that logits are divided by before the softmax."""


class LossRule(Protocol):
    """Says what is lost at each place of a chunk, by the place's log-probabilities."""

    def tensors(self) -> tuple[Tensor, ...]:
        """Return what is given for each place, (N, ...)."""

    def likeliest(self, given: Sequence[Tensor]) -> Tensor:
        """Return the token (C,) that each place should find likeliest."""

    def losses(self, logs: Tensor, given: Sequence[Tensor]) -> Tensor:
        """Return the losses (C,) by log-probabilities (C, V)."""

    def of_logits(self, logs: Tensor, given: Sequence[Tensor]) -> Tensor:
        """Return their gradient (C, V) in the logits before the temperature; `logs` may be used up."""


@dataclass(frozen=True)
class _OneTarget:
    targets: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.targets,)

    def likeliest(self, given: Sequence[Tensor]) -> Tensor:
        return given[0]

    def losses(self, logs: Tensor, given: Sequence[Tensor]) -> Tensor:
        return -logs.gather(1, given[0][:, None])[:, 0]

    def of_logits(self, logs: Tensor, given: Sequence[Tensor]) -> Tensor:
        of_logits = logs.exp_()
        of_logits[torch.arange(len(of_logits), device=of_logits.device), given[0]] -= 1
        return of_logits


def plain_logits(states: Tensor, head: VocabularyHead) -> Tensor:
    """Return all logits (N, V) of states (N, D) at once, before the temperature."""
    logits = linear((states * head.scale).to(head.weight.dtype), head.weight).float()
    if head.bias is not None:
        logits = logits + head.bias
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def plain_token_losses(
    states: Tensor, targets: Tensor, weight: Tensor, *, scale: float = 1.0, bias: Tensor | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Compute `token_losses` by its definition, with all logits (N, V) at once and autograd's gradients."""
    logits = plain_logits(states, VocabularyHead(weight, scale, bias, softcap))
    return cross_entropy(logits, targets, reduction="none"), logits.argmax(dim=1) == targets


def token_losses(
    states: Tensor, targets: Tensor, weight: Tensor, *, scale: float = 1.0, bias: Tensor | None = None,
    softcap: float | None = None, chunk: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return each place's loss (N,) in nats, float32, and whether its target was the likeliest token (N,).

    `states` (N, D) have gradients; the head's `weight` (V, D) too where it is trained, tied to the embeddings, and is then
    paid for with a second pass over the logits. `bias` (V,) has none. `chunk` is how many places make one.
    """
    return chunked_losses(states, _OneTarget(targets), VocabularyHead(weight, scale, bias, softcap), chunk)


def chunk_of(states: Tensor, words: int) -> int:
    """Return how many places of states go through a head of so many words at a time."""
    return max(1, _LOGITS[kind_of(states)] // words)


def chunked_losses(
    states: Tensor, rule: LossRule, head: VocabularyHead, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return by a rule each place's loss (N,), float32, and whether the token that should be likeliest was (N,)."""
    places = chunk or chunk_of(states, len(head.weight))
    losses: tuple[Tensor, Tensor] = _Losses.apply(states, head.weight, rule, head, places)  # type: ignore[no-untyped-call]
    return losses


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, rule: LossRule, head: VocabularyHead, chunk: int
    ) -> tuple[Tensor, Tensor]:
        of_states, of_weight = ctx.needs_input_grad[:2]
        losses = states.new_empty(len(states), dtype=torch.float32)
        hits = torch.empty(len(states), dtype=torch.bool, device=states.device)

        # A frozen head needs of the logits nothing but their gradient in the states, which is as small as these: it is
        # taken in the same pass, and no logits are kept for the backward one.
        gradient = torch.empty_like(states) if of_states and not of_weight else None
        for start in range(0, len(states), chunk):
            part = slice(start, start + chunk)
            given = [own[part] for own in rule.tensors()]
            logs, slope = _log_probabilities(states[part], head)
            losses[part] = rule.losses(logs, given)
            hits[part] = logs.argmax(dim=1) == rule.likeliest(given)
            if gradient is not None:
                of_logits = _bent(rule.of_logits(logs, given), slope)
                gradient[part] = (of_logits.to(weight.dtype) @ weight).mul_(head.scale)

        # A trained head's gradient is summed over chunks, so the logits are computed a second time instead of being
        # kept.
        ctx.save_for_backward(*((states, weight) if of_weight else (gradient,)))
        ctx.settings = rule, head, chunk
        ctx.mark_non_differentiable(hits)
        return losses, hits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_losses = gradients[0][:, None]
        if not ctx.needs_input_grad[1]:
            (gradient,) = ctx.saved_tensors
            return gradient * of_losses.to(gradient.dtype), None, None, None, None
        states, weight = ctx.saved_tensors
        rule, head, chunk = ctx.settings
        of_states, of_weight = torch.empty_like(states), torch.zeros_like(weight)
        for start in range(0, len(states), chunk):
            part = slice(start, start + chunk)
            logs, slope = _log_probabilities(states[part], head)
            lost = _bent(rule.of_logits(logs, [own[part] for own in rule.tensors()]), slope)
            of_logits = (lost * of_losses[part]).to(weight.dtype)
            of_states[part] = (of_logits @ weight).mul_(head.scale)
            of_weight.addmm_(of_logits.T, states[part].to(weight.dtype), alpha=head.scale)
        return of_states, of_weight, None, None, None


def _log_probabilities(states: Tensor, head: VocabularyHead) -> tuple[Tensor, Tensor | None]:
    """Return log p (C, V) and, with a softcap, its slope 1 - tanh^2 at the raw logits."""
    logits = linear((states * head.scale).to(head.weight.dtype), head.weight).float()
    if head.bias is not None:
        logits += head.bias
    slope = None
    if head.softcap is not None:
        # In place wherever it may be: (C, V) is the largest tensor here.
        bent = logits.div_(head.softcap).tanh_()
        slope = 1 - bent.square()
        logits = bent * head.softcap
    return torch.log_softmax(logits if head.temperature == 1 else logits.div_(head.temperature), dim=1), slope


def _bent(of_logits: Tensor, slope: Tensor | None) -> Tensor:
    """Return the gradient (C, V) in the raw logits, before a softcap."""
    return of_logits if slope is None else of_logits.mul_(slope)

"""Compare with soft targets at a temperature T: T^2 KL(teacher || student).  Hinton et al., 2015, arXiv:1503.02531.

Over a vocabulary a teacher is known by its k likeliest tokens K, with probabilities t at T, and the rest r = 1 - sum t as one
class: a student loses nothing where it says of these k + 1 classes what the teacher says, whatever it says within the rest.
Without that class it would be taught that nothing but K can ever follow.

    L = T^2 (sum_K t log(t / p) + r log(r / p_rest)),   dL/dz = T (p - q),   q = t in K, r p / p_rest elsewhere
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from afina.ops.vocabulary import VocabularyHead, chunk_of, chunked_losses, plain_logits

__all__ = ["TopTokens", "plain_soft_token_losses", "soft_losses", "soft_token_losses", "top_tokens"]

_LEAST = 1e-9
"""Probability below which the rest counts as none: its logarithm would have no end."""


@dataclass(frozen=True)
class TopTokens:
    """Holds what a teacher says at N places of a text."""

    ids: Tensor
    """(N, k): its likeliest tokens, the likeliest first."""
    shares: Tensor
    """(N, k): their probabilities, float32."""
    rest: Tensor
    """(N,): that of all others together."""


def soft_losses(outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL (N,) of the student's logits (N, K) against the teacher's."""
    student, teacher = (log_softmax(own.float() / temperature, dim=-1) for own in (outputs, taught))
    # The squared temperature keeps the gradient's size, which falls with it otherwise.
    return temperature**2 * kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)


def top_tokens(states: Tensor, head: VocabularyHead, count: int, words: int | None = None) -> TopTokens:
    """Return the `count` likeliest tokens at states (N, D), among the first `words` of the vocabulary."""
    most = min(words or len(head.weight), len(head.weight))
    parts = []
    for start in range(0, len(states), step := chunk_of(states, len(head.weight))):
        logits = plain_logits(states[start : start + step], head)[:, :most]
        shares = torch.softmax(logits / head.temperature, dim=1)
        parts.append(torch.topk(shares, min(count, most), dim=1))
    if not parts:
        none = states.new_zeros((0, min(count, most)), dtype=torch.float32)
        return TopTokens(none.long(), none, none.new_zeros(0))
    shares = torch.cat([part.values for part in parts])
    return TopTokens(torch.cat([part.indices for part in parts]), shares, (1 - shares.sum(dim=1)).clamp(min=0))


@dataclass(frozen=True)
class _SoftTargets:
    top: TopTokens
    temperature: float

    def tensors(self) -> tuple[Tensor, ...]:
        return self.top.ids, self.top.shares, self.top.rest

    def likeliest(self, given: Sequence[Tensor]) -> Tensor:
        return given[0][:, 0]

    def losses(self, logs: Tensor, given: Sequence[Tensor]) -> Tensor:
        ids, shares, rest = given
        named = shares.clamp(min=_LEAST).log() - logs.gather(1, ids)
        others = rest.clamp(min=_LEAST).log() - _rest(logs.exp(), ids).clamp(min=_LEAST).log()
        return self.temperature**2 * ((shares * named).sum(dim=1) + rest * others)

    def of_logits(self, logs: Tensor, given: Sequence[Tensor]) -> Tensor:
        ids, shares, rest = given
        student = logs.exp_()
        scale = rest / _rest(student, ids).clamp(min=_LEAST)
        named = student.gather(1, ids) - shares
        return (student * (1 - scale)[:, None]).scatter_(1, ids, named).mul_(self.temperature)


def _rest(shares: Tensor, ids: Tensor) -> Tensor:
    """Return the probability (C,) of all tokens but these; summed as it is, since 1 minus the others would be rounded off."""
    return shares.scatter(1, ids, 0.0).sum(dim=1)


def soft_token_losses(states: Tensor, top: TopTokens, head: VocabularyHead, *, chunk: int | None = None) -> Tensor:
    """Return the loss (N,) of a student's states (N, D) against a teacher's likeliest tokens, at the head's temperature.

    Gradients are those of `ops/vocabulary.py`: in the states, and in the head's weight where that is trained.
    """
    return chunked_losses(states, _SoftTargets(top, head.temperature), head, chunk)[0]


def plain_soft_token_losses(states: Tensor, top: TopTokens, head: VocabularyHead) -> Tensor:
    """Compute `soft_token_losses` by its definition, with all logits at once and autograd's gradients."""
    shares = torch.softmax(plain_logits(states, head) / head.temperature, dim=1)
    inside = shares.gather(1, top.ids)
    outside = shares.scatter(1, top.ids, 0.0).sum(dim=1)
    named = (top.shares * (top.shares.clamp(min=_LEAST) / inside).log()).sum(dim=1)
    return head.temperature**2 * (named + top.rest * (top.rest.clamp(min=_LEAST) / outside.clamp(min=_LEAST)).log())

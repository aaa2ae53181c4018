"""Compute attention, softmax(Q K^T * scaling + mask) V, in the form that is fastest here.  Vaswani et al., 2017.

On a CPU the products are written out where gradients are wanted (the backward pass of torch's fused kernel takes a third
of a small model's training step), and for small bfloat16 scores, which the kernel takes twice as long for
(benchmarks/attention.py measures both). Everywhere else it is torch's fused kernel.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from afina.ops.dropout import DropoutSource, dropout
from afina.ops.kind import kind_of

__all__ = ["Scoring", "attention"]

_SMALL = 1 << 22
"""Most scores that are written out although no gradient is wanted; the fused kernel would store none."""


class Scoring(NamedTuple):
    """Says how scores are made of queries and keys, and weights of scores."""

    scaling: float
    causal: bool = False
    """True where a token sees those before it alone; without effect where there is a mask."""
    dropout_probability: float = 0.0
    softcap: float | None = None
    """With c the scores s become c tanh(s / c) before the mask (Gemma 2, 2024, arXiv:2408.00118, section 2)."""
    rows_at_once: int | None = None
    """Rows of the batch in one written-out product: a CPU's matrix library compiles code for every new shape, and so the
    shape does not depend on how many members share a pass."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scoring: Scoring,
    *,
    source: DropoutSource | None = None,
) -> Tensor:
    """Return the attention output (B, H, T, D/H) of query (B, H, T, D/H) over key and value (B, Hkv, S, D/H).

    `mask` is boolean (True: attend) or additive, broadcastable to (B, H, T, S), or None. Groups of query heads share a key
    and value head where there are fewer of these (grouped-query attention).
    """
    scaling, causal, dropout_probability, softcap, rows_at_once = scoring
    groups = query.shape[1] // key.shape[1]
    alike = mask is None or mask.shape[1] == 1
    folds = softcap is None and not torch.compiler.is_compiling() and not torch.is_grad_enabled()
    if groups > 1 and folds and alike and query.shape[2] == 1:
        # A single token's heads of a group look at the same keys: as tokens of one head they need no copy of those.
        grouped = query.reshape(query.shape[0], -1, groups, query.shape[3])  # (B, Hkv, H / Hkv, D/H)
        rest = scoring._replace(causal=False)
        return attention(grouped, key, value, mask, rest, source=source).reshape(query.shape)
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    # A mask has the causal part in it already.
    causal = causal and mask is None
    if causal and query.shape[2] != key.shape[2]:
        # With a prefix there are more keys than queries; the fused kernels would align the first query with the first key.
        rows, columns = query.shape[2], key.shape[2]
        mask, causal = torch.ones(rows, columns, dtype=torch.bool, device=query.device).tril(columns - rows), False
    small = query.dtype == torch.bfloat16 and query.shape[:3].numel() * key.shape[2] <= _SMALL
    # torch's fused kernels are best on GPUs and for passes without gradients; training on a CPU is faster by
    # `_Attention`.
    if softcap is None and (kind_of(query) != "cpu" or not (torch.is_grad_enabled() or small)):
        # A CPU has no such kernel with dropout; a card's, which it may stand for in a rehearsal, keeps nothing of it.
        dropped = dropout_probability if kind_of(query) == query.device.type else 0.0
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropped, is_causal=causal, scale=scaling
        )
    if causal:
        mask = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool, device=query.device).tril()
    # The dtype's least number and not minus infinity: a row that sees nothing (padding) would become nan.
    if mask is not None and mask.dtype == torch.bool:
        mask = query.new_zeros(mask.shape).masked_fill_(~mask, torch.finfo(query.dtype).min)
    # What the written-out gradients do not cover: a softcap, a mask that is learned, a graph that is being compiled.
    plain = softcap is not None or (mask is not None and mask.requires_grad) or torch.compiler.is_compiling()
    if plain or (dropout_probability > 0 and source is None):
        scores = torch.matmul(query * scaling, key.transpose(2, 3)).float()  # (B, H, T, S)
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        weights = torch.softmax(scores if mask is None else scores + mask, dim=-1).to(value.dtype)
        return torch.matmul(dropout(weights, dropout_probability, source), value)
    factors = None
    if dropout_probability > 0 and source is not None:
        shape = torch.Size((*query.shape[:3], key.shape[2]))
        factors = source.factors(shape, dropout_probability, _computing(value))
    each = query.shape[1] * (rows_at_once or query.shape[0])
    result: Tensor = _Attention.apply(query, key, value, mask, scaling, factors, each)  # type: ignore[no-untyped-call]
    return result


class _Attention(torch.autograd.Function):
    """Computes the plain products, with gradients written out by hand.

    Autograd would copy query, key and value for each product, multiply by the scales in separate passes, and keep the
    weights both before and after dropout. The softmax is taken in float32, which for bfloat16 inputs is also twice as fast.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        scaling: float,
        factors: Tensor | None,
        each: int,
    ) -> Tensor:
        shape = (*query.shape[:3], key.shape[2])  # (B, H, T, S)
        ctx.kinds = query.dtype, key.dtype, value.dtype
        dtype = _computing(value)

        # Heads join the batch, (B, H, T, D/H) -> (B * H, T, D/H): a batched product takes three axes.
        query, key, value = (_flat(x.to(dtype)) for x in (query, key, value))  # (B * H, T or S, D/H)
        scores = _product(query, key.mT, each, scaling)

        # In place: tensors of (B, H, T, S) are the largest here, and are allocated as seldom as possible.
        precise = scores.to(torch.promote_types(value.dtype, torch.float32))
        if mask is not None:
            # In float32: bfloat16 would round the mask's least number to minus infinity, and a row of those has no softmax.
            precise.view(shape).add_(mask)
        weights = scores.copy_(torch.softmax(precise, dim=-1, out=precise))
        factors = None if factors is None else _flat(factors)
        ctx.save_for_backward(query, key, value, weights, factors)
        ctx.scaling, ctx.heads, ctx.each = scaling, shape[:2], each
        return _by_head(_product(weights if factors is None else weights * factors, value, each), ctx.heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, factors = ctx.saved_tensors
        gradient = _flat(gradients[0])
        of_query = of_key = of_value = None
        if ctx.needs_input_grad[2]:
            dropped = weights if factors is None else weights * factors
            of_value = _by_head(_product(dropped.mT, gradient, ctx.each), ctx.heads).to(ctx.kinds[2])
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            of_weights = _product(gradient, value.mT, ctx.each)
            if factors is not None:
                of_weights *= factors
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            if ctx.needs_input_grad[0]:
                of_query = _by_head(_product(of_scores, key, ctx.each, ctx.scaling), ctx.heads).to(ctx.kinds[0])
            if ctx.needs_input_grad[1]:
                of_key = _by_head(_product(of_scores.mT, query, ctx.each, ctx.scaling), ctx.heads).to(ctx.kinds[1])
        return of_query, of_key, of_value, None, None, None, None


def _computing(value: Tensor) -> torch.dtype:
    """Return the precision of the products; under autocast, rotary embeddings may have left the inputs in float32."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else value.dtype


def _flat(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _by_head(x: Tensor, shape: torch.Size) -> Tensor:
    return x.view(*shape, *x.shape[1:])


def _product(left: Tensor, right: Tensor, each: int, scale: float = 1.0) -> Tensor:
    """Return scale * left @ right, `each` matrices of the batch at a time, with the scale inside the product."""
    result = left.new_empty(*left.shape[:2], right.shape[2])
    for target, a, b in zip(*(torch.split(x, each) for x in (result, left, right)), strict=True):
        torch.baddbmm(target, a, b, beta=0, alpha=scale, out=target)
    return result

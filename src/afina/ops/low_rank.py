"""The low-rank update of a linear layer's output, y + scale * B A x, with its gradients written out.

Eight skinny products and sums a layer are mostly overhead to autograd; written out, the update is added inside the
second product, and only the rank-wide inner values are kept for the backward pass beside `x`, which the layer has.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["low_rank_update"]


def low_rank_update(x: Tensor, y: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return y + scale * (x @ a.T) @ b.T for x (..., D_in), y (..., D_out), a (R, D_in) and b (D_out, R).

    Of a (M, R, D_in) and b (M, D_out, R), those of M adapters, each acts on its share of x and y, the first on the first
    M-th and so on. The products are taken in the precision of `y`; each gradient has that of what it belongs to.
    """
    if torch.compiler.is_compiling():  # which fuses the plain form itself, and does not see through the other
        a, b = a.to(y.dtype), b.to(y.dtype)
        return y + (scale * (_shares(x, a).to(y.dtype) @ a.mT) @ b.mT).view_as(y)
    if not torch.is_grad_enabled():
        if a.dtype != y.dtype or x.dtype != y.dtype:
            x, a, b = x.to(y.dtype), a.to(y.dtype), b.to(y.dtype)
        x = _shares(x, a)
        return _added(_shares(y, a), torch.mm(x, a.mT) if a.dim() == 2 else torch.bmm(x, a.mT), b, scale).view_as(y)
    result: Tensor = _LowRankUpdate.apply(x, y, a, b, scale)  # type: ignore[no-untyped-call]
    return result


def _shares(x: Tensor, a: Tensor) -> Tensor:
    """Return rows x (..., D) as (N, D), or for the factors of M adapters as (M, N, D)."""
    return x.reshape(*a.shape[:-2], -1, x.shape[-1])


def _added(y: Tensor, inner: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return y + scale * inner @ b.T in one product."""
    return (torch.addmm if b.dim() == 2 else torch.baddbmm)(y, inner, b.mT, alpha=scale)


class _LowRankUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.scale, ctx.kinds = scale, (x.dtype, a.dtype, b.dtype)
        # Under autocast `x` and the weights may still be float32, and the layer's output is not.
        x, a, b = _shares(x, a).to(y.dtype), a.to(y.dtype), b.to(y.dtype)
        inner = x @ a.mT  # (N, R) or (M, N, R)
        ctx.save_for_backward(x, inner, a, b)
        return _added(_shares(y, a), inner, b, scale).view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, inner, a, b = ctx.saved_tensors
        shape = gradients[0].shape[:-1]
        gradient = _shares(gradients[0], a)
        of_x = of_a = of_b = None
        if ctx.needs_input_grad[3]:
            of_b = (gradient.mT @ inner).to(ctx.kinds[2]).mul_(ctx.scale)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            of_inner = (gradient @ b).mul_(ctx.scale)
            if ctx.needs_input_grad[2]:
                of_a = (of_inner.mT @ x).to(ctx.kinds[1])
            if ctx.needs_input_grad[0]:
                of_x = (of_inner @ a).view(*shape, -1).to(ctx.kinds[0])
        return of_x, gradients[0], of_a, of_b, None

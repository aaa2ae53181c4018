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

    The products are taken in the precision of `y`; each gradient has that of what it belongs to.
    """
    if torch.compiler.is_compiling():  # which fuses the plain form itself, and does not see through the other
        a, b = a.to(y.dtype), b.to(y.dtype)
        return y + scale * (x.to(y.dtype) @ a.T) @ b.T
    result: Tensor = _LowRankUpdate.apply(x, y, a, b, scale)  # type: ignore[no-untyped-call]
    return result


class _LowRankUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        ctx.scale, ctx.kinds = scale, (x.dtype, a.dtype, b.dtype)
        # Under autocast `x` and the weights may still be float32, and the layer's output is not.
        x, a, b = x.flatten(0, -2).to(y.dtype), a.to(y.dtype), b.to(y.dtype)
        inner = x @ a.T  # (N, R)
        ctx.save_for_backward(x, inner, a, b)
        return torch.addmm(y.flatten(0, -2), inner, b.T, alpha=scale).view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, inner, a, b = ctx.saved_tensors
        shape = gradients[0].shape[:-1]
        gradient = gradients[0].flatten(0, -2)
        of_x = of_a = of_b = None
        if ctx.needs_input_grad[3]:
            of_b = (gradient.T @ inner).to(ctx.kinds[2]).mul_(ctx.scale)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            of_inner = (gradient @ b).mul_(ctx.scale)
            if ctx.needs_input_grad[2]:
                of_a = (of_inner.T @ x).to(ctx.kinds[1])
            if ctx.needs_input_grad[0]:
                of_x = (of_inner @ a).view(*shape, -1).to(ctx.kinds[0])
        return of_x, gradients[0], of_a, of_b, None

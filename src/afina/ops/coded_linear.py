"""A frozen linear layer whose weight is kept as codes of a few bits, and dequantised where it is computed with."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["CodedLinear", "Codes"]


@dataclass(frozen=True)
class Codes:
    """Holds a weight (codes - zeros) * scales whose groups are neighbouring inputs, whatever file it came from."""

    bits: int
    codes: Tensor
    """The codes (D_out, D_in), uint8."""
    scales: Tensor
    """Scales (D_out, groups), float32."""
    zeros: Tensor
    """Zeros (D_out, groups), float32, which need be no whole numbers."""


class CodedLinear(nn.Linear):
    """Computes x W^T + b (..., D_in) -> (..., D_out) with a weight that a subclass reads from its codes, its `weight`.

    Gradients pass through to the input alone: the weight is dequantised again in the backward pass, so that nothing of its
    full size is kept between the two.
    """

    storage: str = ""
    """The `precision` that such a layer is."""

    def __init__(self, width_in: int, width: int, *, bias: bool, dtype: torch.dtype, conv: bool = False) -> None:
        """Make a layer without codes on `meta`; `conv` says that it stands for transformers' Conv1D."""
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.conv = width_in, width, conv
        self.dtype = dtype
        empty = torch.empty(width, dtype=dtype, device="meta")
        self.register_parameter("bias", nn.Parameter(empty) if bias else None)

    def dense(self) -> Tensor:
        """Return the weight (D_out, D_in) in float32, dequantised anew."""
        raise NotImplementedError

    def grouping(self) -> int | None:
        """Return how many neighbouring inputs share a scale and a zero; None where others do, or they fill no row."""
        return None

    def codes(self) -> Codes:
        """Return codes, scales and zeros of a layer that has a `grouping`."""
        raise NotImplementedError

    def draw(self) -> None:
        """Fill the layer with codes at random, for measurements of a shape whose weights do not matter."""
        raise NotImplementedError

    def finish(self, path: str) -> str | None:
        """Check what was read into the layer at a path; returns what had to be assumed, as a part of a sentence.

        Raises `UsageError` for codes that stand for no weight.
        """
        return None

    def forward(self, input: Tensor) -> Tensor:
        product: Tensor = _Product.apply(input, self)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias.to(product.dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: CodedLinear) -> Tensor:
        ctx.layer = layer
        return x @ layer.dense().to(x.dtype).T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (gradient,) = gradients
        return gradient @ ctx.layer.dense().to(gradient.dtype), None

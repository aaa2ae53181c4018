"""Products with a frozen linear layer's weight, by oneDNN from copies that are laid out once as it wants them.

Such a weight never changes, so what a matrix library does at every call, laying it out in blocks, is done once: one copy for
the product and, at the first backward pass, one for its gradient. Float32 products gain most on processors of other makers
than Intel's, where torch would take them to MKL, which does half of what oneDNN does there (benchmarks/README.md).
"""

import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from afina.ops.coded_linear import CodedLinear
from afina.ops.linear import is_plain_linear

__all__ = ["FrozenProduct", "copied_bytes", "frozen_linears"]

_SHARE = 1 / 16
"""The share of the machine's memory that copies of a model's weights may take. Not of the free memory: a run that goes on
after a kill has to take the same products again, to the last bit."""
_LEAST = 1 << 18
"""Multiplications of a product that are worth the call."""
_LEAST_ROWS = 16
"""The fewest rows of a product whose weight is laid out anew each time."""


def frozen_linears(*models: nn.Module) -> dict[nn.Module, "FrozenProduct"]:
    """Return the products that stand for those of these models' linear layers; none where torch's own are as good."""
    linears = _linears(models)
    if any(module.weight.device.type != "cpu" or not _has_onednn(_dtype(module)) for module in linears):
        return {}
    copies = _fit(linears)
    if not copies and any(_dtype(module) != torch.float32 or _of_intel() for module in linears):
        return {}
    # Without room for copies codes are dequantised at each product, by the layer itself.
    lent = [module for module in linears if copies or not isinstance(module, CodedLinear)]
    return {module: FrozenProduct(module, copies=copies) for module in lent}


def copied_bytes(*models: nn.Module, bfloat16: bool | None = None) -> int:
    """Return what one copy of each such weight takes on a CPU, where there is room for them; models may be on `meta`.

    `bfloat16` says whether another machine's processor computes in that, for which it is asked; None is this one.
    """
    linears = _linears(models)
    known = all(_has_onednn_there(_dtype(module), bfloat16) for module in linears)
    return sum(map(_bytes, linears)) if known and _fit(linears) else 0


def _linears(models: Sequence[nn.Module]) -> list[Any]:
    modules = dict.fromkeys(module for model in models for module in model.modules())
    return [module for module in modules if _is_known(module)]


def _is_known(module: nn.Module) -> bool:
    return is_plain_linear(module) or isinstance(module, CodedLinear)


def _dtype(module: Any) -> torch.dtype:
    """Return what a layer computes in."""
    dtype: torch.dtype = module.dtype if isinstance(module, CodedLinear) else module.weight.dtype
    return dtype


def _bytes(module: Any) -> int:
    """Return the bytes of a layer's weight as it computes."""
    coded = isinstance(module, CodedLinear)
    count: int = module.in_features * module.out_features if coded else module.weight.numel()
    return count * _dtype(module).itemsize


def _fit(linears: Sequence[nn.Module]) -> bool:
    return 2 * sum(map(_bytes, linears)) <= _SHARE * _memory()


class FrozenProduct:
    """Computes a linear layer's product (..., D_in) -> (..., D_out), as the layer's own to rounding."""

    def __init__(self, module: Any, *, copies: bool) -> None:
        """Take a Linear, transformers' Conv1D or a layer of codes; without `copies` its weight is used as it lies."""
        self._module, self._copies = module, copies
        self._transposed = not isinstance(module, nn.Linear)  # Conv1D keeps (D_in, D_out)
        self._laid_out: dict[bool, tuple[tuple[int, int], Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Return the layer's output; a layer that is being trained computes as it would by itself."""
        weight, bias = self._module.weight, self._module.bias
        rows = x.numel() // x.shape[-1] if x.shape[-1] else 0

        # Whatever oneDNN's product is not for, or not faster for, goes the layer's own way.
        if (
            weight.requires_grad
            or (bias is not None and bias.requires_grad)
            or x.dtype != _dtype(self._module)
            or rows * weight.numel() < _LEAST
            or (not self._copies and rows < _LEAST_ROWS)
            or torch.compiler.is_compiling()
            or torch.is_autocast_enabled("cpu")
        ):
            # The class's, as the module's own may be this one by now; where it is another's, none is lent.
            plain: Tensor = type(self._module).forward(self._module, x)
            return plain
        if torch.is_grad_enabled() and x.requires_grad:
            result: Tensor = _Product.apply(x, self, bias)  # type: ignore[no-untyped-call]
            return result
        return _product(x, self.weight(back=False), bias)

    def weight(self, *, back: bool) -> Tensor:
        """Return the weight (D_out, D_in) as oneDNN wants it, or `back` its transpose, for the gradient."""
        weight: Tensor = self._module.weight.detach()
        flipped = back != self._transposed
        if not self._copies:
            return weight.t() if flipped else weight

        # A weight that was replaced or changed in place (a merge, a load) is another one, and is laid out anew.
        state = weight.data_ptr(), weight._version
        stored = self._laid_out.get(back)
        if stored is None or stored[0] != state:
            with torch.inference_mode(mode=False), torch.no_grad():
                if isinstance(self._module, CodedLinear):
                    weight = self._module.dense().to(self._module.dtype)
                wanted = weight.t() if flipped else weight
                laid_out = torch.ops.mkldnn._reorder_linear_weight(wanted.contiguous(), None)
            stored = self._laid_out[back] = state, laid_out
        return stored[1]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: FrozenProduct, bias: Tensor | None) -> Tensor:
        ctx.linear = linear
        return _product(x, linear.weight(back=False), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # No gradient for weight and bias, which are frozen: that is what makes a copy of W^T worth its memory.
        return _product(gradients[0], ctx.linear.weight(back=True), None), None, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


def _has_onednn_there(dtype: torch.dtype, bfloat16: bool | None) -> bool:
    if bfloat16 is None or dtype != torch.bfloat16:
        return _has_onednn(dtype)
    # What oneDNN has at all it has for a processor's own arithmetic.
    return bfloat16 and _has_onednn(torch.float32)


@cache
def _has_onednn(dtype: torch.dtype) -> bool:
    """Return whether this torch has oneDNN's linear product on this processor, and it multiplies as torch does."""
    if dtype not in (torch.float32, torch.bfloat16) or platform.machine() not in ("x86_64", "AMD64"):
        return False
    with torch.inference_mode(mode=False), torch.no_grad():
        # Tried once, on small numbers: whether this torch has the product is told by no flag.
        x, weight = torch.ones(32, 64, dtype=dtype), torch.eye(48, 64, dtype=dtype)
        try:
            laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, None)
            return torch.equal(_product(x, laid_out, None), x @ weight.t())
        except (RuntimeError, AttributeError):  # a torch without oneDNN, or a processor without bfloat16
            return False


@cache
def _of_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "GenuineIntel" in platform.processor()


@cache
def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)

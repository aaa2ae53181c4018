"""Round a layer's weights to codes of a few bits: each number to its nearest, or so that the layer's outputs suffer least.

A weight w is kept as a code c of 0 to 2^bits - 1, with a scale s and a zero z for each output and group of inputs:
w ~ s (c - z). `round_nearest` takes c = round(w / s) + z. `round_by_inputs` is GPTQ (Frantar et al., 2022, arXiv:2210.17323,
algorithm 1): inputs are rounded one after another, and what each loses is made good in those that come after it, by the
inverse of the Hessian H = X^T X of the layer's squared output error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RoundedWeight", "output_error", "round_by_inputs", "round_nearest"]

_BLOCK = 128
"""Inputs whose loss is passed on to all later ones at once (the paper's lazy batch updates, section 3.3)."""
_MOST_DAMP = 1.0
"""The share of the mean of H's diagonal beyond which nothing of H is left."""


@dataclass(frozen=True)
class RoundedWeight:
    """Holds the codes of a weight (D_out, D_in) and what they stand for."""

    codes: Tensor
    """uint8 (D_out, D_in)."""
    scales: Tensor
    """float16 (D_out, groups): what codes were chosen for, as files keep them."""
    zeros: Tensor
    """uint8 (D_out, groups)."""
    index: Tensor
    """int32 (D_in): the group of each input."""

    def dense(self) -> Tensor:
        """Return the weight (D_out, D_in) in float32 that the codes stand for."""
        group = self.index.long()
        return (self.codes.float() - self.zeros[:, group].float()) * self.scales[:, group].float()


def round_nearest(weight: Tensor, bits: int, group: int, *, symmetric: bool = True) -> RoundedWeight:
    """Round each number of a weight (D_out, D_in) to its nearest code; `group` inputs share a scale.

    The last group has what is left. Symmetric codes have the middle one as their zero.
    """
    weight = weight.float()
    index = _groups(weight.shape[1], group, weight.device)
    parts = [_grid(weight[:, index == each], bits, symmetric) for each in range(int(index[-1]) + 1)]
    scales, zeros = (torch.stack(values, dim=1) for values in zip(*parts, strict=True))
    group_of = index.long()
    codes = _codes(weight, scales[:, group_of].float(), zeros[:, group_of], bits)
    return RoundedWeight(codes, scales, zeros.to(torch.uint8), index)


def round_by_inputs(
    weight: Tensor, hessian: Tensor, bits: int, group: int, *, symmetric: bool = True, by_activity: bool = False,
    damp: float = 0.01,
) -> RoundedWeight:  # fmt: skip
    """Round a weight (D_out, D_in) so that outputs change little for inputs whose X^T X is `hessian` (D_in, D_in).

    With `by_activity` inputs are rounded in the order of how much they carry, the largest first (the reference's act-order),
    and groups are made of neighbours in that order. `damp` is the share of the diagonal's mean that is added to it, and is
    raised tenfold as often as H cannot be inverted. Raises `ValueError` for inputs that are no numbers.
    """
    width_in = weight.shape[1]
    diagonal = hessian.diagonal()
    order = torch.argsort(diagonal, descending=True, stable=True) if by_activity else None
    left = weight.float().clone() if order is None else weight.float()[:, order]
    factor = _inverse_factor(hessian if order is None else hessian[order][:, order], damp)
    index = _groups(width_in, group, weight.device)
    codes = torch.empty(left.shape, dtype=torch.uint8, device=weight.device)
    scales, zeros = [], []
    for start in range(0, width_in, size := _block_of(group, width_in)):
        stop = min(start + size, width_in)
        block, lost = left[:, start:stop], torch.empty_like(left[:, start:stop])
        for place in range(stop - start):
            if (start + place) % group == 0:  # a group's scale is that of its weights as they are by now
                scale, zero = _grid(left[:, start + place : start + place + group], bits, symmetric)
                scales.append(scale)
                zeros.append(zero)
            column, row = block[:, place].clone(), factor[start + place, start:stop]
            code = _codes(column, scales[-1].float(), zeros[-1], bits)
            codes[:, start + place] = code
            lost[:, place] = (column - (code.float() - zeros[-1]) * scales[-1].float()) / row[place]
            block[:, place:] -= lost[:, place, None] * row[place:]
        left[:, stop:] -= lost @ factor[start:stop, stop:]
    if order is not None:
        back = torch.argsort(order)
        codes, index = codes[:, back], index[back]
    return RoundedWeight(codes, torch.stack(scales, 1), torch.stack(zeros, 1).to(torch.uint8), index)


def output_error(weight: Tensor, rounded: Tensor, hessian: Tensor | None) -> float:
    """Return by how much a layer's outputs change, as a share: the squared change over the squared outputs, summed.

    Without a hessian it is that of inputs that are independent and alike: the weight's own change.
    """
    change, plain = rounded.float() - weight.float(), weight.float()
    lost, whole = (_squares(each, hessian) for each in (change, plain))
    return lost / whole if whole else 0.0


def _squares(weight: Tensor, hessian: Tensor | None) -> float:
    product = weight if hessian is None else weight @ hessian
    return float((product * weight).sum(dtype=torch.float64))


def _groups(width_in: int, group: int, device: torch.device) -> Tensor:
    return torch.arange(width_in, device=device, dtype=torch.int32) // group


def _block_of(group: int, width_in: int) -> int:
    """Return how many inputs are a block: a multiple of the group or a part of it, so that a group begins with all known."""
    if group <= _BLOCK:
        return group * (_BLOCK // group)
    return _BLOCK if group % _BLOCK == 0 or group >= width_in else group


def _grid(weight: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return scale (D_out), float16, and zero (D_out), float32, of one group's weights (D_out, K)."""
    most = (1 << bits) - 1
    low, high = weight.amin(dim=1).clamp(max=0), weight.amax(dim=1).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    scale = ((high - low) / most).to(torch.float16)
    # A group of zeros, or of numbers too small for float16, is one of the code that stands for 0.
    empty = scale < torch.finfo(torch.float16).tiny
    scale = torch.where(empty, torch.ones_like(scale), scale)
    middle = torch.full_like(low, (most + 1) / 2)
    zero = middle if symmetric else (-low / scale.float()).round().clamp(0, most)
    return scale, zero


def _codes(weight: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    return ((weight / scale).round() + zero).clamp(0, (1 << bits) - 1).to(torch.uint8)


def _inverse_factor(hessian: Tensor, damp: float) -> Tensor:
    """Return the upper Cholesky factor U of the inverse of the damped H: H^-1 = U^T U."""
    if not bool(hessian.isfinite().all()):
        raise ValueError("its inputs are no numbers")
    mean = hessian.diagonal().mean().clamp(min=torch.finfo(torch.float32).tiny)
    share = damp
    while True:
        damped = hessian.float().clone()
        # An input that was never there costs nothing; it is rounded by itself.
        damped.diagonal().add_(share * mean)
        factor = _tried(damped)
        if factor is not None:
            return factor
        if share >= _MOST_DAMP:
            raise ValueError("its inputs are such that no inverse of X^T X can be had")
        share = min(10 * share, _MOST_DAMP)


def _tried(matrix: Tensor) -> Tensor | None:
    factor: Callable[..., tuple[Tensor, Tensor]] = torch.linalg.cholesky_ex
    lower, failed = factor(matrix)
    if int(failed):
        return None
    upper, failed = factor(torch.cholesky_inverse(lower), upper=True)
    return None if int(failed) or not bool(upper.isfinite().all()) else upper

"""Dropout, y = x * m / (1 - p) with m ~ Bernoulli(1 - p).  Srivastava et al., 2014.

On a CPU, drawing one random float per element takes longer than the layer around it. Here a draw of 64 bits gives
four elements 16 bits each (15 are used, so that p is met to 1/32768) and the mask is applied with integer operations.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["DropoutSource", "dropout", "dropout_reference"]

_STEPS = 1 << 15
_LANE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class DropoutSource:
    """Random bits for CPU dropout, with a state that a checkpoint can keep."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.SFC64(seed)

    def keep_mask(self, count: int, probability: float) -> Tensor:
        """Return int16 (count,): all bits set where an element is kept, none where it is dropped."""
        words = self._bits.random_raw((count + 3) // 4)
        draws = torch.from_numpy(words).view(torch.int16)[:count]
        # A draw of 0..32767 is dropped when it is below p * 32768: (threshold - 1 - draw) is negative where it is kept,
        # and the arithmetic shift spreads that sign over all bits.
        return draws.bitwise_and_(_STEPS - 1).neg_().add_(round(probability * _STEPS) - 1).bitwise_right_shift_(15)

    def state(self) -> dict[str, Any]:
        """JSON-able state, for `load_state`."""
        state: Any = self._bits.state
        return {"state": [int(word) for word in state["state"]["state"]]}

    def load_state(self, state: dict[str, Any]) -> None:
        current: Any = dict(self._bits.state)
        current["state"] = {"state": np.array(state["state"], dtype=np.uint64)}
        current.update(has_uint32=0, uinteger=0)
        self._bits.state = current


class _MaskedScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _masked_scale(x, mask, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _masked_scale(gradients[0], mask, ctx.scale), None, None


def _masked_scale(x: Tensor, mask: Tensor, scale: float) -> Tensor:
    lane = _LANE[x.element_size()]
    kept = torch.bitwise_and(x.contiguous().view(lane), mask.to(lane).view(x.shape))
    return kept.view(x.dtype).mul_(scale)


def dropout(x: Tensor, probability: float, source: DropoutSource | None) -> Tensor:
    """Drop elements of `x` (any shape) with `probability` and scale the rest by 1 / (1 - probability).

    Without a source, or off the CPU, torch's own dropout is used, which is fast there.
    """
    if probability <= 0.0:
        return x
    if source is None or x.device.type != "cpu" or probability >= 1.0:
        return torch.nn.functional.dropout(x, probability)
    scale = 1.0 / (1.0 - round(probability * _STEPS) / _STEPS)
    result: Tensor = _MaskedScale.apply(  # type: ignore[no-untyped-call]
        x, source.keep_mask(x.numel(), probability), scale
    )
    return result


def dropout_reference(x: Tensor, mask: Tensor, probability: float) -> Tensor:
    """The plain definition, for a given keep mask of `x`'s shape (non-zero where kept)."""
    return x * (mask.view(x.shape) != 0) / (1.0 - round(probability * _STEPS) / _STEPS)

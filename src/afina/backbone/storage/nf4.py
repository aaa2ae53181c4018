"""Store weights in 4 bits: NormalFloat4 in blocks of 64.  Dettmers et al., 2023, arXiv:2305.14314, section 3.

The blocks' scales are quantised again (double quantisation, same section).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.storage.base import Packed, storage
from afina.backbone.storage.bitsandbytes import bitsandbytes_settings

__all__ = ["NormalFloat4"]

_BLOCK, _SCALES = 64, 256
"""Weights that share a scale, and scales that share one of their own."""


@storage("nf4")
class NormalFloat4(Packed):
    """Stores 4 bits a number."""

    weight_class = "Params4bit"
    usual = True

    @classmethod
    def configuration(cls, compute: torch.dtype, keep: Sequence[str]) -> Any:
        return bitsandbytes_settings(cls.name)(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute,
            llm_int8_skip_modules=list(keep),
        )  # fmt: skip

    @classmethod
    def made(cls, configuration: dict[str, Any]) -> bool:
        return bool(configuration.get("load_in_4bit")) and configuration.get("bnb_4bit_quant_type") == cls.name

    @classmethod
    def fits(cls, width: int, device: str) -> bool:
        """Return whether rows are whole blocks of 4 bits.

        On a CPU bitsandbytes 0.50 gives some that are not back with other blocks' scales (at 96 or 688 inputs, not at 64
        or 172).
        """
        return device != "cpu" or width % _BLOCK == 0

    @classmethod
    def full(cls, module: nn.Module) -> Tensor:
        from bitsandbytes import functional

        weight: Any = module.weight
        return functional.dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[no-any-return]

    @classmethod
    def size(cls, rows: int, columns: int) -> int:
        # Two numbers a byte, a byte a scale, and what the scales were rounded by.
        scales = -(-rows * columns // _BLOCK)
        tables = 4 * (16 + _SCALES + 1)  # the values of 4 bits and of 8, and the scales' mean
        return -(-rows * columns // 2) + scales + 4 * -(-scales // _SCALES) + tables

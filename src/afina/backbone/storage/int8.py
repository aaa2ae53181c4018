"""Weights in 8 bits, a scale for each row: LLM.int8().  Dettmers et al., 2022, arXiv:2208.07339."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.storage.base import Packed, storage
from afina.backbone.storage.bitsandbytes import bitsandbytes_settings

__all__ = ["Int8"]


@storage("int8")
class Int8(Packed):
    """Stores 8 bits a number."""

    weight_class = "Int8Params"
    keeps_inputs = True

    @classmethod
    def configuration(cls, compute: torch.dtype, keep: Sequence[str]) -> Any:
        return bitsandbytes_settings(cls.name)(load_in_8bit=True, llm_int8_skip_modules=list(keep))

    @classmethod
    def made(cls, configuration: dict[str, Any]) -> bool:
        return bool(configuration.get("load_in_8bit"))

    @classmethod
    def full(cls, module: nn.Module) -> Tensor:
        from bitsandbytes import functional

        weight: Any = module.weight
        # The first pass moves the scales from the weight to the layer.
        scales = weight.SCB if weight.SCB is not None else module.state.SCB  # type: ignore[union-attr]
        return functional.int8_vectorwise_dequant(weight.data, scales)  # type: ignore[no-any-return]

    @classmethod
    def size(cls, rows: int, columns: int) -> int:
        # A byte a number and a float32 scale a row.
        return rows * columns + 4 * rows

"""Store weights in bfloat16: float32's range in half the bytes, with three decimal digits."""

import torch

from afina.backbone.storage.base import Storage, other_machine, storage
from afina.measure.hardware import hardware

__all__ = ["BFloat16"]


@storage("bf16")
class BFloat16(Storage):
    """Stores 16 bits a number, 8 of them the exponent."""

    dtype = torch.bfloat16
    tried = True
    arithmetic = "bfloat16 arithmetic"

    @classmethod
    def here(cls, device: str) -> bool:
        if (computes := other_machine()) is not None:
            return computes
        if device.startswith("cuda"):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        # Without one of these a CPU imitates each product, and is slower than in float32.
        return bool({"avx512_bf16", "amx_bf16"} & set(hardware()["cpu_capabilities"]))

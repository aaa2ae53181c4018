"""Weights in bfloat16: float32's range in half the bytes, with three decimal digits."""

import torch

from afina.backbone.storage.base import Storage, storage

__all__ = ["BFloat16"]


@storage("bf16")
class BFloat16(Storage):
    """In 16 bits with 8 of exponent."""

    dtype = torch.bfloat16

"""Weights in float16: half the bytes and four decimal digits, in a range that large activations may leave."""

import torch

from afina.backbone.storage.base import Storage, storage

__all__ = ["Float16"]


@storage("fp16")
class Float16(Storage):
    """Stores 16 bits a number, 5 of them the exponent."""

    dtype = torch.float16

"""Weights in float16: half the bytes and four decimal digits, in a range that large activations may leave."""

import torch

from afina.backbone.storage.base import Storage, storage

__all__ = ["Float16"]


@storage("fp16")
class Float16(Storage):
    """In 16 bits with 5 of exponent."""

    dtype = torch.float16

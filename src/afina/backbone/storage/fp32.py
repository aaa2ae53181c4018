"""Weights in float32: what checkpoints are trained in, and what differences are measured against."""

import torch

from afina.backbone.storage.base import Storage, storage

__all__ = ["Float32"]


@storage("fp32")
class Float32(Storage):
    """Stores 32 bits a number."""

    exact = True
    dtype = torch.float32

"""Approximate a matrix by the nearest one of low rank.  Eckart and Young, 1936."""

import torch
from torch import Tensor

__all__ = ["low_rank_factors"]

_EXACT = 1024
"""Up to this many rows or columns the whole decomposition is taken; beyond it, a randomised one."""


def low_rank_factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return B (out, rank) and A (rank, in), the singular values shared equally, with B A nearest to weight (out, in)."""
    exact = weight.float()
    if min(exact.shape) <= _EXACT:
        u, s, vh = torch.linalg.svd(exact, full_matrices=False)
    else:
        u, s, v = torch.svd_lowrank(exact, q=rank, niter=16)
        vh = v.T
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vh[:rank]

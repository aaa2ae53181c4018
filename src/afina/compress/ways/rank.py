"""Give every linear layer the nearest weights of low rank, nearest in what comes out.  Wang et al., 2024, arXiv:2403.07378.

    S S^T = the inputs' covariance (Cholesky),   W S = U D V^T,   W' = U_r D_r V_r^T S^-1

of all matrices of rank r the one with the least error |(W - W') x| over the texts. Plain transformers has no layer of two
thin factors, so W' is written whole: the checkpoint is as large as before, which is said.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from afina.compress.way import CompressingWay, Opened, WayResult, way
from afina.errors import UsageError

__all__ = ["TruncatedRank"]

_DAMPING = 1e-4
"""Part of the covariance's mean diagonal that is added to it: some features may never have been seen."""


@way("rank")
@dataclass(frozen=True, kw_only=True)
class TruncatedRank(CompressingWay):
    """Keeps so much of each linear layer's weights as a rank allows."""

    kind = "count"
    told = "Give each linear layer weights of this rank; written whole, so that nothing gets smaller yet."
    shrinks = False

    def apply(self, opened: Opened) -> WayResult:
        rank, sites = int(self.amount), opened.linears()
        sites = [site for site in sites if rank < min(opened.module(site).get_parameter("weight").shape)]
        if not sites:
            raise UsageError(f"--rank {rank} is no less than the rank of any layer; choose a smaller one.")
        covariances = opened.judged.covariances(opened.reader, [opened.module(site) for site in sites])
        whole = thin = 0
        for site, covariance in zip(sites, covariances, strict=True):
            weight = opened.module(site).get_parameter("weight")
            plain = weight.T if site.transposed else weight
            near = nearest_of_rank(plain, rank, covariance)
            with torch.no_grad():
                weight.copy_(near.T if site.transposed else near)
            whole, thin = whole + weight.numel(), thin + rank * sum(weight.shape)
        sentence = (
            f"{len(sites)} linear layers have rank {rank} now, written whole, as plain transformers loads them: the "
            f"checkpoint is as large and as slow as before. As two factors they would be {100 * thin / whole:.0f}% of their "
            f"size; the method svd (rank: {rank}) trains them so."
        )
        return WayResult(sentence, {"layers": [site.module for site in sites]})


def nearest_of_rank(weight: Tensor, rank: int, covariance: Tensor) -> Tensor:
    """Return the matrix of a rank whose outputs are nearest to weight's (out, in), for inputs of a covariance (in, in)."""
    damped = covariance + _DAMPING * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)
    root = torch.linalg.cholesky(damped)
    left, values, right = torch.linalg.svd(weight.double() @ root, full_matrices=False)
    largest = (left[:, :rank] * values[:rank]) @ right[:rank]
    near: Tensor = torch.linalg.solve_triangular(root, largest, upper=False, left=False)
    return near.to(weight.dtype)

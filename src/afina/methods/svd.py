"""Truncated SVD as a baseline of compression: y = B A x + b in place of W x + b, B A the nearest to W of its rank.

Eckart and Young, 1936. A is (rank, in) and B (out, rank); both are then trained. What W has beyond the rank is lost, so
that a fresh one already changes the model's output.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Frozen
from afina.errors import UsageError
from afina.methods.base import Method, method
from afina.methods.rates import RateRule
from afina.ops.singular import low_rank_factors

__all__ = ["SVD", "Factors"]


class Factors(Branch):
    """Computes the layer once more, in factors."""

    def __init__(self, site: Site, *, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, site.width_in))
        self.b = nn.Parameter(torch.empty(site.width, rank))
        self._bias: Tensor | None = None

    def start(self, frozen: Frozen) -> None:
        linear = frozen.linear()
        self._bias = linear.bias
        # The best approximation of the weight at this rank (Eckart and Young, 1936), from which training goes on.
        b, a = low_rank_factors(linear.weight, len(self.a))
        self.a.copy_(a)
        self.b.copy_(b)

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        inner = nn.functional.linear(x, self.a.to(y.dtype))
        # The bias is the layer's own and is not trained.
        return nn.functional.linear(inner, self.b.to(y.dtype), None if self._bias is None else self._bias.to(y.dtype))

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return (self.b @ self.a).to(weight.dtype), bias


@method("svd")
@dataclass(frozen=True, kw_only=True)
class SVD(Method):
    """Replaces linear layers by low-rank factors, and trains on."""

    portuguese = "Troca camadas lineares por fatores de posto baixo e segue treinando."

    identity_start = False
    mergeable = True
    rates = RateRule(2.5e-3, by_steps=0.6, by_width=0.75)
    """Its factors are as large as weights: between full tuning and LoRA."""

    rank: int = 8
    """Rank of what is left; LoRA's default, for comparison at equal size."""
    targets: tuple[str, ...] = ("query", "value")
    """Roles to approximate; LoRA's default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise UsageError(f"svd: rank should be at least 1, not {self.rank}.")

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role_for_rank(self.targets, self.rank, for_method=self.name)

    def branch(self, site: Site) -> Branch:
        return Factors(site, rank=self.rank)

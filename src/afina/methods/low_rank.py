"""Low-rank updates: y = W x + scale * B A x, the branch that several methods make their own.

A is (rank, in), B is (out, rank).
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch
from afina.ops.low_rank import low_rank_update
from afina.ops.singular import low_rank_factors

__all__ = ["LowRank", "Update"]


class Update(Branch):
    """Adds scale * B A dropout(x) to the output, whatever A (rank, in) and B (out, rank) are made of."""

    adds = True

    def __init__(self, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale, self.dropout = scale, dropout

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and B as they act."""
        raise NotImplementedError

    def stack_key(self) -> Hashable:
        # Seeds and rates may differ, shapes and settings may not: only then is one batched product each branch's own.
        shapes = tuple(parameter.shape for parameter in self.parameters())
        return type(self), shapes, self.scale, self.dropout

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return self._updated(x, y, *self.factors())

    def together(self, branches: Sequence[Any]) -> Any:
        a, b = zip(*(branch.factors() for branch in branches), strict=True)
        if torch.is_grad_enabled():
            return torch.stack(a), torch.stack(b)
        # Laid out by rank: of few rows a product along the output is read up to five times as fast as one across it.
        return torch.stack(a), torch.stack([each.T for each in b]).mT

    def after_stacked(self, together: Any, x: Tensor, y: Tensor) -> Tensor:
        return self._updated(x, y, *together)

    def _updated(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
        # Only while training, and by a source that gives each adapter of a cohort its own draw.
        if self.training:
            x = dropout(x, self.dropout)
        return low_rank_update(x, y, a, b, self.scale)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        a, b = self.factors()
        # The product in float32, the weight's own type afterwards: it is rounded once.
        return weight + self.scale * (b @ a).to(weight.dtype), bias

    def by_groups(self, size: int) -> Tensor | None:
        a, b = self.factors()
        if a.shape[1] % size:
            return None
        grouped = a.view(len(a), -1, size)
        # To the bit: the codes of a group have one zero, and what differs within it would be lost.
        if not bool((grouped == grouped[..., :1]).all()):
            return None
        return self.scale * (b @ grouped[..., 0])


class LowRank(Update):
    """Makes the update of A and B themselves."""

    def __init__(self, site: Site, *, rank: int, scale: float, dropout: float) -> None:
        super().__init__(scale, dropout)
        self.a = nn.Parameter(torch.empty(rank, site.width_in))
        self.b = nn.Parameter(torch.zeros(site.width, rank))
        # PEFT's start for A; the paper's own is a normal distribution, and both give zero change as B is zero.
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def begin_at(self, change: Tensor) -> None:
        """Start with scale * B A the nearest of its rank to a change (out, in) of the weight."""
        b, a = low_rank_factors(change, len(self.a))

        # The scale is divided out in equal parts; its sign is B's.
        root = math.sqrt(abs(self.scale))
        self.a.copy_(a / root)
        self.b.copy_(b / math.copysign(root, self.scale))

    def factors(self) -> tuple[Tensor, Tensor]:
        return self.a, self.b

"""APOLLO: scale each channel of a gradient as AdamW would, seen in a random projection.  Zhu et al., 2024, arXiv:2412.05270.

    R = P G,  P (r, m) random of variance 1 / r,  G (m, n), m <= n
    s_j = |Adam(R)_j| / |R_j|  of each column j,   W <- W - rate scale G diag(s)

The moments are of R (r, n); P is drawn anew from its seed at every step and never kept. An update is at most 1.01 times as
large as the last (the paper's norm-growth limiter, section 4.1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.optimisers.adamw import adamw
from afina.optimisers.base import Group, Trained, divided, drawn, optimiser
from afina.optimisers.projected import Projected, ProjectedKind, direction, projectable

__all__ = ["Apollo"]

_GROWTH = 1.01


@optimiser("apollo")
@dataclass(frozen=True, kw_only=True)
class Apollo(ProjectedKind):
    """Keeps moments of the layers' gradients in a random projection, and takes of them each channel's size alone."""

    title = "APOLLO"
    keeps_projection, working_bytes = False, 12

    rank: int = 32
    """Rows of the projection."""
    period: int = 200
    """Steps from one random projection to the next."""
    scale: float | None = None
    """Factor on the rate of projected matrices; left out sqrt(m / rank), which gives the update the size of AdamW's (the
    paper's theorem 1)."""

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        chosen = projectable(trained, self.rank)
        inside, others = divided(groups, chosen)
        # By the place among all, so that a matrix has the same projections however the groups are cut.
        seeds = {id(value): (trained.seed, place) for place, value in enumerate(chosen)}
        return [_Apollo(inside, rate, self, seeds), *adamw(others, rate)]


class _Apollo(Projected):
    def __init__(self, groups: Sequence[Group], rate: float, kind: Apollo, seeds: dict[int, tuple[int, int]]) -> None:
        super().__init__(groups, rate)
        self.kind, self._seeds = kind, seeds

    def update(self, value: nn.Parameter, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        rank, rows = self.kind.rank, len(gradient)
        turn = (state["step"] - 1) // self.kind.period
        draw = drawn(*self._seeds[id(value)], turn)
        projection = torch.randn(rank, rows, generator=draw).div_(math.sqrt(rank)).to(gradient)
        low = projection @ gradient
        sizes = direction(state, low).norm(dim=0) / low.norm(dim=0).add_(1e-12)
        update: Tensor = gradient * sizes * (self.kind.scale or math.sqrt(rows / rank))
        norm = update.norm()
        if (before := state.get("norm")) is not None and before > 0:
            limit = torch.clamp(_GROWTH * before / norm.clamp(min=1e-12), max=1.0)
            update, norm = update * limit, norm * limit
        state["norm"] = norm
        return update

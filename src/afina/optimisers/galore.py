"""GaLore: step as AdamW in the space of the gradient's leading singular vectors.  Zhao et al., 2024, arXiv:2403.03507.

    every `period` steps  P (m, r) = the r leading left singular vectors of G (m, n), m <= n
    R = P^T G,   W <- W - rate scale P Adam(R)

The moments are of R (r, n). As the paper does, other weights (embeddings, head, biases, norms) have AdamW's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.optimisers.adamw import adamw
from afina.optimisers.base import Group, Trained, divided, optimiser
from afina.optimisers.projected import Projected, ProjectedKind, direction, projectable

__all__ = ["GaLore"]


@optimiser("galore")
@dataclass(frozen=True, kw_only=True)
class GaLore(ProjectedKind):
    """Keeps moments of the layers' gradients in a few directions, which it finds anew from time to time."""

    title = "GaLore"
    keeps_projection, working_bytes = True, 16

    rank: int = 128
    """Directions that are kept of a matrix's gradient."""
    period: int = 200
    """Steps from one choice of directions to the next."""
    scale: float = 1.0
    """Factor on the rate of projected matrices; the paper's 0.25 goes with a rate of four times AdamW's."""

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        inside, others = divided(groups, projectable(trained, self.rank))
        return [_GaLore(inside, rate, self), *adamw(others, rate)]


class _GaLore(Projected):
    def __init__(self, groups: Sequence[Group], rate: float, kind: GaLore) -> None:
        super().__init__(groups, rate)
        self.kind = kind

    def update(self, value: nn.Parameter, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        if (state["step"] - 1) % self.kind.period == 0:
            # Moments of the directions before are kept for those after, as in the paper's own code.
            left = torch.linalg.svd(gradient, full_matrices=False)[0]
            state["projection"] = left[:, : self.kind.rank].contiguous()
        projection: Tensor = state["projection"]
        return self.kind.scale * (projection @ direction(state, projection.T @ gradient))

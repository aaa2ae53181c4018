"""AdamW: step by adaptive moments with decoupled weight decay.  Loshchilov and Hutter, 2019, arXiv:1711.05101."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from afina.optimisers.base import Group, OptimiserKind, Trained, optimiser

__all__ = ["AdamW", "adamw", "moment_bytes"]


@optimiser("adamw")
@dataclass(frozen=True, kw_only=True)
class AdamW(OptimiserKind):
    """Keeps two moments of every number, in float32."""

    title = "AdamW"
    as_adamw = True

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        return adamw(groups, rate)

    def state_bytes(self, trained: Trained) -> int:
        return moment_bytes(trained.numbers())


def adamw(groups: Sequence[Group], rate: float) -> list[torch.optim.Optimizer]:
    """Return torch's AdamW over these groups; none where there are none."""
    return [torch.optim.AdamW(groups, lr=rate, fused=True)] if groups else []


def moment_bytes(numbers: int) -> int:
    """Return the bytes of AdamW's moments of so many numbers."""
    return 8 * numbers

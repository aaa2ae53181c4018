"""Muon: step the layers' matrices by momentum, made orthogonal, and the rest as AdamW.  Jordan et al., 2024, "Muon".

    M <- mu M + G,   W <- W - rate 0.2 sqrt(max(m, n)) NewtonSchulz(G + mu M)

The factor gives an update the size of AdamW's, so that AdamW's rates hold (Liu et al., 2025, arXiv:2502.16982, section 2.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from afina.errors import UsageError
from afina.optimisers.adamw import adamw, moment_bytes
from afina.optimisers.base import Group, OptimiserKind, Trained, divided, optimiser

__all__ = ["Muon"]


@optimiser("muon")
@dataclass(frozen=True, kw_only=True)
class Muon(OptimiserKind):
    """Keeps one moment of each number in a layer's matrix, and AdamW's two of all others."""

    title = "Muon"

    momentum: float = 0.95
    """The share of the momentum that stays at each step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum >= 1:
            raise UsageError(f"muon: momentum should be below 1, not {self.momentum:g}.")

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        matrices, others = divided(groups, trained.matrices())
        muon = torch.optim.Muon(matrices, lr=rate, momentum=self.momentum, adjust_lr_fn="match_rms_adamw")
        return [muon, *adamw(others, rate)]

    def state_bytes(self, trained: Trained) -> int:
        inside = sum(value.numel() for value in trained.matrices())
        return 4 * inside + moment_bytes(trained.numbers() - inside)

    def step_bytes(self, trained: Trained) -> int:
        return 12 * max((value.numel() for value in trained.matrices()), default=0)

    def check(self, method: str, trained: Trained) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise UsageError(
                f"optimiser: muon needs torch 2.9 or later, and this is {torch.__version__}; update torch."
            )
        if not trained.matrices():
            raise UsageError(
                f"optimiser: muon is for the matrices of a model's layers, and {method} trains none; leave optimiser out."
            )

"""Step by AdamW's moments of gradients that were made smaller: what GaLore and APOLLO share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from afina.errors import UsageError
from afina.optimisers.adamw import moment_bytes
from afina.optimisers.base import OptimiserKind, Trained

__all__ = ["Projected", "ProjectedKind", "direction", "projectable"]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, kw_only=True)
class ProjectedKind(OptimiserKind):
    """Keeps moments of the layers' matrices in as many rows as `rank` says, found or drawn anew after some steps."""

    every = "period"
    keeps_projection: ClassVar[bool]
    """True if the projections are kept from step to step."""
    working_bytes: ClassVar[int]
    """Bytes that a step takes for each number of the largest matrix while it computes."""

    rank: int
    period: int

    def state_bytes(self, trained: Trained) -> int:
        inside = projectable(trained, self.rank)
        others = trained.numbers() - sum(value.numel() for value in inside)
        low = sum(self.rank * max(value.shape) for value in inside)
        projections = sum(self.rank * min(value.shape) for value in inside) if self.keeps_projection else 0
        return moment_bytes(others + low) + 4 * projections

    def step_bytes(self, trained: Trained) -> int:
        return self.working_bytes * max((value.numel() for value in trained.matrices()), default=0)

    def check(self, method: str, trained: Trained) -> None:
        if not projectable(trained, self.rank):
            sides = [min(value.shape) for value in trained.matrices()]
            has = f"none of {method}'s has over {max(sides)}" if sides else f"{method} trains none"
            raise UsageError(
                f"optimiser: {self.name} keeps moments of matrices with more than {self.rank} rows and columns (its rank), "
                f"and {has}; set a smaller rank ({{{self.name}: {{rank: ...}}}}), or leave optimiser out."
            )


class Projected(torch.optim.Optimizer):
    """A torch optimiser that sees each matrix (m, n) with m <= n; subclasses say what the update of one is."""

    def __init__(self, groups: Sequence[dict[str, object]], rate: float) -> None:
        super().__init__(groups, {"lr": rate, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Take one step with the gradients that are there."""
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is None:
                    continue
                tall = value.shape[0] > value.shape[1]
                state = self.state[value]
                state["step"] = state.get("step", 0) + 1
                update = self.update(value, value.grad.T if tall else value.grad, state)
                value.mul_(1 - group["lr"] * group["weight_decay"])
                value.add_(update.T if tall else update, alpha=-group["lr"])

    def update(self, value: nn.Parameter, gradient: Tensor, state: dict[str, object]) -> Tensor:
        """Return the update (m, n) for a gradient (m, n), in place changing what is kept in `state`."""
        raise NotImplementedError


def direction(state: dict[str, object], gradient: Tensor) -> Tensor:
    """Return Adam's direction for a gradient, with moments that are kept in `state` and begin at zero."""
    if "exp_avg" not in state:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    first, second, step = state["exp_avg"], state["exp_avg_sq"], state["step"]
    assert isinstance(first, Tensor) and isinstance(second, Tensor) and isinstance(step, int)
    first.lerp_(gradient, 1 - _BETAS[0])
    second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
    scale = (second / (1 - _BETAS[1] ** step)).sqrt_().add_(_EPSILON)
    return first / (1 - _BETAS[0] ** step) / scale


def projectable(trained: Trained, rank: int) -> list[nn.Parameter]:
    """Return the layers' matrices whose shorter side is over `rank`: a projection of others would make nothing smaller."""
    return [value for value in trained.matrices() if min(value.shape) > rank]

"""AdaLoRA's ranks: which triplets are kept, and when.

Zhang et al., 2023, arXiv:2303.10512: equations 8 to 11 (importance) and 13 (budget).
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from afina.methods.base import Schedule

__all__ = ["RankSchedule", "Ranked", "budget_at"]


class Ranked(Protocol):
    """Has triplets: one column of p (out, rank), one number of l (rank, 1), one row of q (rank, in) each."""

    p: nn.Parameter
    l: nn.Parameter  # noqa: E741 - the name in the paper
    q: nn.Parameter

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


def budget_at(step: int, *, start: int, target: int, warm_up: int, final: int, total: int, interval: int) -> int | None:
    """Return the triplets to keep after `step` (from 1), or None when this step re-allots nothing (equation 13)."""
    if step <= warm_up:
        return None
    # Also where the interval is missed: training has to end with the ranks that were asked for.
    if step > total - final:
        return target
    left = 1 - (step - warm_up) / (total - final - warm_up)
    # The cube takes ranks quickly at first, while much is unimportant, and slowly at the end.
    return int((start - target) * left**3 + target) if step % interval == 0 else None


class RankSchedule(Schedule):
    """Smoothed sensitivity and uncertainty of every weight, and the budget that they are judged for."""

    def __init__(
        self, branches: Mapping[str, Ranked], *, target: int, total: int, warm_up: int, final: int, interval: int,
        betas: tuple[float, float],
    ) -> None:  # fmt: skip
        """Leave a mean rank of `target`; the other numbers are steps, and how sensitivity and uncertainty are smoothed."""
        self.branches, self.interval, self.betas = branches, interval, betas
        self.total, self.warm_up, self.final = total, warm_up, final
        self.start = sum(len(branch.l) for branch in branches.values())

        # Budgets are triplets of all sites together: an unimportant site may lose all of its own, an important one
        # keeps more.
        self.target = target * len(branches)
        parameters = [
            (f"{name}.{key}", value) for name, branch in branches.items() for key, value in branch.named_parameters()
        ]
        self.parameters = dict(parameters)
        self.sensitivity = {name: torch.zeros_like(value) for name, value in parameters}
        self.uncertainty = {name: torch.zeros_like(value) for name, value in parameters}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        # As in the authors' code and PEFT: the weights are those after the step, the gradients those before it.
        # Ranks are settled in the final phase, and nothing needs to be judged any more.
        if step < self.total - self.final:
            for name, value in self.parameters.items():
                # A weight that no text of the step came by has no gradient, and is judged by what it was.
                if value.grad is not None:
                    self._observe(name, (value * value.grad).abs())
        budget = budget_at(
            step, start=self.start, target=self.target, warm_up=self.warm_up, final=self.final, total=self.total,
            interval=self.interval,
        )  # fmt: skip
        if budget is not None:
            self._keep(budget)

    def _observe(self, name: str, importance: Tensor) -> None:
        beta1, beta2 = self.betas
        self.sensitivity[name].mul_(beta1).add_(importance, alpha=1 - beta1)
        spread = (importance - self.sensitivity[name]).abs()
        self.uncertainty[name].mul_(beta2).add_(spread, alpha=1 - beta2)

    def _keep(self, budget: int) -> None:
        if budget >= self.start:
            # All are to stay, and `kthvalue` of none would fail.
            return
        scores = {name: self._score(name) for name in self.branches}
        # Masked, not removed: a triplet whose l became zero still gets a gradient, and may come back at the next
        # re-allotment.
        threshold = torch.cat(list(scores.values())).kthvalue(self.start - budget).values
        for name, branch in self.branches.items():
            branch.l.masked_fill_((scores[name] <= threshold)[:, None], 0.0)

    def _score(self, name: str) -> Tensor:
        """Return the importance of each triplet (rank,): that of l, plus the means of its column of P and row of Q."""
        # Sensitivity times uncertainty (equations 8 to 11): what matters much and what is not yet known well are both
        # kept.
        element = {key: self.sensitivity[f"{name}.{key}"] * self.uncertainty[f"{name}.{key}"] for key in "plq"}
        return element["l"][:, 0] + element["q"].mean(dim=1) + element["p"].mean(dim=0)

    def ranks(self) -> dict[str, int]:
        """Return the triplets still in use, by site."""
        return {name: int((branch.l != 0).sum()) for name, branch in self.branches.items()}

    def state(self) -> dict[str, Tensor]:
        kinds = {"sensitivity": self.sensitivity, "uncertainty": self.uncertainty}
        return {f"{kind}/{name}": value for kind, values in kinds.items() for name, value in values.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for name, value in self.state().items():
            value.copy_(state[name])

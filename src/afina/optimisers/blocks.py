"""Train some layers at a time: BAdam, LISA.  Luo et al., 2024, arXiv:2404.02827; Pan et al., 2024, arXiv:2403.17919.

Only the gradients and AdamW's moments of these are there. Blocks are visited in an order that the
seed draws anew for each round; the moments of a block begin at zero when its turn comes. A head always trains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import nn

from afina.errors import UsageError
from afina.optimisers.adamw import moment_bytes
from afina.optimisers.base import OUTSIDE, Group, OptimiserKind, Trained, drawn, optimiser

__all__ = ["BAdam", "Lisa"]


@dataclass(frozen=True, kw_only=True)
class _InTurns(OptimiserKind):
    """Takes turns among blocks of layers."""

    by_turns = True

    period: int | None = None
    """Steps of a block's turn; left out 100 (BAdam) or 20 (LISA), or fewer so that every block has two turns."""
    layers: int = 1
    """Layers of a turn."""

    def blocks(self, trained: Trained) -> list[list[nn.Parameter]]:
        """Return what takes turns."""
        return list(_by_layer(trained, outside=True).values())

    def most(self) -> int:
        """Return the steps of a turn where the run is long enough."""
        return 100

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        blocks = self.blocks(trained)
        turns = ceil(len(blocks) / self.layers)
        period = self.period or max(1, min(self.most(), trained.total_steps // (2 * turns)))
        return [_Turns(groups, rate, blocks, self.layers, period, trained.seed)]

    def begin(self, parts: Sequence[torch.optim.Optimizer], step: int) -> None:
        for part in parts:
            assert isinstance(part, _Turns)
            part.begin(step)

    def state_bytes(self, trained: Trained) -> int:
        return moment_bytes(self._active(trained))

    def gradient_bytes(self, trained: Trained) -> int:
        return 4 * self._active(trained)

    def check(self, method: str, trained: Trained) -> None:
        if len(blocks := self.blocks(trained)) <= self.layers:
            raise UsageError(
                f"optimiser: {self.name} trains {self.layers} of several layers at a time, and what {method} trains lies in "
                f"{len(blocks)}; leave optimiser out."
            )

    def _active(self, trained: Trained) -> int:
        """Return the most numbers that train at one time."""
        sizes = sorted((sum(value.numel() for value in block) for block in self.blocks(trained)), reverse=True)
        return trained.numbers() - sum(sizes[self.layers :])


@optimiser("badam")
@dataclass(frozen=True, kw_only=True)
class BAdam(_InTurns):
    """Trains one layer at a time, the embeddings as one more."""

    title = "BAdam"


@optimiser("lisa")
@dataclass(frozen=True, kw_only=True)
class Lisa(_InTurns):
    """Trains the embeddings all the time, and beside them two layers that change."""

    title = "LISA"

    layers: int = 2
    """Layers of a turn (the paper's gamma)."""

    def blocks(self, trained: Trained) -> list[list[nn.Parameter]]:
        return list(_by_layer(trained, outside=False).values())

    def most(self) -> int:
        return 20


def _by_layer(trained: Trained, *, outside: bool) -> dict[int, list[nn.Parameter]]:
    """Return what is trained of each layer, and with `outside` of the base outside of all."""
    by_layer: dict[int, list[nn.Parameter]] = {}
    for name, value in trained.parameters.items():
        layer = trained.layers.get(name)
        if layer is not None and (outside or layer != OUTSIDE):
            by_layer.setdefault(layer, []).append(value)
    return by_layer


class _Turns(torch.optim.AdamW):
    """AdamW over the blocks whose turn it is; the others want no gradient and have no moments."""

    def __init__(
        self, groups: Sequence[Group], rate: float, blocks: Sequence[Sequence[nn.Parameter]], together: int, period: int,
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__(groups, lr=rate, fused=True)
        self.blocks, self.together, self.period, self.seed = blocks, together, period, seed

    def begin(self, step: int) -> None:
        """Give the turn to the blocks whose it is at this step."""
        active = self.active(step)
        for place, block in enumerate(self.blocks):
            for value in block:
                value.requires_grad_(place in active)
                if place not in active:
                    value.grad = None
                    self.state.pop(value, None)

    def active(self, step: int) -> set[int]:
        """Return the blocks that train at step `step` (from 1)."""
        turns = ceil(len(self.blocks) / self.together)
        turn = (step - 1) // self.period
        order: list[int] = torch.randperm(len(self.blocks), generator=drawn(self.seed, turn // turns)).tolist()
        start = (turn % turns) * self.together
        return set(order[start : start + self.together])

"""Step as AdamW does with moments in 8 bits, paged, or both, by bitsandbytes.  Dettmers et al., 2022, arXiv:2110.02861.

In 8 bits each block of 256 numbers has a scale of its own, and a table of 256 values that are dense near zero. Tensors of
fewer than 4,096 numbers keep float32, as bitsandbytes does. Paged moments lie in memory that a GPU short of its own may page
out to the computer's (Dettmers et al., 2023, arXiv:2305.14314, section 3); a CPU has nothing to page out of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from afina.errors import UsageError
from afina.optimisers.adamw import moment_bytes
from afina.optimisers.base import Group, OptimiserKind, Trained, optimiser

__all__ = ["AdamW8bit", "PagedAdamW", "PagedAdamW8bit"]

_LEAST, _BLOCK = 4_096, 256
"""Numbers of a tensor from which on its moments are in 8 bits, and those that share a scale."""


def _eight_bits(trained: Trained) -> int:
    sizes = [value.numel() for value in trained.parameters.values()]
    # Two bytes a number, two scales a block, and two tables a tensor that each keeps for itself once it was resumed.
    return sum(2 * n + 8 * -(-n // _BLOCK) + 2_048 if n >= _LEAST else moment_bytes(n) for n in sizes)


@dataclass(frozen=True, kw_only=True)
class _ByBitsandbytes(OptimiserKind):
    """Steps by an optimiser of bitsandbytes', with moments of its own size."""

    as_adamw = True
    theirs: ClassVar[str]
    """The name of bitsandbytes' class."""
    eight_bits: ClassVar[bool]
    unpaged: ClassVar[str] = ""
    """The optimiser that does the same where there is no GPU to page out of; empty where this one does."""

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        try:
            from bitsandbytes import optim
        except ImportError:
            raise UsageError(
                f"optimiser: {self.theirs.lower()} needs bitsandbytes: pip install 'afina[quantised]'."
            ) from None
        kind: Any = getattr(optim, self.theirs)
        return [kind(groups, lr=rate, weight_decay=0.0)]

    def state_bytes(self, trained: Trained) -> int:
        return _eight_bits(trained) if self.eight_bits else moment_bytes(trained.numbers())

    def check(self, method: str, trained: Trained) -> None:
        if self.unpaged and trained.device == "cpu":
            raise UsageError(
                f"optimiser: {self.name} pages a GPU's memory out to the computer's, and there is no GPU; set optimiser: "
                f"{self.unpaged}."
            )


@optimiser("adamw8bit")
@dataclass(frozen=True, kw_only=True)
class AdamW8bit(_ByBitsandbytes):
    """Keeps AdamW's moments in 8 bits, a scale for each block."""

    title = "AdamW in 8 bits"
    theirs, eight_bits = "AdamW8bit", True

    def step_bytes(self, trained: Trained) -> int:
        # On a CPU a tensor's moments are unpacked to float32 for its step, beside copies of it and its gradient.
        largest = max((value.numel() for value in trained.parameters.values()), default=0)
        return 24 * largest if trained.device != "cuda" else 0


@optimiser("paged_adamw")
@dataclass(frozen=True, kw_only=True)
class PagedAdamW(_ByBitsandbytes):
    """Keeps AdamW's moments in memory that a GPU short of its own may page out."""

    title = "paged AdamW"
    theirs, eight_bits, unpaged = "PagedAdamW32bit", False, "adamw"


@optimiser("paged_adamw8bit")
@dataclass(frozen=True, kw_only=True)
class PagedAdamW8bit(_ByBitsandbytes):
    """Keeps AdamW's moments in 8 bits and in memory that a GPU short of its own may page out."""

    title = "paged AdamW in 8 bits"
    theirs, eight_bits, unpaged = "PagedAdamW8bit", True, "adamw8bit"

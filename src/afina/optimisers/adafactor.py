"""Adafactor: keep of a matrix's second moments only the sums of rows and columns.  Shazeer and Stern, 2018, arXiv:1804.04235.

    v_ij = r_i c_j / sum(r),   update = g / sqrt(v), clipped to a root mean square of 1

without a first moment. The rate is the run's own, as AdamW's is: steps in proportion to a weight's size (the paper's section
8) would leave matrices that begin at zero, as LoRA's do, at zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from afina.optimisers.base import Group, OptimiserKind, Trained, optimiser

__all__ = ["Adafactor"]


@optimiser("adafactor")
@dataclass(frozen=True, kw_only=True)
class Adafactor(OptimiserKind):
    """Keeps a number for each row and column of a matrix, and one for each of a vector's."""

    title = "Adafactor"

    clip: float = 1.0
    """Largest root mean square of an update (the paper's d, section 6)."""

    def build(self, groups: Sequence[Group], rate: float, trained: Trained) -> list[torch.optim.Optimizer]:
        from transformers.optimization import Adafactor as Theirs

        options = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
        return [Theirs(groups, lr=rate, clip_threshold=self.clip, **options)]

    def state_bytes(self, trained: Trained) -> int:
        shapes = [value.shape for value in trained.parameters.values()]
        # Of a stack of matrices each has its own rows and columns.
        return sum(4 * (prod(s[:-1]) + prod(s[:-2]) * s[-1] if len(s) > 1 else prod(s)) for s in shapes)

    def step_bytes(self, trained: Trained) -> int:
        largest = max((value.numel() for value in trained.parameters.values()), default=0)
        return 8 * largest  # the gradient's squares, and the update

"""QA-LoRA: y = W x + s B A p(x), where p sums the inputs of each group.  Xu et al., 2023, arXiv:2309.14717, algorithm 1.

A is (rank, D_in / pool), B is (D_out, rank), s = alpha / rank. It is LoRA of which the inputs of a group share one number of
A, so that A starts as LoRA's does. W is (code - zero) * scale with a zero for each output and group of inputs, and what is
learned is one number for each of these too: (code - (zero - s B A / scale)) * scale is W with the change in it, in the
same codes. The zeros are no whole numbers then, as HQQ's files keep them and GPTQ's do not.
"""

import math

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.branch import Frozen
from afina.errors import UsageError
from afina.methods.low_rank import Update
from afina.ops.coded_linear import CodedLinear

__all__ = ["Pooled", "pooled_factor"]


class Pooled(Update):
    """Makes the update of A, a number for each group of inputs, and B."""

    def __init__(self, site: Site, *, rank: int, scale: float, dropout: float, pool: int) -> None:
        """Make the branch; raises `UsageError` where the site's inputs are no whole groups."""
        super().__init__(scale, dropout)
        if site.width_in % pool:
            raise UsageError(f"pool: {site.name} has {site.width_in} inputs, which are no whole groups of {pool}.")
        self.pool = pool
        self.a = nn.Parameter(torch.empty(rank, site.width_in // pool))
        self.b = nn.Parameter(torch.zeros(site.width, rank))
        # As PEFT starts an A of all inputs; by its own width it would start the larger, the larger groups are.
        bound = 1 / math.sqrt(site.width_in)
        nn.init.uniform_(self.a, -bound, bound)

    def start(self, frozen: Frozen) -> None:
        module = frozen.linear().module
        size = module.grouping() if isinstance(module, CodedLinear) else None
        if size is None:
            raise UsageError(
                f"pool: {self.pool} learns what can go into the zeros of codes that neighbouring inputs share, and "
                f"{frozen.site.module} has none: take a checkpoint in codes whose groups are in order (afina quantise "
                "--method gptq without --act-order makes one), or leave pool out."
            )
        if self.pool % size:
            raise UsageError(
                f"pool: {self.pool} is no multiple of the {size} inputs that share a zero in {frozen.site.module}; set "
                f"pool: {size}."
            )

    def factors(self) -> tuple[Tensor, Tensor]:
        return pooled_factor(self.a, self.pool), self.b

    def stored(self) -> dict[str, Tensor]:
        # As a plain LoRA, which loads anywhere: what can be merged into zeros is seen from A itself.
        return dict(zip("ab", self.factors(), strict=True))


def pooled_factor(a: Tensor, pool: int) -> Tensor:
    """Return A (rank, D_in) of one (rank, D_in / pool) whose numbers are those of groups."""
    return a.repeat_interleave(pool, dim=1)

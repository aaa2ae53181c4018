"""LoRA: y = W x + (alpha / rank) B A x.  Hu et al., 2021, arXiv:2106.09685, equation 3.

A is (rank, in), B is (out, rank); B starts at zero, so that nothing changes at the start. With `rslora` the scale is
alpha / sqrt(rank) (Kalajdzievski, 2023, arXiv:2312.03732).

PiSSA (Meng et al., 2024, arXiv:2404.02948, equations 2 to 4) starts B A at W's largest singular directions and takes them
out of W. W is never changed here, so that what is added is (alpha / rank) (B A - B0 A0) x, which starts at zero but for
rounding; as a LoRA of twice the rank, [B, -B0] [A; A0], it is saved, and loads anywhere.

LoftQ (Li et al., 2023, arXiv:2310.08659, algorithm 1) starts on a quantised base Q at what quantising lost: (alpha / rank)
B A is the nearest to W - Q of its rank. This is its first round (T = 1); further ones quantise W - B A anew, and the base
here is every adapter's.

With `pool` the inputs of a group share a number of A (QA-LoRA, `pooled.py`).
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Frozen
from afina.backbone.quantise import is_quantised
from afina.errors import UsageError
from afina.methods.base import Method, method
from afina.methods.lora_peft import LoRAForm
from afina.methods.low_rank import LowRank
from afina.methods.peft_form import by_module
from afina.methods.pooled import Pooled
from afina.methods.rates import RateRule

__all__ = ["LoRA", "OfTheLost", "Principal", "scale_remarks"]


class Principal(LowRank):
    """PiSSA: A and B from W's largest singular directions, which are taken out again."""

    def start(self, frozen: Frozen) -> None:
        self.begin_at(frozen.linear().weight)
        self._first = self.a.detach().clone(), self.b.detach().clone()

    def factors(self) -> tuple[Tensor, Tensor]:
        # PiSSA takes the principal part out of W. W is shared by all adapters here, so it is subtracted in the branch
        # instead, as further ranks that are not trained.
        first_a, first_b = self._first
        return torch.cat([self.a, first_a]), torch.cat([self.b, -first_b], dim=1)

    def stored(self) -> dict[str, Tensor]:
        return dict(zip("ab", self.factors(), strict=True))


class OfTheLost(LowRank):
    """Starts A and B at what quantising took from the weight (LoftQ)."""

    def start(self, frozen: Frozen) -> None:
        linear = frozen.linear()
        if not is_quantised(linear.module):
            raise UsageError(
                "init: loftq makes up for what quantising lost, and this base is whole; set precision: nf4, or leave init "
                "out."
            )
        if linear.weight.device.type == "meta":  # a plan asks for sizes alone
            return
        self.begin_at(frozen.original() - linear.weight.float().cpu())


def scale_remarks(method: Any, written: Collection[str], rank: int, scale: float, usual: float) -> list[str]:
    """Say that another rank under an alpha that nobody chose is another scale.

    Alpha stays, as the paper has it (section 4.1): the 1 / rank in the scale is there so that a learning rate found at one
    rank holds at another.
    """
    if "alpha" in written or math.isclose(scale, usual):
        return []
    return [
        f"{method.name}: alpha stays {method.alpha:g} at rank {rank}, so that the scale is {scale:.3g} ({usual:.3g} at its "
        f"default rank); alpha: {method.alpha * usual / scale:.3g} would keep the scale."
    ]


@method("lora")
@dataclass(frozen=True, kw_only=True)
class LoRA(Method):
    """Adapts linear layers by low-rank updates."""

    portuguese = "Adapta camadas lineares por atualizações de posto baixo."

    mergeable = True
    probe = True
    peft = LoRAForm("LORA", {"a": "lora_A.weight", "b": "lora_B.weight"}, {"a": "rank", "b": "block"})
    rates = RateRule(1.6e-3, by_steps=0.6, by_width=0.75)
    """The paper's 5e-4 for RoBERTa-base on most of GLUE (table 9) is for ten thousand steps and more."""
    writer_rates = RateRule(3e-3, by_steps=0.5, by_width=0.75)
    """A language head that is already there bears more than a new one."""
    writer_settings: ClassVar = {"targets": ("all",)}

    rank: int = 8
    """Rank of the change; the paper's for RoBERTa (table 9)."""
    alpha: float = 8.0
    """Numerator of the scale; the paper's for RoBERTa (table 9) and PEFT's default."""
    dropout: float = 0.0
    """Dropout on the branch's input; PEFT's default, and the paper's for RoBERTa."""
    targets: tuple[str, ...] = ("query", "value")
    """Roles to adapt; the paper's choice (section 4.2)."""
    init: Literal["kaiming", "pissa", "loftq"] = "kaiming"
    """Start of A and B: PEFT's default, W's largest singular directions, or what quantising the base lost."""
    pool: int | None = None
    """Inputs that share a number of A, a base's quantisation group or a multiple of it, so that its codes can take what is
    learned (QA-LoRA)."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank)."""
    b_rate: float = 1.0
    """Rate of B over that of A; LoRA+ (Hayou et al., 2024, arXiv:2402.12354) advises 16 with a lower learning_rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise UsageError(f"{self.name}: rank should be at least 1, not {self.rank}.")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"{self.name}: dropout should be from 0 up to 1, not {self.dropout}.")
        if self.alpha == 0:
            raise UsageError(f"{self.name}: alpha is 0, by which nothing that is learned would count; leave it out.")
        if self.pool is not None and (self.pool < 1 or self.init != "kaiming"):
            raise UsageError(f"{self.name}: pool is a number of inputs, and goes with init: kaiming alone.")
        if self.b_rate <= 0:
            raise UsageError(f"{self.name}: b_rate should be above 0, not {self.b_rate:g}.")

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def remarks(self, written: Collection[str]) -> list[str]:
        return scale_remarks(self, written, self.rank, self.scale, replace(self, rank=type(self).rank).scale)

    def rule(self, *, speaks: bool) -> RateRule:
        """Return the rate's rule: a change grows with scale times rank, by A and B, so the rate falls with its root."""
        return (
            # A negative alpha learns as well as a positive one: its sign is B's to take.
            super().rule(speaks=speaks).times(math.sqrt(type(self).alpha / abs(self.scale * self.rank * self.b_rate)))
        )

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role_for_rank(self.targets, self.rank, for_method=self.name)

    def branch(self, site: Site) -> Branch:
        if self.pool:
            return Pooled(site, rank=self.rank, scale=self.scale, dropout=self.dropout, pool=self.pool)
        # PiSSA's start differs in more than numbers: it takes its first A and B out again.
        kind = {"pissa": Principal, "loftq": OfTheLost}.get(self.init, LowRank)
        return kind(site, rank=self.rank, scale=self.scale, dropout=self.dropout)

    def rate_factors(self, names: Iterable[str], anatomy: Anatomy) -> dict[str, float]:
        # Only the branches' own B: a head may have a parameter of that name.
        return {name: self.b_rate for name in names if name.startswith("branches.") and name.endswith(".b")}

    def stored(self) -> Method:
        if self.init != "pissa":
            return replace(self, init="kaiming", pool=None)  # its start is in A and B, and its groups are seen in A
        # A saved adapter is a plain LoRA of twice the rank, with the start among its ranks; alpha grows with it, as the
        # scale of either kind has to stay.
        rank = 2 * self.rank
        return replace(self, init="kaiming", rank=rank, alpha=self.scale * (math.sqrt(rank) if self.rslora else rank))

    def peft_config(self, sites: Sequence[Site], total_steps: int | None, prefix: str) -> dict[str, Any]:
        # A fused projection's adapter is joined from those of its slices, and its rank the sum of theirs.
        ranks = {module: self.rank * len(own) for module, own in by_module(sites).items()}
        growth = {module: rank / self.rank for module, rank in ranks.items()}
        return {
            "rank_pattern": ranks,
            "alpha_pattern": {
                module: self.alpha * (math.sqrt(times) if self.rslora else times) for module, times in growth.items()
            },
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "bias": "none",
            "fan_in_fan_out": any(site.transposed for site in sites),
        }

"""AdaLoRA: y = W x + (alpha / r0) P diag(l) Q x, the ranks re-allotted by importance while training.

Zhang et al., 2023, arXiv:2303.10512: equations 3 (form) and 4 (orthogonality); how ranks are re-allotted: `ranks.py`.
P is (out, r0), l (r0,), Q (r0, in) with r0 the starting rank; l starts at zero, so nothing changes at the start.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Placed
from afina.errors import UsageError
from afina.methods.base import Method, Schedule, method
from afina.methods.bitfit import own_biases
from afina.methods.lora import scale_remarks
from afina.methods.lora_peft import LOW_RANK, factors_at
from afina.methods.low_rank import Update
from afina.methods.peft_form import Number, PeftForm, PeftKey, Place, by_module, filled
from afina.methods.ranks import RankSchedule
from afina.methods.rates import RateRule

__all__ = ["AdaLoRA", "Triplets"]


class Triplets(Update):
    """Adds scale * P diag(l) Q dropout(x); a triplet is one column of P, one number of l, one row of Q."""

    def __init__(self, site: Site, *, rank: int, scale: float, dropout: float, orthogonality: float) -> None:
        super().__init__(scale, dropout)
        self.orthogonality = orthogonality
        # P and Q start random and l at zero: the change is zero, and yet every triplet gets a gradient through its l.
        self.q = nn.Parameter(torch.randn(rank, site.width_in) * 0.02)
        self.l = nn.Parameter(torch.zeros(rank, 1))
        self.p = nn.Parameter(torch.randn(site.width, rank) * 0.02)

    def factors(self) -> tuple[Tensor, Tensor]:
        # l is worked into Q, so that all that is written for A and B (stacking, folding, export) serves here too.
        return self.q * self.l, self.p

    def penalty(self) -> Tensor | None:
        """Return orthogonality * the mean of |P^T P - I| and |Q Q^T - I| in Frobenius norm.

        The paper squares the norms and adds them (equation 4); its authors' code and PEFT, which we follow, do not.
        """
        unit = torch.eye(len(self.l), device=self.l.device)
        departures: Tensor = torch.linalg.norm(self.p.T @ self.p - unit) + torch.linalg.norm(self.q @ self.q.T - unit)
        return self.orthogonality * departures / 2


def _slices(sites: Sequence[Site]) -> set[int]:
    """Return of how many slices the modules are adapted; a whole one counts as one."""
    # Slices count by module, as PEFT's file has one adapter for all slices of a module.
    whole = {1 for site in sites if site.part is None}
    return whole | {len(own) for own in by_module(sites).values()}


_ENDED = (
    "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "total_step",
)  # fmt: skip


@dataclass(frozen=True)
class AdaLoRAForm(PeftForm):
    """Reads low-rank factors with a number between them for each rank."""

    keys = (
        *LOW_RANK,
        PeftKey("init_r", "read", "denominator of the scale: the rank at the start", kind=Number),
        PeftKey("use_dora", "refused", "DoRA's magnitudes on AdaLoRA", plain=(False, None)),
        PeftKey("use_qalora", "refused", "QA-LoRA's pooled inputs on AdaLoRA", plain=(False, None)),
        PeftKey("qalora_group_size", "nothing", "says how much, for use_qalora"),
        PeftKey("init_lora_weights", "nothing", "how it started"),
        PeftKey("lora_bias", "refused", "a bias on AdaLoRA's P", plain=(False, None)),
        PeftKey("trainable_token_indices", "refused", "tokens with vectors of their own beside AdaLoRA"),
        *(PeftKey(name, "nothing", "how ranks were given while training") for name in _ENDED),
        PeftKey("orth_reg_weight", "nothing", "a penalty while training"),
    )

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        made: list[Placed] = []
        # A place may have a bias of its own and nothing else.
        if "lora_A" in values:
            q, p = factors_at(place, values, ("lora_A", "lora_B"))
            numbers = place.take(values, "lora_E", (len(q), 1))
            # By the rank at the start, however many are left; 1e-5 is PEFT's guard against none, as is what it makes of
            # alpha.
            first, alpha = float(place.config["init_r"]), float(place.config["lora_alpha"])
            scale = (alpha if alpha > 0 else first) / (first + 1e-5)
            branch = Triplets(place.site, rank=len(q), scale=scale, dropout=0.0, orthogonality=0.0)
            made.append(filled(branch, q=q, l=numbers, p=p))
        return [*made, *own_biases(place, values)]


@method("adalora")
@dataclass(frozen=True, kw_only=True)
class AdaLoRA(Method):
    """Adapts by low-rank updates whose ranks are re-allotted by importance."""

    portuguese = "Adapta por atualizações de posto baixo cujos postos são redistribuídos por importância."

    mergeable = True
    peft = AdaLoRAForm(
        "ADALORA", {"q": "lora_A", "l": "lora_E", "p": "lora_B"}, {"q": "rank", "l": "rank", "p": "block"}
    )
    rates = RateRule(1.2e-2, by_steps=0.5, by_width=0.5)
    """The paper's 5e-4 to 2.2e-3 on GLUE (table 8) are for ten thousand steps and more."""
    writer_settings: ClassVar = {"targets": ("all",)}

    rank: int = 8
    """Mean rank that is left at the end; PEFT's `target_r`."""
    start_rank: int | None = None
    """Rank of every site at the start; left out, 1.5 times `rank` (the paper, section 4)."""
    alpha: float = 8.0
    """Numerator of the scale, over the starting rank; PEFT's default."""
    dropout: float = 0.0
    targets: tuple[str, ...] = ("query", "value")
    """Roles to adapt; LoRA's choice, so that the two compare (the paper itself adapts all linear layers)."""
    warm_up: float = 0.1
    """Share of the steps before any rank is taken; about the paper's (table 8: 0.09 to 0.15)."""
    final: float = 0.5
    """Share of the steps at the end at which the ranks stay; about the paper's (table 8: 0.44 to 0.58)."""
    interval: int = 10
    """Steps between two re-allotments; the paper's for the smaller data sets (table 8)."""
    beta1: float = 0.85
    """Smoothing of the sensitivity; PEFT's default, the paper's."""
    beta2: float = 0.85
    """Smoothing of the uncertainty; PEFT's default, the paper's."""
    orthogonality: float = 0.5
    """Weight of the orthogonality penalty; PEFT's default (the paper uses 0.1 to 0.5)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise UsageError(f"{self.name}: rank should be at least 1, not {self.rank}.")
        if self.first_rank < self.rank:
            raise UsageError(f"{self.name}: start_rank {self.start_rank} is below rank {self.rank}.")
        if self.warm_up < 0 or self.final < 0 or self.warm_up + self.final >= 1:
            raise UsageError(
                f"{self.name}: warm_up {self.warm_up} and final {self.final} should leave some steps between them."
            )
        # At 1 a smoothed value would never take in anything new.
        for key in ("dropout", "beta1", "beta2"):
            if not 0 <= getattr(self, key) < 1:
                raise UsageError(f"{self.name}: {key} should be from 0 up to 1, not {getattr(self, key):g}.")
        if self.alpha == 0 or self.orthogonality < 0:
            raise UsageError(
                f"{self.name}: alpha should not be 0 and orthogonality not below 0, not {self.alpha:g} and "
                f"{self.orthogonality:g}."
            )
        if self.interval < 1:
            raise UsageError(f"{self.name}: interval should be at least 1, not {self.interval}.")

    @property
    def first_rank(self) -> int:
        # At least one more, or there would be nothing to give away.
        return self.start_rank if self.start_rank is not None else max(self.rank + 1, round(1.5 * self.rank))

    def remarks(self, written: Collection[str]) -> list[str]:
        usual = self.alpha / type(self)().first_rank
        return scale_remarks(self, written, self.first_rank, self.alpha / self.first_rank, usual)

    def phases(self, total_steps: int) -> tuple[int, int]:
        """Return the steps of warm-up and of the final phase."""
        # Rounded down: two shares that add up to nearly all still leave the steps between.
        return int(self.warm_up * total_steps), int(self.final * total_steps)

    def rule(self, *, speaks: bool) -> RateRule:
        """Return LoRA's rule, with the root of alpha."""
        return super().rule(speaks=speaks).times(math.sqrt(type(self).alpha / abs(self.alpha)))

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role_for_rank(self.targets, self.first_rank, for_method=self.name)

    def branch(self, site: Site) -> Branch:
        return Triplets(
            site,
            rank=self.first_rank,
            # The 1e-5 is PEFT's, so that its files give the same function here.
            scale=self.alpha / (self.first_rank + 1e-5),
            dropout=self.dropout,
            orthogonality=self.orthogonality,
        )

    def steps_beside(self, branches: Mapping[str, Placed], total_steps: int) -> Schedule:
        # Only triplets have ranks to give away; a bias that is trained beside them has none.
        triplets = {name: branch for name, branch in branches.items() if isinstance(branch, Triplets)}
        warm_up, final = self.phases(total_steps)
        return RankSchedule(
            triplets, target=self.rank, total=total_steps, warm_up=warm_up, final=final, interval=self.interval,
            betas=(self.beta1, self.beta2),
        )  # fmt: skip

    def joins(self, sites: Sequence[Site]) -> bool:
        # PEFT has one starting rank for all modules: each has to be joined of equally many slices.
        return len(_slices(sites)) == 1

    def peft_config(self, sites: Sequence[Site], total_steps: int | None, prefix: str) -> dict[str, Any]:
        warm_up, final = self.phases(total_steps or 0)

        # PEFT sees one adapter where a fused projection has one for each slice here: rank and alpha grow alike, so the
        # scale is the same.
        (slices,) = _slices(sites)
        return {
            "init_r": self.first_rank * slices,
            "target_r": self.rank * slices,
            "lora_alpha": self.alpha * slices,
            "lora_dropout": self.dropout,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "orth_reg_weight": self.orthogonality,
            "tinit": warm_up,
            "tfinal": final,
            "deltaT": self.interval,
            "total_step": total_steps,
            "fan_in_fan_out": any(site.transposed for site in sites),
            "bias": "none",
        }

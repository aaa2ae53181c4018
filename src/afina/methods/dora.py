"""DoRA: y = m / |W + s B A| * (W + s B A) x + b, magnitude and direction apart.  Liu et al., 2024, arXiv:2402.09353.

Equation 5; |.| is the norm of each output's row of weights, m (out,) starts at |W|, A and B as in LoRA, s = alpha / rank.
As the paper proposes (section 4.3), no gradient flows through the norm. B starts at zero, so nothing changes at the start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch, Frozen, FrozenLinear, Placed, shares
from afina.errors import AfinaError, UsageError
from afina.methods.base import method
from afina.methods.lora import LoRA
from afina.methods.lora_peft import STARTS, LoRAForm, bias_of_b, factors_at, scale_at
from afina.methods.low_rank import LowRank
from afina.methods.peft_form import Place, filled

__all__ = ["DoRA", "MagnitudeDirection"]


class MagnitudeDirection(LowRank):
    """The low-rank update of the direction, and the magnitude of each output."""

    adds = False

    def __init__(self, site: Site, *, rank: int, scale: float, dropout: float) -> None:
        super().__init__(site, rank=rank, scale=scale, dropout=dropout)
        self.magnitude = nn.Parameter(torch.ones(site.width))
        self._linear: FrozenLinear | None = None

    def start(self, frozen: Frozen) -> None:
        self._linear = frozen.linear()
        # W is frozen, so this part of the norm is computed once, in float32 whatever the weights are in.
        self._squared_norm = self._linear.weight.float().square().sum(dim=1)  # (out,)
        self.magnitude.copy_(self._norm())

    def _norm(self) -> Tensor:
        """Return |W + s B A| by rows, (out,), without making the matrix: |W|^2 + 2 s <W, B A> + s^2 |B A|^2."""
        # Without a gradient, as the paper has it (section 4.3): the norm is taken for a constant, which saves the
        # memory of W's size.
        with torch.no_grad():
            assert self._linear is not None, "start is called before the first pass"
            a, b, weight = self.a, self.b, self._linear.weight
            shared = ((weight @ a.T.to(weight.dtype)).float() * b).sum(dim=1)
            update = ((b @ (a @ a.T)) * b).sum(dim=1)
            # Rounding can bring a sum that is nearly zero below it.
            return (self._squared_norm + 2 * self.scale * shared + self.scale**2 * update).clamp_min_(0).sqrt()

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return self._turned(super().after(x, y), self._ratio())

    def together(self, branches: Sequence[Any]) -> Any:
        return super().together(branches), torch.stack([branch._ratio() for branch in branches])[:, None]

    def after_stacked(self, together: Any, x: Tensor, y: Tensor) -> Tensor:
        factors, ratios = together
        turned = super().after_stacked(factors, x, y)
        return self._turned(shares(turned, len(ratios)), ratios).view_as(y)

    def _ratio(self) -> Tensor:
        return self.magnitude / self._norm()

    def _turned(self, turned: Tensor, ratio: Tensor) -> Tensor:
        ratio = ratio.to(turned.dtype)
        bias = None if self._linear is None else self._linear.bias
        if bias is None:
            return turned * ratio
        # Written so that a ratio of one changes no bit.
        return turned + (turned - bias.to(turned.dtype)) * (ratio - 1)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        turned, _ = super().fold(weight, bias)
        # The bias is no part of the direction, and stays.
        return turned * self._ratio()[:, None].to(weight.dtype), bias


@dataclass(frozen=True)
class DoRAForm(LoRAForm):
    """Reads LoRA with `use_dora` set and a magnitude at each layer; all else of such a file is LoRA's to read."""

    endings: ClassVar[tuple[str, ...]] = ("lora_magnitude_vector.weight",)
    unread: ClassVar[tuple[str, ...]] = ()

    def check(self, path: Path, config: Mapping[str, Any]) -> None:
        """Leave the configuration to LoRA's form."""

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        names = [name for name in ("lora_magnitude_vector", "lora_magnitude_vector.weight") if name in values]
        if not place.config.get("use_dora"):
            if names:
                raise AfinaError(
                    f"{place.folder} is damaged: '{place.path}' has magnitudes of DoRA, and use_dora is not set."
                )
            # A LoRA's file comes by here too, and is LoRA's to read.
            return []

        # A magnitude belongs to a pair of A and B; a place without them has another kind of adapter.
        if "lora_A.weight" not in values:
            return []
        a, b = factors_at(place, values)
        scale, start = scale_at(place, len(a)), str(place.config.get("init_lora_weights"))
        if not names:
            raise AfinaError(
                f"{place.folder} is damaged: '{place.path}' lacks the magnitudes of its DoRA (use_dora is set)."
            )

        # PEFT has kept it as (out,), and for convolutions and embeddings with further axes of one.
        values[names[0]] = values[names[0]].flatten()
        magnitude = place.take(values, names[0], (place.site.width,))
        if start in STARTS:
            raise UsageError(f"{place.folder} is DoRA started as {start}, which together are not read.")
        branch = MagnitudeDirection(place.site, rank=len(a), scale=scale, dropout=0.0)
        return [filled(branch, a=a, b=b, magnitude=magnitude), *bias_of_b(place, values, scale)]


@method("dora")
@dataclass(frozen=True, kw_only=True)
class DoRA(LoRA):
    """Adapts by a low-rank update with weights decomposed into magnitude and direction; LoRA's settings."""

    portuguese = (
        "Adapta por uma atualização de posto baixo com os pesos decompostos em magnitude e direção; ajustes da LoRA."
    )

    peft = DoRAForm(
        "LORA",
        {"a": "lora_A.weight", "b": "lora_B.weight", "magnitude": "lora_magnitude_vector"},
        {"a": "rank", "b": "block", "magnitude": "lengths"},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # A start that changes the base would make the magnitudes those of another matrix.
        if self.init != "kaiming":
            raise UsageError(f"dora: init is 'kaiming', not '{self.init}', whose start the magnitude would not fit.")
        if self.pool:
            raise UsageError("dora: pool is for lora and qlora; a magnitude cannot go into the zeros of codes.")

    def branch(self, site: Site) -> Branch:
        return MagnitudeDirection(site, rank=self.rank, scale=self.scale, dropout=self.dropout)

    def peft_config(self, sites: Sequence[Site], total_steps: int | None, prefix: str) -> dict[str, Any]:
        return super().peft_config(sites, total_steps, prefix) | {"use_dora": True}

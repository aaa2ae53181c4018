"""IA3: scale keys, values and hidden units by learned vectors, y = l * (W x).  Liu et al., 2022, arXiv:2205.05638.

l has one number per feature and starts at one, so that nothing changes at the start.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Placed, shares
from afina.methods.base import Method, method
from afina.methods.peft_form import EVERY, TARGETS, PeftForm, PeftKey, Place, filled
from afina.methods.rates import RateRule

__all__ = ["IA3", "ScaleInput", "ScaleOutput"]


class ScaleOutput(Branch):
    """y * l, with l kept as (out, 1), the shape of PEFT's files."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1))

    def stack_key(self) -> Hashable:
        return type(self), self.scale.shape

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return y * self.scale[:, 0].to(y.dtype)

    def together(self, branches: Sequence[Any]) -> Tensor:
        return torch.stack([branch.scale[:, 0] for branch in branches])[:, None]

    def after_stacked(self, together: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return (shares(y, len(together)) * together.to(y.dtype)).view_as(y)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        scale = self.scale.to(weight.dtype)
        # The bias is scaled too, as what is scaled is the layer's output.
        return weight * scale, None if bias is None else bias * scale[:, 0]


class ScaleInput(Branch):
    """Scales the input: W (x * l) + b, with l stored as (1, in)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, width))

    def stack_key(self) -> Hashable:
        return type(self), self.scale.shape

    def before(self, x: Tensor) -> Tensor:
        return x * self.scale[0].to(x.dtype)

    def together(self, branches: Sequence[Any]) -> Tensor:
        return torch.stack([branch.scale for branch in branches])

    def before_stacked(self, together: Tensor, x: Tensor) -> Tensor:
        return (shares(x, len(together)) * together.to(x.dtype)).view_as(x)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight * self.scale.to(weight.dtype), bias


@dataclass(frozen=True)
class IA3Form(PeftForm):
    """Reads one vector a module, (1, in) before it or (out, 1) behind it."""

    keys = (
        *EVERY,
        *TARGETS,
        PeftKey("feedforward_modules", "tensors", "where the input is scaled, not the output"),
        PeftKey("fan_in_fan_out", "tensors", "whether the base keeps its weights as (in, out)"),
        PeftKey("init_ia3_weights", "nothing", "how it started"),
    )

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        if "ia3_l" not in values:
            return []
        # The shape tells the side, as PEFT keeps one name for both; a width of one on both sides does not occur.
        before = values["ia3_l"].shape[:1] == (1,)
        branch = ScaleInput(place.site.width_in) if before else ScaleOutput(place.site.width)
        return [filled(branch, scale=place.take(values, "ia3_l", tuple(branch.scale.shape)))]


@method("ia3")
@dataclass(frozen=True, kw_only=True)
class IA3(Method):
    """Learned scales on keys, values and the feed-forward layer's hidden units."""

    portuguese = "Aprende escalas de chaves, valores e unidades ocultas da camada feed-forward."

    mergeable = True
    peft = IA3Form("IA3", {"scale": "ia3_l"}, {"scale": "ones"})
    rates = RateRule(1.5e-2, by_steps=0.4, by_width=0.5)
    """Published comparisons of rates found 1e-3 to 5e-3 best; the paper's 3e-3 is for Adafactor."""

    targets: tuple[str, ...] = ("key", "value", "ffn_down")
    """Roles to scale at (the paper, section 3.3); at `ffn_down` the input is scaled, elsewhere the output."""
    length_normalisation: float = 1.0
    """The paper's (section 3.2), where a language model is scored over answers."""
    unlikelihood: float = 1.0
    """The paper's, likewise."""

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role(self.targets, for_method=self.name)

    def branch(self, site: Site) -> Branch:
        return ScaleInput(site.width_in) if site.role == "ffn_down" else ScaleOutput(site.width)

    def peft_config(self, sites: Sequence[Site], total_steps: int | None, prefix: str) -> dict[str, Any]:
        return {
            # PEFT tells by module, not by tensor, on which side the vector stands.
            "feedforward_modules": sorted({f"{prefix}{site.module}" for site in sites if site.role == "ffn_down"}),
            "fan_in_fan_out": any(site.transposed for site in sites),
        }

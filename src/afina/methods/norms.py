"""Norm tuning: train each norm's scale and shift, y = norm(x) * w + b.  Zhao et al., 2024, arXiv:2312.11420.

w and b (LayerNorm's; RMSNorm has no b) have one number per feature and start at the model's own, so that nothing changes
at the start.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Frozen, Placed
from afina.errors import AfinaError, UsageError
from afina.methods.base import Method, method
from afina.methods.peft_form import EVERY, TARGETS, PeftForm, Place, filled
from afina.methods.rates import RateRule
from afina.ops.whole_tensor import whole

__all__ = ["Norms", "OwnNorm"]


class OwnNorm(Branch):
    """Computes the norm once more, with weights of its own."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(site.width))
        self.bias = nn.Parameter(torch.zeros(site.width)) if site.biased else None
        self.centred, self.epsilon, self.offset = True, 1e-5, 0.0

    def start(self, frozen: Frozen) -> None:
        module = frozen.module
        self.centred = isinstance(module, nn.LayerNorm)
        # transformers' classes call it by either name.
        epsilon = getattr(module, "eps", None) or getattr(module, "variance_epsilon", None)
        # T5's is called LayerNorm and is an RMSNorm.
        if epsilon is None or not (self.centred or type(module).__name__.endswith(("RMSNorm", "T5LayerNorm"))):
            raise UsageError(f"norms: {frozen.site.name} is a {type(module).__name__}, not a LayerNorm or RMSNorm.")
        self.epsilon = float(epsilon)
        self.offset = 1.0 if type(module).__name__.startswith("Gemma") else 0.0  # Gemma keeps w - 1
        for name, value in self.named_parameters():
            value.copy_(whole(module.get_parameter(name)))

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        # The norm's own output cannot be reused where its scale is near zero, so it is computed again from the input.
        weight = self.weight.to(y.dtype)
        if self.centred:
            bias = None if self.bias is None else self.bias.to(y.dtype)
            return nn.functional.layer_norm(x, weight.shape, weight, bias, self.epsilon)
        # In transformers' order of roundings, so that equal weights give equal results.
        exact = x.float()
        exact = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + self.epsilon)
        if self.offset:
            return (exact * (self.offset + self.weight.float())).to(y.dtype)
        return weight * exact.to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # Weights take the place of the norm's own; nothing is added.
        return self.weight.to(weight.dtype), None if self.bias is None else self.bias.to(weight.dtype)


@dataclass(frozen=True)
class NormForm(PeftForm):
    """Reads a norm's own scale and shift."""

    keys = (*EVERY, *TARGETS)

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        tensors: dict[str, Tensor] = {}
        for name, there in self.parameters.items():
            if there in values:
                tensors[name] = place.take(values, there, (place.site.width,))
        if not tensors:
            return []
        # A scale without its shift would leave the norm half another model's.
        if ("bias" in tensors) != place.site.biased or "weight" not in tensors:
            raise AfinaError(f"{place.folder}: the norm '{place.path}' and that of {place.model} have unlike weights.")
        return [filled(OwnNorm(place.site), **tensors)]


@method("norms")
@dataclass(frozen=True, kw_only=True)
class Norms(Method):
    """Scales and shifts of all norms."""

    portuguese = "Treina escalas e deslocamentos de todas as normas."

    mergeable = True
    peft = NormForm("LN_TUNING", {"weight": "ln_tuning_layers.weight", "bias": "ln_tuning_layers.bias"})
    rates = RateRule(3.5e-3, by_steps=0.5, by_width=0.5)
    """The rule of biases (bitfit), which are about as many; the paper's 2e-5 to 2e-4 are for models of 7 billion weights."""

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.of_kind("norm")

    def branch(self, site: Site) -> Branch:
        return OwnNorm(site)

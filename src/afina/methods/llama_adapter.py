"""LLaMA-Adapter: in the top layers, gated attention to a trainable prompt.  Zhang et al., 2023, arXiv:2303.16199.

o + g * softmax(q (P W_k)^T / sqrt(d)) (P W_v), with the layer's own frozen W_k and W_v, P (length, width) and one gate g a
layer. The paper gates each head's scores before they are joined with the text's (equations 6 to 8); like PEFT, we gate
their output. g starts at zero, so that nothing changes at the start.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import AttentionBranch, Frozen, FrozenLinear
from afina.errors import UsageError
from afina.methods.base import LONGEST_PROMPT, Method, method
from afina.methods.rates import RateRule
from afina.ops.attention import attention

__all__ = ["GatedPrompt", "LlamaAdapter"]


class GatedPrompt(AttentionBranch):
    """The prompt of a layer and its gate."""

    def __init__(self, site: Site, *, length: int) -> None:
        super().__init__()
        self.heads, self.width = site.heads, site.width
        self.prompt = nn.Parameter(torch.randn(length, site.width_in) * 0.02)
        self.gate = nn.Parameter(torch.zeros(1))
        self._projections: tuple[FrozenLinear, ...] = ()
        self._scaling = self.width**-0.5

    def start(self, frozen: Frozen) -> None:
        self._projections = (frozen.linear("key"), frozen.linear("value"))
        self._scaling = float(getattr(frozen.module, "scaling", None) or self.width**-0.5)

    def after(self, query: Tensor, output: Tensor) -> Tensor:
        prompt = self.prompt.to(query.dtype)
        key, value = (
            nn.functional.linear(prompt, linear.weight.to(prompt.dtype), linear.bias)
            .view(len(prompt), self.heads, self.width)
            .transpose(0, 1)
            .expand(len(query), -1, -1, -1)  # (B, heads, length, head width)
            for linear in self._projections
        )
        own = attention(query, key, value, None, scaling=self._scaling)
        return output + self.gate.to(own.dtype) * own


@method("llama-adapter")
@dataclass(frozen=True, kw_only=True)
class LlamaAdapter(Method):
    """Gated prompts in the top layers."""

    rates = RateRule(2.5e-2, by_steps=0.5, by_width=0.5)
    """The paper's 9e-3 (section 4.1) is for a model of 7 billion weights."""

    length: int = 10
    """Tokens of a prompt; the paper's (section 4.1)."""
    layers: int | None = None
    """Top layers that get one; all but two if not given, as in the paper (30 of 32)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.length <= LONGEST_PROMPT or (self.layers is not None and self.layers < 1):
            raise UsageError(
                f"llama-adapter: length should be from 1 to {LONGEST_PROMPT:,} and layers at least 1, not {self.length} and "
                f"{self.layers}."
            )

    def in_every_layer(self) -> Method:
        return _InEveryLayer(**self.settings())

    def sites(self, anatomy: Anatomy) -> list[Site]:
        places = anatomy.of_kind("attention")
        wanted = max(1, len(places) - 2) if self.layers is None else self.layers
        if wanted > len(places):
            raise UsageError(f"llama-adapter: the model has {len(places)} layers, not {wanted}.")
        return places[-wanted:]

    def branch(self, site: Site) -> AttentionBranch:
        return GatedPrompt(site, length=self.length)


class _InEveryLayer(LlamaAdapter):
    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.of_kind("attention")

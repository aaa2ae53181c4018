"""LLaMA-Adapter: add gated attention to a trainable prompt in the top layers.  Zhang et al., 2023, arXiv:2303.16199.

o + g * softmax(q (P W_k)^T / sqrt(d)) (P W_v), with the layer's own frozen W_k and W_v, P (length, width) and one gate g a
layer. The paper gates each head's scores before they are joined with the text's (equations 6 to 8); like PEFT, we gate
their output. g starts at zero, so that nothing changes at the start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import AttentionBranch, Frozen, FrozenLinear, Placed
from afina.backbone.load import Backbone
from afina.errors import UsageError
from afina.methods.base import LONGEST_PROMPT, Method, check_prompt, method
from afina.methods.peft_form import EVERY, PeftFile, PeftForm, PeftKey, Place, filled
from afina.methods.rates import RateRule
from afina.ops.attention import Scoring, attention

__all__ = ["GatedPrompt", "LlamaAdapter"]


class GatedPrompt(AttentionBranch):
    """Holds the prompt of a layer and its gate."""

    def __init__(self, site: Site, *, length: int) -> None:
        super().__init__()
        self.heads, self.width = site.heads, site.width
        self.prompt = nn.Parameter(torch.randn(length, site.width_in) * 0.02)
        # A gate of zero leaves the model as it is at the start, and lets the gradient reach the gate itself.
        self.gate = nn.Parameter(torch.zeros(1))
        self._projections: tuple[FrozenLinear, ...] = ()
        self._scaling = self.width**-0.5

    def start(self, frozen: Frozen) -> None:
        # The prompt is projected by the layer's own frozen key and value, which are looked up once and asked for
        # weights each time.
        self._projections = (frozen.linear("key"), frozen.linear("value"))
        # transformers keeps a model's own scaling at the attention, where it is not the root of the width.
        self._scaling = float(getattr(frozen.module, "scaling", None) or self.width**-0.5)

    def after(self, query: Tensor, output: Tensor) -> Tensor:
        prompt = self.prompt.to(query.dtype)
        # Prompts go by the layer's own projections without a position: they stand nowhere in the text.
        key, value = (
            nn.functional.linear(prompt, linear.weight.to(prompt.dtype), linear.bias)
            .view(len(prompt), self.heads, self.width)
            .transpose(0, 1)
            .expand(query.shape[0], -1, -1, -1)  # (B, heads, length, head width)
            for linear in self._projections
        )
        # A softmax of its own over the prompt, as in the paper: the text's attention weights are not changed by it.
        attended = attention(query, key, value, None, Scoring(self._scaling))
        return output + self.gate.to(attended.dtype) * attended


_FAMILIES = ("llama", "mistral")
"""Architectures whose gated prompts are the same function in PEFT."""


@dataclass(frozen=True)
class GatedPromptForm(PeftForm):
    """Reads a prompt (1, length, width) and a gate at each attention, which PEFT has in language models alone."""

    keys = (
        *EVERY,
        PeftKey("target_modules", "tensors", "which modules are adapted"),
        PeftKey("adapter_len", "tensors", "length of the prompts"),
        PeftKey("adapter_layers", "tensors", "how many layers have one"),
    )
    endings = ("adaption_prompt", "adaption_gate")
    beyond = "but in language models of the Llama and Mistral families"

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        if "adaption_prompt" not in values:
            return []
        # Other families turn queries by positions elsewhere in PEFT.
        if place.model_type not in _FAMILIES:
            raise UsageError(f"{place.folder}: PEFT's gated prompts are another function in {place.model_type} models.")
        prompt = place.take(values, "adaption_prompt", (1, None, place.site.width_in))[0]
        gate = place.take(values, "adaption_gate", (1,))
        return [
            filled(GatedPrompt(place.site, length=check_prompt(len(prompt), place.folder)), prompt=prompt, gate=gate)
        ]

    def converted(
        self, name: str, placed: Sequence[tuple[Site, Placed]], backbone: Backbone, *, tags: bool
    ) -> PeftFile | None:
        if backbone.language is None or backbone.anatomy.model_type not in _FAMILIES:
            return None
        tensors: dict[str, Tensor] = {}
        for site, branch in placed:
            assert isinstance(branch, GatedPrompt)
            root = f"base_model.model.{backbone.prefix}{site.module}"
            tensors |= {f"{root}.adaption_prompt": branch.prompt[None], f"{root}.adaption_gate": branch.gate}
        # One length for all layers, as PEFT's file says it once.
        length = next(value.shape[1] for value in tensors.values())
        return PeftFile("ADAPTION_PROMPT", tensors, {"adapter_len": length, "adapter_layers": len(placed)})


@method("llama-adapter")
@dataclass(frozen=True, kw_only=True)
class LlamaAdapter(Method):
    """Puts gated prompts in the top layers."""

    portuguese = "Põe prompts com comporta nas camadas de cima."

    peft = GatedPromptForm("ADAPTION_PROMPT")
    rates = RateRule(1.8e-2, by_steps=0.5, by_width=0.5)
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
        # A model cut down to its adapted layers has none below that would be left out.
        return _InEveryLayer(**self.settings())

    def sites(self, anatomy: Anatomy) -> list[Site]:
        places = anatomy.of_kind("attention")
        # The lowest layers stay as they are, as in the paper; a model of one or two layers has its top one adapted.
        wanted = max(1, len(places) - 2) if self.layers is None else self.layers
        if wanted > len(places):
            raise UsageError(f"llama-adapter: the model has {len(places)} layers, not {wanted}.")
        return places[-wanted:]

    def branch(self, site: Site) -> AttentionBranch:
        return GatedPrompt(site, length=self.length)


class _InEveryLayer(LlamaAdapter):
    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.of_kind("attention")

"""Prefix tuning: put trainable keys and values before each layer's own.  Li and Liang, 2021, arXiv:2101.00190, equation 3.

With `reparametrise` they come from a smaller matrix through a network (section 4.3), which the trained adapter still
has. The prefix is attended from the first step on, so that a fresh one already changes the model's output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import AttentionBranch, Placed
from afina.backbone.configuration import window_of
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError
from afina.methods.base import LONGEST_PROMPT, Method, check_prompt, method
from afina.methods.peft_form import ENCODER, EVERY, VIRTUAL, PeftFile, PeftForm, PeftKey, virtual_config
from afina.methods.rates import RateRule

__all__ = ["KeysAndValues", "Prefix"]


class KeysAndValues(AttentionBranch):
    """Holds `length` keys and values of a layer, (heads, length, head width) each."""

    def __init__(self, site: Site, *, length: int, hidden: int | None, moves: bool = False) -> None:
        super().__init__()
        self.moves, self.prepends = length if moves else 0, length
        self.heads, self.width = site.heads, site.width
        out = 2 * site.heads * site.width
        if hidden is None:
            # Small, so that what is attended at the start weighs little.
            self.embedding = nn.Parameter(torch.randn(length, out) * 0.02)
            self.network: nn.Module | None = None
        else:
            self.embedding = nn.Parameter(torch.randn(length, site.width_in))
            self.network = nn.Sequential(nn.Linear(site.width_in, hidden), nn.Tanh(), nn.Linear(hidden, out))

    def keys_and_values(self) -> tuple[Tensor, Tensor]:
        both = self.embedding if self.network is None else self.network(self.embedding)  # (length, out)
        # (length, 2 * heads * head width) -> two of (heads, length, head width)
        key, value = both.view(len(both), 2, self.heads, self.width).permute(1, 2, 0, 3)
        return key, value

    def before(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        # The same for all rows, without a copy: expanding costs no memory.
        own_key, own_value = (own.to(key.dtype).expand(query.shape[0], -1, -1, -1) for own in self.keys_and_values())
        if mask is not None:
            # A mask of truths lets through where it is true, one of numbers where it adds nothing: every token sees the
            # prefix.
            seen = mask.new_ones if mask.dtype == torch.bool else mask.new_zeros
            mask = torch.cat([seen(*mask.shape[:3], own_key.shape[2]), mask], dim=3)
        return query, torch.cat([own_key, key], dim=2), torch.cat([own_value, value], dim=2), mask

    def kept(self) -> tuple[Tensor, Tensor]:
        return self.keys_and_values()


@dataclass(frozen=True)
class PrefixForm(PeftForm):
    """Reads one matrix (length, layers * 2 * heads * head width): layer by layer, keys before values."""

    keys = (
        *EVERY,
        *VIRTUAL,
        PeftKey("encoder_hidden_size", "nothing", ENCODER),
        PeftKey("prefix_projection", "nothing", ENCODER),
        PeftKey("init_weights", "nothing", "how it started"),
    )
    loose = ("prompt_embeddings",)

    def read_loose(self, tensors: Mapping[str, Tensor], backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
        if not backbone.anatomy.row.causal:
            raise UsageError(f"{folder}: a prefix of PEFT moves the text's positions, which only decoders allow here.")
        sites, whole = backbone.anatomy.of_kind("attention"), tensors["prompt_embeddings"].float()
        width = 2 * sites[0].heads * sites[0].width
        if whole.ndim != 2 or whole.shape[1] != width * len(sites):
            raise AfinaError(
                f"{folder}: its prefix is {tuple(whole.shape)} and {backbone.name} needs {width * len(sites)} numbers a "
                "token; it was trained on another base model."
            )
        check_prompt(len(whole), folder)
        branches = [KeysAndValues(site, length=len(whole), hidden=None, moves=True) for site in sites]
        for branch, part in zip(branches, whole.view(len(whole), len(sites), width).unbind(1), strict=True):
            branch.embedding.data.copy_(part)
        return list(zip(sites, branches, strict=True))

    def reading_note(self, backbone: Backbone) -> str | None:
        # PEFT counts the prefix among the window's tokens; here it is beside them.
        window = window_of(backbone.config)
        if window is None:
            return None
        return (
            f"a prefix under a sliding window of {window} tokens: here every token of a text sees it, in PEFT those beyond "
            "the window do not, so that texts longer than that are answered otherwise there"
        )

    def converted(
        self, name: str, placed: Sequence[tuple[Site, Placed]], backbone: Backbone, *, tags: bool
    ) -> PeftFile | None:
        branches = [branch for _, branch in placed if isinstance(branch, KeysAndValues)]
        # Positions that moved are another function, which cannot be made of one trained without.
        if not all(branch.moves for branch in branches):
            raise UsageError(
                f"PEFT would move the text's positions on by this {name}, which it was trained without; "
                f"train it with {{{name}: {{positions: moved}}}}, on a decoder, to export it."
            )

        # A network that made the vectors is gone in PEFT's file: only what it made is kept.
        layers = [torch.stack(branch.keys_and_values()).permute(2, 0, 1, 3).flatten(1) for branch in branches]
        # Any attention tells the heads' width: all are alike.
        whole, first = torch.cat(layers, dim=1), placed[0][0]
        config = {"num_virtual_tokens": len(whole), "token_dim": first.heads * first.width, **virtual_config(backbone)}
        return PeftFile("PREFIX_TUNING", {"prompt_embeddings": whole}, config, "base_model.")


@method("prefix")
@dataclass(frozen=True, kw_only=True)
class Prefix(Method):
    """Puts trainable keys and values in every layer."""

    portuguese = "Põe chaves e valores treináveis em cada camada."

    identity_start = False
    peft = PrefixForm("PREFIX_TUNING")
    rates = RateRule(3.3e-2, by_steps=0.3, by_width=0.5)
    """PEFT's example for classification has 1e-2."""

    length: int = 20
    """Keys and values a layer; of the lengths in the paper's figure 4, where classification is served well."""
    reparametrise: bool = False
    """Make them by a network from a matrix; the paper found it steadier, later work did not need it."""
    hidden: int = 512
    """Width of that network; the paper's for its smaller task (appendix A)."""
    positions: Literal["kept", "moved"] = "kept"
    """`kept` leaves the text's positions; `moved` counts the prefix before them, as PEFT does; decoders only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.length <= LONGEST_PROMPT or not 1 <= self.hidden <= 16_384:
            raise UsageError(
                f"prefix: length should be from 1 to {LONGEST_PROMPT:,} and hidden from 1 to 16,384, not {self.length} and "
                f"{self.hidden}."
            )

    def rule(self, *, speaks: bool) -> RateRule:
        """Return the rule of a network's rate, above the paper's 5e-5 to 8e-5 of many thousand steps."""
        return super().rule(speaks=speaks).times(0.04 if self.reparametrise else 1.0)

    def sites(self, anatomy: Anatomy) -> list[Site]:
        if self.positions == "moved" and not anatomy.row.causal:
            raise UsageError(f"prefix: positions are moved in decoders only; {anatomy.model_type} is none.")
        return anatomy.of_kind("attention")

    def branch(self, site: Site) -> AttentionBranch:
        hidden = self.hidden if self.reparametrise else None
        return KeysAndValues(site, length=self.length, hidden=hidden, moves=self.positions == "moved")

"""Prompt tuning: put P trainable vectors before the text's embeddings.  Lester et al., 2021, arXiv:2104.08691, section 2.

They are attended from the first step on, so that a fresh prompt already changes the model's output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Frozen, Placed, PromptBranch
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError
from afina.methods.base import LONGEST_PROMPT, Method, check_prompt, method
from afina.methods.peft_form import EVERY, VIRTUAL, PeftFile, PeftForm, PeftKey, virtual_config
from afina.methods.rates import RateRule
from afina.ops.whole_tensor import whole

__all__ = ["Prompt", "PromptForm", "SoftPrompt"]


class SoftPrompt(PromptBranch):
    """Holds the vectors themselves, (length, width)."""

    def __init__(self, site: Site, *, length: int, from_vocabulary: bool, seen: bool = False) -> None:
        super().__init__()
        self.seen = seen
        self.length, self.from_vocabulary = length, from_vocabulary
        self.embedding = nn.Parameter(torch.randn(length, site.width) * 0.5)

    def start(self, frozen: Frozen) -> None:
        module = frozen.module
        if self.from_vocabulary and isinstance(module, nn.Embedding):  # images and sound have no words
            words = torch.randint(module.num_embeddings, (self.length,), device=module.weight.device)
            weights = {name: whole(value) for name, value in module.named_parameters()}
            self.embedding.copy_(functional_call(module, weights, (words,)))  # as the model scales them

    def vectors(self) -> Tensor:
        return self.embedding


@dataclass(frozen=True)
class PromptForm(PeftForm):
    """Reads one matrix of vectors before the text, however they were made."""

    keys = (
        *EVERY,
        *VIRTUAL,
        *(PeftKey(name, "nothing", "how it started") for name in (
            "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
        )),
    )  # fmt: skip
    loose = ("prompt_embeddings",)

    def read_loose(self, tensors: Mapping[str, Tensor], backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
        (site,), vectors = backbone.anatomy.of_kind("embedding"), tensors["prompt_embeddings"].float()
        if vectors.ndim != 2 or vectors.shape[1] != site.width:
            raise AfinaError(
                f"{folder}: its prompt is {tuple(vectors.shape)} and {backbone.name}'s embeddings are {site.width} wide; it "
                "was trained on another base model."
            )
        branch = SoftPrompt(site, length=check_prompt(len(vectors), folder), from_vocabulary=False, seen=True)
        branch.embedding.data.copy_(vectors)
        return [(site, branch)]

    def converted(
        self, name: str, placed: Sequence[tuple[Site, Placed]], backbone: Backbone, *, tags: bool
    ) -> PeftFile | None:
        # One site, the embeddings: there is one prompt for a whole text.
        (branch,) = (branch for _, branch in placed)
        assert isinstance(branch, PromptBranch)
        # A head that takes the first token would find the prompt there in PEFT, and the text here.
        if not backbone.anatomy.row.causal and not branch.seen and not tags:
            raise UsageError(
                f"PEFT would classify by the first vector of this {name}, not by the text as it was trained; "
                f"train it with {{{name}: {{classify: prompt}}}} to export it."
            )
        vectors = branch.vectors()
        return PeftFile(
            "PROMPT_TUNING", {"prompt_embeddings": vectors},
            {"num_virtual_tokens": len(vectors), "token_dim": vectors.shape[1], **virtual_config(backbone)}, "base_model.",
        )  # fmt: skip


@method("prompt")
@dataclass(frozen=True, kw_only=True)
class Prompt(Method):
    """Puts trainable vectors before the text."""

    portuguese = "Põe vetores treináveis antes do texto."

    identity_start = False
    peft = PromptForm("PROMPT_TUNING")
    rates = RateRule(2e-2, by_steps=0.5, by_width=0.5)
    """The paper's 0.3 (section 3) is for Adafactor; under AdamW it was too much."""

    length: int = 20
    """Vectors; beyond 20 the paper saw little more (section 3.2)."""
    init: Literal["vocabulary", "random"] = "vocabulary"
    """Start from the embeddings of words drawn at random, or from noise; the paper found the former better."""
    classify: Literal["text", "prompt"] = "text"
    """The first token, for a head that takes it: the text's, or as in PEFT the prompt's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.length <= LONGEST_PROMPT:
            raise UsageError(f"prompt: length should be from 1 to {LONGEST_PROMPT:,}, not {self.length}.")

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.of_kind("embedding")

    def branch(self, site: Site) -> PromptBranch:
        return SoftPrompt(
            site, length=self.length, from_vocabulary=self.init == "vocabulary", seen=self.classify == "prompt"
        )

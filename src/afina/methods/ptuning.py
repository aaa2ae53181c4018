"""P-tuning: vectors before the text that a small network makes.  Liu et al., 2021, arXiv:2103.10385, section 3.2.

h_i = MLP([LSTM forwards; LSTM backwards]) over P trainable vectors, or the MLP alone. They are attended from the first
step on, so that a fresh prompt already changes the model's output.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import PromptBranch
from afina.errors import UsageError
from afina.methods.base import LONGEST_PROMPT, Method, method
from afina.methods.peft_form import ENCODER, EVERY, VIRTUAL, PeftKey
from afina.methods.prompt import PromptForm
from afina.methods.rates import RateRule

__all__ = ["MadePrompt", "PTuning"]


class MadePrompt(PromptBranch):
    """The vectors (length, width) and the network that they pass through."""

    def __init__(
        self, site: Site, *, length: int, encoder: Literal["mlp", "lstm"], hidden: int, seen: bool = False
    ) -> None:
        super().__init__()
        self.length, self.seen = length, seen
        width = site.width
        self.embedding = nn.Parameter(torch.randn(length, width))
        self.lstm: nn.LSTM | None = None
        sizes = [width, hidden, hidden, width]
        if encoder == "lstm":
            self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True)
            sizes = [2 * hidden, 2 * hidden, width]
        layers: list[nn.Module] = []
        for size_in, size_out in itertools.pairwise(sizes):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]

        # No activation behind the last layer: the vectors may have any sign.
        self.mlp = nn.Sequential(*layers[:-1])

    def vectors(self) -> Tensor:
        # [0]: an LSTM returns its states beside what it gives.
        x = self.embedding if self.lstm is None else self.lstm(self.embedding)[0]
        result: Tensor = self.mlp(x)
        return result


@dataclass(frozen=True)
class MadePromptForm(PromptForm):
    """Reads the vectors, which PEFT saves in place of the network that made them."""

    keys = (
        *EVERY,
        *VIRTUAL,
        *(PeftKey(name, "nothing", ENCODER) for name in (
            "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers", "encoder_dropout",
        )),
    )  # fmt: skip


@method("ptuning")
@dataclass(frozen=True, kw_only=True)
class PTuning(Method):
    """Puts vectors before the text that a network makes."""

    portuguese = "Põe antes do texto vetores que uma rede produz."

    identity_start = False
    peft = MadePromptForm("P_TUNING")
    rates = RateRule(1.2e-2, by_steps=0.5, by_width=0.5)
    """PEFT's example for classification has 1e-3."""

    length: int = 20
    """Vectors; PEFT's examples."""
    encoder: Literal["mlp", "lstm"] = "mlp"
    """PEFT's default; the paper's is the LSTM with an MLP of two layers behind it."""
    hidden: int = 128
    """Width of the network; PEFT's example for classification."""
    classify: Literal["text", "prompt"] = "text"
    """The first token, for a head that takes it: the text's, or as in PEFT the prompt's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.length <= LONGEST_PROMPT or not 1 <= self.hidden <= 16_384:
            raise UsageError(
                f"ptuning: length should be from 1 to {LONGEST_PROMPT:,} and hidden from 1 to 16,384, not {self.length} and "
                f"{self.hidden}."
            )

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.of_kind("embedding")

    def branch(self, site: Site) -> PromptBranch:
        seen = self.classify == "prompt"
        return MadePrompt(site, length=self.length, encoder=self.encoder, hidden=self.hidden, seen=seen)

"""What an evaluation asks of generation, and the plainest thing that does it."""

from collections.abc import Sequence
from typing import Protocol

import torch

from afina.backbone.attach import Attachable, Attached
from afina.backbone.branch import AttentionBranch, PromptBranch
from afina.backbone.heads import last_token
from afina.backbone.language import IGNORED
from afina.backbone.load import Backbone
from afina.data.batching import padded_width

__all__ = ["Writer", "greedy", "reserved"]


class Writer(Protocol):
    """Continues prompts with the likeliest tokens."""

    def __call__(
        self, backbone: Backbone, adapter: Attachable | None, prompts: Sequence[Sequence[int]], *, stop: Sequence[str],
        most: int,
    ) -> list[str]:  # fmt: skip
        """Return what is written after each prompt of tokens (at least one) with an adapter, or by the bare model.

        A text ends before the tokenizer's end mark, before the first stop string, or after `most` tokens.
        """


def greedy(
    backbone: Backbone, adapter: Attachable | None, prompts: Sequence[Sequence[int]], *, stop: Sequence[str], most: int
) -> list[str]:
    """Write without a cache: every token reads all before it again."""
    assert backbone.language is not None
    tokenizer, adapters = backbone.tokenizer, [] if adapter is None else [adapter]
    written: list[list[int]] = [[] for _ in prompts]
    going = list(range(len(prompts)))
    with Attached(backbone, adapters) as attached, torch.inference_mode():
        for _ in range(most):
            inputs = _inputs([prompts[row] for row in going], [written[row] for row in going], attached)
            said = backbone.language(last_token(attached.hidden(inputs))).argmax(dim=-1).tolist()
            for row, token in zip(going, said, strict=True):
                written[row].append(token)
            # A stop string may be a mark of the tokenizer's, which a text without marks would not show.
            going = [
                row for row in going
                if written[row][-1] != tokenizer.eos_token_id
                and not any(mark in tokenizer.decode(written[row]) for mark in stop)
            ]  # fmt: skip
            if not going:
                break
    return [_before(tokenizer.decode(ids, skip_special_tokens=True), stop) for ids in written]


def _inputs(
    prompts: Sequence[Sequence[int]], written: Sequence[Sequence[int]], attached: Attached
) -> dict[str, torch.Tensor]:
    """Prompts with what was written behind; an encoder-decoder is told apart which is which, and of one token to come."""
    backbone = attached.backbone
    longest = max(len(prompt) + len(own) for prompt, own in zip(prompts, written, strict=True))
    width = padded_width(longest, backbone.context - reserved(attached.adapters))
    ids = torch.full((len(prompts), width), backbone.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    targets = torch.full_like(ids, IGNORED)
    for row, (prompt, own) in enumerate(zip(prompts, written, strict=True)):
        ids[row, : len(prompt) + len(own)] = torch.tensor([*prompt, *own])
        mask[row, : len(prompt) + len(own)] = 1
        targets[row, len(prompt) - 1 : len(prompt) + len(own)] = torch.tensor([*own, 0])
    inputs = {"input_ids": ids, "attention_mask": mask}
    if backbone.anatomy.row.further:
        inputs["targets"] = targets
    return {name: value.to(backbone.device) for name, value in inputs.items()}


def reserved(adapters: Sequence[Attachable]) -> int:
    """Return the positions of the model's that a prompt or a prefix of these adapters takes."""
    placed = [branch for adapter in adapters for _, branch in adapter.placed()]
    prompts = [branch.length for branch in placed if isinstance(branch, PromptBranch)]
    return max([0, *prompts, *(branch.moves for branch in placed if isinstance(branch, AttentionBranch))])


def _before(text: str, stop: Sequence[str]) -> str:
    """Return what of a text stands before the first stop string."""
    return text[: min((place for mark in stop if (place := text.find(mark)) >= 0), default=len(text))]

"""Prepare what a model is called with for a batch: room for prompts, positions moved by prefixes, answers apart.

And what its layers then read (`Read`), which heads and branches have to know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afina.backbone.branch import AttentionBranch, Placed
from afina.backbone.flight import Read
from afina.backbone.inputs import decoder_inputs, rows_and_tokens
from afina.backbone.language_head import AnswersApart, answers_apart, question_mask
from afina.backbone.load import Backbone
from afina.backbone.prompts import Prompts
from afina.errors import AfinaError

__all__ = ["Given", "Side", "moves_of", "read_inputs", "read_side"]


@dataclass(frozen=True)
class Given:
    """A batch as the model is called with it."""

    inputs: dict[str, Any]
    read: Read
    """Tokens that the first layer reads."""
    seen: Tensor | None = None
    """The mask of positions that may be looked at behind prompts of unlike length, for images and sound."""


@dataclass(frozen=True)
class Side:
    """The side of the model that heads look at."""

    given: Given
    first: Read
    decoder: Read
    mask: Tensor | None
    """(B, width) of the tokens whose states heads see."""
    width: int
    targets: Tensor | None


def moves_of(branches: Sequence[Placed]) -> int:
    """Return the places by which an adapter's prefix moves its texts' positions on; most do not."""
    return max((branch.moves for branch in branches if isinstance(branch, AttentionBranch)), default=0)


def read_inputs(
    backbone: Backbone, prompts: Prompts | None, moves: Sequence[int], inputs: Mapping[str, Tensor], rows: Sequence[slice]
) -> Given:  # fmt: skip
    """Return what the model is called with for token inputs (B, T), images or sound; `moves` are each adapter's.

    Raises `AfinaError` where prompts or a prefix that moves positions leave the texts no room.
    """
    mask, (count, width) = inputs.get("attention_mask"), rows_and_tokens(inputs, backbone.config)
    given: dict[str, Any] = {
        name: value.to(backbone.dtype) if value.is_floating_point() else value for name, value in inputs.items()
    }
    length, seen, row = width, None, backbone.anatomy.row
    if row.further:
        given["decoder_input_ids"] = decoder_inputs(inputs, backbone.config, starts_with_last=row.starts_with_last)
    if prompts is not None:
        length += prompts.room(width, backbone.context)
        # A model without a padding token has any other at places that the mask hides.
        pad = getattr(backbone.config, "pad_token_id", None) or 0
        given |= prompts.lengthen(inputs, rows, pad=pad)
        mask = prompts.mask(mask, rows, (count, width), backbone.device)

        # Models of images and sound take no mask, so it is handed to attention itself.
        if "input_ids" not in inputs:
            seen = None if mask is None else mask[:, None, None, :].bool()
        elif mask is not None:
            given["attention_mask"] = mask
    if any(moves):
        if length + max(moves) > backbone.context:
            raise AfinaError(
                f"A prefix of {max(moves)} moves texts of {length} tokens beyond the model's {backbone.context} "
                f"positions; set max_length to at most {backbone.context - max(moves)}."
            )
        counts = [part.stop - part.start for part in rows]
        # Each row by its own adapter, as those beside it may have no prefix.
        moved = torch.tensor(moves).repeat_interleave(torch.tensor(counts))[:, None].to(backbone.device)
        given["position_ids"] = given.get("position_ids", torch.arange(length, device=backbone.device)) + moved
    return Given(given, Read(mask, length), seen)


def read_side(
    backbone: Backbone, prompts: Prompts | None, moves: Sequence[int], inputs: Mapping[str, Tensor], rows: Sequence[slice],
    targets: Tensor | None,
) -> Side:  # fmt: skip
    """Return the same with what heads will see of it; of an encoder-decoder with `targets`, the answers it writes."""
    answers: AnswersApart | None = None
    if targets is not None and backbone.anatomy.row.further:
        answers = answers_apart(inputs, targets)
        # Before the encoder reads: an answer that it saw would be no answer any more.
        inputs, targets = answers.inputs, answers.targets
    mask, width = inputs.get("attention_mask"), rows_and_tokens(inputs, backbone.config)[1]
    given = read_inputs(backbone, prompts, moves, inputs, rows)
    first, decoder = given.read, Read(mask, width)
    if answers is not None:
        ids = given.inputs["decoder_input_ids"]
        # Behind the start token the answer is moved on by one: each token is said by the one before.
        given.inputs["decoder_input_ids"] = torch.cat([ids[:, :1], answers.ids[:, :-1]], dim=1)
        mask, width = answers.mask, answers.ids.shape[1]

        # The decoder reads its start token; what follows is what it says itself.
        read = torch.zeros_like(answers.mask)
        read[:, 0] = 1
        decoder = Read(read, width)
    elif targets is not None:
        # A branch that acts on what is read must not see what the model is to say.
        question: Tensor | None = question_mask(targets, mask)
        if prompts is not None and question is not None:
            question = prompts.mask(question, rows, (question.shape[0], question.shape[1]), question.device)
        first = Read(question, first.length)
    return Side(given, first, decoder, mask, width, targets)

"""Run the generation loop: one batch of prompts, each row with its own adapter, until every row has ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from afina.backbone.attachment import Attachable, Attachment
from afina.backbone.function import ATTACHED
from afina.backbone.head import Head
from afina.backbone.incremental import Writing, places_taken
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError
from afina.generation.settings import GenerationSettings
from afina.generation.text import TextStream

__all__ = ["Bare", "Piece", "Request", "Written", "draw", "encode_prompt", "longest_prompt", "write"]


@dataclass(frozen=True)
class Written:
    """Holds a finished answer; `finish` is "length" where the settings or the model's context cut it off."""

    text: str
    tokens: list[int]
    """The answer's tokens, without the one that ended it."""
    finish: Literal["stop", "length"]
    prompt_tokens: int

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Request:
    """Asks for an answer to a prompt (token ids) by an adapter, or by the bare model where the adapter is None."""

    prompt: Sequence[int]
    adapter: Attachable | None = None
    stop: tuple[str, ...] = ()
    """Texts that end this answer, beside those of the settings."""
    number: int = 0
    """The prompt's index in the whole call: errors name it, and its seed is the call's seed plus this."""
    tokenizer: Any = None
    """The adapter's own tokenizer; None for the backbone's."""


@dataclass(frozen=True)
class Piece:
    """Holds the next characters of an answer; the last piece brings the whole answer in `written`."""

    number: int
    text: str
    written: Written | None


class Bare:
    """Stands in the place of an adapter for rows that the bare model answers."""

    def __init__(self, backbone: Backbone, outputs: int = 1) -> None:
        """Make a head with this many `outputs`; 0 for a language model that scores texts."""
        self.head: Head = backbone.new_head(outputs)

    def placed(self) -> tuple[()]:
        return ()


@dataclass
class _Row:
    request: Request
    room: int
    stream: TextStream
    ends: frozenset[int]
    draws: torch.Generator
    tokens: list[int] = field(default_factory=list)

    def take(self, token: int) -> Piece:
        if token in self.ends:
            return self._ended(self.stream.end(cut=False), "stop")
        self.tokens.append(token)
        text = self.stream.add(token)
        if self.stream.stopped:
            return self._ended(text, "stop")
        if len(self.tokens) == self.room:
            return self._ended(text + self.stream.end(cut=True), "length")
        return Piece(self.request.number, text, None)

    def _ended(self, text: str, finish: Literal["stop", "length"]) -> Piece:
        written = Written(self.stream.text, self.tokens, finish, len(self.request.prompt))
        return Piece(self.request.number, text, written)


@torch.inference_mode()
def write(backbone: Backbone, requests: Sequence[Request], settings: GenerationSettings) -> Iterator[Piece]:
    """Continue all prompts in one batch, and yield pieces of text as they come.

    A row's answer does not depend on the rest of the batch. Raises `UsageError` for a prompt that is empty or leaves no
    room in the model's context, and `AfinaError` while another text is being written on the same backbone.
    """
    if any(module in ATTACHED for module in backbone.model.modules()):
        raise AfinaError("This model is still writing another text; read that stream to its end, or close() it.")
    rows = [_row(backbone, request, settings) for request in requests]
    processors = settings.processors()

    # The rows of one adapter have to stand together in the batch: each adapter takes one slice of it.
    members = list({id(row.request.adapter): row.request.adapter for row in rows}.values())
    each = [[row for row in rows if row.request.adapter is member] for member in members]
    order = [row for own in each for row in own]
    stops = list(accumulate(map(len, each)))
    slices = [slice(stop - len(own), stop) for stop, own in zip(stops, each, strict=True)]

    with Attachment(backbone, [Bare(backbone) if member is None else member for member in members]) as attached:
        writing = Writing(attached, [row.request.prompt for row in order], slices)
        logits = writing.logits
        while order:
            scores = processors(_so_far(backbone, order), logits) if processors else logits
            chosen = scores.argmax(dim=1) if settings.temperature == 0 else draw(scores, [row.draws for row in order])

            going: list[int] = []
            for index, (row, token) in enumerate(zip(order, chosen.tolist(), strict=True)):
                piece = row.take(token)
                if piece.written is None:
                    going.append(index)
                if piece.text or piece.written is not None:
                    yield piece

            # Rows that have ended leave the batch, so that the others do not pay for them.
            if going and len(going) < len(order):
                writing.keep(going)
                chosen = chosen[torch.tensor(going, device=chosen.device)]
            order = [order[index] for index in going]
            if order:
                logits = writing.go_on(chosen)


def encode_prompt(
    backbone: Backbone, text: str, *, marks: bool = True, tokenizer: Any = None, words: int = 0
) -> list[int]:
    """Return a prompt's tokens: with the tokenizer's start marks (`marks`) unless the text has them, without an end mark."""
    tokenizer = tokenizer or backbone.tokenizer
    plain: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    backbone.check_tokens(plain, "in the prompt", tokenizer, words)
    if not marks or (tokenizer.bos_token and text.startswith(tokenizer.bos_token)):
        return plain
    marked: list[int] = tokenizer(text)["input_ids"]
    ends = not backbone.anatomy.row.further and marked[-1:] == [tokenizer.eos_token_id] != plain[-1:]
    return marked[:-1] if ends else marked


def longest_prompt(backbone: Backbone, adapter: Attachable | None) -> int:
    """Return the most tokens that a prompt may have; a decoder needs one position more for the answer's first token."""
    taken = 0 if adapter is None else places_taken(adapter)
    return backbone.context - taken - (0 if backbone.anatomy.row.further else 1)


def draw(scores: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draw a token (B,) for each row of scores (B, V); each row uses one number of its own generator."""
    shares = torch.softmax(scores.double(), dim=1).cumsum(dim=1)
    # The generators give float32 numbers, whose largest is below 1 by more than the rounding of the float64 sums.
    numbers = torch.cat([torch.rand(1, generator=generator) for generator in generators]).double().to(scores.device)
    return (shares <= (numbers * shares[:, -1].to(numbers))[:, None]).sum(dim=1)


def _row(backbone: Backbone, request: Request, settings: GenerationSettings) -> _Row:
    prompt, place = request.prompt, f"Prompt {request.number + 1}"
    if not len(prompt):
        raise UsageError(f"{place} is empty; the model needs a token to go on from.")
    if len(prompt) > (most := longest_prompt(backbone, request.adapter)):
        raise UsageError(
            f"{place} has {len(prompt)} tokens and the model's {backbone.context} positions have room for {most} of them "
            "and an answer; shorten it."
        )
    apart, stop = bool(backbone.anatomy.row.further), (*settings.stop, *request.stop)
    room = backbone.context if apart else most + 1 - len(prompt)
    draws = torch.Generator()
    if settings.seed is None:
        draws.seed()
    else:
        draws.manual_seed(settings.seed + request.number)
    tokenizer = request.tokenizer or backbone.tokenizer
    stream = TextStream(tokenizer, stop, () if apart else prompt)
    return _Row(request, min(settings.max_new_tokens, room), stream, _stop_tokens(backbone, tokenizer, stop), draws)


def _stop_tokens(backbone: Backbone, tokenizer: Any, stop: Sequence[str]) -> frozenset[int]:
    """Return the tokens that end an answer: the model's and the tokenizer's end marks, and stops that are special tokens.

    A stop that is one special token never shows in the text, so that it has to be recognised as a token.
    """
    own = getattr(backbone.generation, "eos_token_id", None)
    found = {tokenizer.eos_token_id, *(own if isinstance(own, list | tuple) else [own])}
    special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    found |= {special.get(text, tokenizer.get_added_vocab().get(text)) for text in stop}
    return frozenset(token for token in found if token is not None)


def _so_far(backbone: Backbone, rows: Sequence[_Row]) -> Tensor:
    """Return the tokens so far (B, S), for the repetition penalty; short rows are filled up with their last token."""
    own = [row.tokens if backbone.anatomy.row.further else [*row.request.prompt, *row.tokens] for row in rows]
    width = max(map(len, own))
    filled = [ids + ids[-1:] * (width - len(ids)) for ids in own]
    return torch.tensor(filled, dtype=torch.long, device=backbone.device).view(len(rows), width)

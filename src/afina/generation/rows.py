"""A row that is written: what was asked, what has been written of it, and the pieces in which it is given out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch

from afina.backbone.attachable import Attachable
from afina.backbone.before_text import places_kept, places_taken
from afina.backbone.load import Backbone
from afina.errors import UsageError
from afina.generation.settings import GenerationSettings
from afina.generation.text import TextStream

__all__ = [
    "Beginning",
    "ChosenToken",
    "Finish",
    "Piece",
    "PromptTooLong",
    "Request",
    "Row",
    "WritingPlace",
    "Written",
    "longest_prompt",
]

Finish = Literal["stop", "length", "cancelled", "deadline", "error"]


@dataclass(frozen=True)
class ChosenToken:
    """A token of an answer, and where the settings ask for it how likely the model found it and others in its place."""

    token: int
    log_probability: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities, as many as the settings ask for."""
    begins: int = 0
    """Letters of the answer before it."""


@dataclass(frozen=True)
class Written:
    """Holds a finished answer; `finish` is "length" where the settings or the model's context cut it off."""

    text: str
    tokens: list[int]
    """The answer's tokens, without the one that ended it."""
    finish: Finish
    prompt_tokens: int
    problem: str = ""
    """The problem, if it ended by an error."""

    def __str__(self) -> str:
        return self.text


class Beginning(list[int]):
    """The first tokens of a prompt that is far too long, of which no more were read."""


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
    said: tuple[ChosenToken, ...] = ()
    """The tokens whose text begins in this piece or the last, none of a stop text."""


class PromptTooLong(UsageError):
    """A prompt that leaves no room for an answer in the model's context."""

    def __init__(self, place: str, prompt: Sequence[int], most: int, context: int) -> None:
        self.most, self.tokens = most, f"{'more than ' if isinstance(prompt, Beginning) else ''}{len(prompt)}"
        """The tokens that it has, and that it may have."""
        super().__init__(
            f"{place} has {self.tokens} tokens and the model's {context} positions have room for {most} of them "
            "and an answer; shorten it."
        )


def longest_prompt(backbone: Backbone, adapter: Attachable | None) -> int:
    """Return the most tokens that a prompt may have; a decoder needs one position more for the answer's first token."""
    taken = 0 if adapter is None else places_taken(adapter)
    return backbone.context - taken - (0 if backbone.anatomy.row.further else 1)


@dataclass(frozen=True)
class WritingPlace:
    """Says of what writes all that a row has to know: what it has room for, how it reads, and where it ends."""

    context: int
    prompt: int
    """The most tokens of a prompt."""
    tokenizer: Any
    ends: tuple[int, ...]
    """Tokens that end a text, beside the tokenizer's own end mark."""
    apart: bool = False
    """True if the answer stands apart from the prompt (an encoder-decoder's)."""

    @classmethod
    def on(cls, backbone: Backbone, request: Request) -> Self:
        # A model may name several end tokens, one, or none.
        model_ends = getattr(backbone.generation, "eos_token_id", None)
        ends = tuple(
            end for end in (model_ends if isinstance(model_ends, list | tuple) else [model_ends]) if end is not None
        )
        most = longest_prompt(backbone, request.adapter)
        return cls(backbone.context, most, backbone.tokenizer, ends, bool(backbone.anatomy.row.further))


class Row:
    """One answer while it is written."""

    def __init__(self, model: Backbone | WritingPlace, request: Request, settings: GenerationSettings) -> None:
        """Raise `UsageError` for a prompt that is empty, `PromptTooLong` for one that leaves no room in the context."""
        prompt, name = request.prompt, f"Prompt {request.number + 1}"
        place = model if isinstance(model, WritingPlace) else WritingPlace.on(model, request)
        if not len(prompt):
            raise UsageError(f"{name} is empty; the model needs a token to go on from.")
        if len(prompt) > place.prompt:
            raise PromptTooLong(name, prompt, place.prompt, place.context)
        self.request, self.settings = request, settings
        self.distribution = settings.distribution
        self.apart = place.apart
        # One more than there are places: the last token is written and not read.
        self.room = min(settings.max_new_tokens, place.context if self.apart else place.prompt + 1 - len(prompt))
        """The most tokens that will be written."""
        self.places = len(prompt) + (0 if request.adapter is None else places_taken(request.adapter))
        """Positions of the model that the prompt takes, an adapter's own among them."""
        before = 0 if request.adapter is None else places_kept(request.adapter)
        self.kept = self.room + (1 if self.apart else len(prompt) + before)
        """The most places that it may come to have among the keys and values that are kept."""
        self.draws = torch.Generator()

        # Rows of one request differ by their number, so that several answers to a prompt are not the same.
        if settings.seed is None:
            self.draws.seed()
        else:
            # torch takes 64 bits; a larger seed is one of these too.
            self.draws.manual_seed((settings.seed + request.number) % (1 << 64))
        tokenizer, stop = request.tokenizer or place.tokenizer, (*settings.stop, *request.stop)
        # What an encoder read stands in no text of the answer.
        self._stream = TextStream(tokenizer, stop, () if self.apart else prompt)
        self._ends = frozenset(place.ends) | _stop_tokens(tokenizer, stop)
        self.tokens: list[int] = []
        self._said: list[ChosenToken] = []
        """Tokens not given out yet."""

    @property
    def so_far(self) -> list[int]:
        """Return the tokens that a repetition penalty looks at."""
        return self.tokens if self.apart else [*self.request.prompt, *self.tokens]

    def take(self, choice: ChosenToken) -> Piece:
        """Add a token; return what has become final with it."""
        # The end token itself is no text, and is not among the tokens that are returned.
        if choice.token in self._ends:
            return self.stop()
        self.tokens.append(choice.token)
        self._said.append(replace(choice, begins=self._stream.seen))
        text = self._stream.add(choice.token)
        if self._stream.stopped:
            return self._ended(text, "stop")
        if len(self.tokens) == self.room:
            # The most tokens are there: what was held back might have become a stop text.
            return self._ended(text + self._stream.end(cut=True), "length")
        return Piece(self.request.number, text, None, self._given())

    def stop(self) -> Piece:
        """Return the last piece of an answer that is whole, as behind an end token."""
        return self._ended(self._stream.end(cut=False), "stop")

    def end(self, finish: Finish, problem: str = "") -> Piece:
        """Return the last piece of an answer that is broken off."""
        return self._ended("", finish, problem)

    def _ended(self, text: str, finish: Finish, problem: str = "") -> Piece:
        written = Written(self._stream.text, self.tokens, finish, len(self.request.prompt), problem)
        return Piece(self.request.number, text, written, self._given())

    def _given(self) -> tuple[ChosenToken, ...]:
        """Return the tokens that begin in the text given out by now; one without text of its own goes with the next."""
        count = 0
        # Tokens whose text begins in what is held back wait with it.
        while count < len(self._said) and self._said[count].begins < len(self._stream.text):
            count += 1
        given, self._said = self._said[:count], self._said[count:]
        return tuple(given)


def _stop_tokens(tokenizer: Any, stop: Sequence[str]) -> frozenset[int]:
    """Return the tokens that end an answer: the tokenizer's end mark, and stops that are special tokens.

    A stop that is one special token never shows in the text, so that it has to be recognised as a token.
    """
    special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    tokens = {tokenizer.eos_token_id, *(special.get(text, tokenizer.get_added_vocab().get(text)) for text in stop)}
    return frozenset(token for token in tokens if token is not None)

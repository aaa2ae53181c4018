"""Have prompts written on: what a request's keys mean to the engine, and the pieces of all its answers as they come."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from afina.errors import UsageError
from afina.generation.generate import encode_prompt
from afina.generation.rows import Piece, PromptTooLong, Request
from afina.generation.settings import GenerationSettings
from afina.generation.template import check_messages, template_of
from afina.predictor.writer import Writer
from afina.serve.engine import Engine
from afina.serve.http.bodies import Body, Name, without_nulls
from afina.serve.http.call import Call
from afina.serve.http.refusals import Refusal, busy, wrong
from afina.serve.reply import Ask, Busy, Closing, StreamedReply

__all__ = ["WritingBody", "begin", "pieces", "prompt_of", "usage", "who_writes"]

_PING = 15.0
"""Seconds of silence after which a stream says that it is still there."""
_STOPS = Annotated[str, Field(min_length=1, max_length=1000)]


class StreamOptions(BaseModel):
    """Says what a stream brings beside the text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False
    include_obfuscation: Literal[False] = False
    """OpenAI's filling of pieces to one length, which no piece here has."""

    @model_validator(mode="before")
    @classmethod
    def _given(cls, given: Any) -> Any:
        return without_nulls(cls, given)


class WritingBody(Body):
    """Holds what all requests that write have in common."""

    model: Name
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stop: _STOPS | Annotated[list[_STOPS], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def choices(self) -> int:
        """Return how many answers a prompt gets."""
        return self.n or 1

    @property
    def with_usage(self) -> bool:
        """Return whether a stream ends with what was used."""
        return self.stream_options is not None and self.stream_options.include_usage

    def settings(self, number: int, most: int, log_probabilities: int | None) -> GenerationSettings:
        """Return what is set of a prompt's answer of a number; as OpenAI has it, tokens are drawn unless told otherwise."""
        # OpenAI's default temperature is 1, where Python's here is greedy.
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        return GenerationSettings(
            max_new_tokens=most, temperature=1.0 if self.temperature is None else self.temperature, top_k=self.top_k,
            top_p=self.top_p, min_p=self.min_p, repetition_penalty=self.repetition_penalty or 1.0,
            presence_penalty=self.presence_penalty or 0.0, frequency_penalty=self.frequency_penalty or 0.0,
            seed=None if self.seed is None else self.seed + number, stop=tuple(stops),
            log_probabilities=log_probabilities,
        )  # fmt: skip


def prompt_of(
    engine: Engine, predictor: Writer | None, given: str | Sequence[int] | Sequence[Mapping[str, Any]], *,
    special: bool = False,
) -> Request:  # fmt: skip
    """Return a text, a conversation or tokens as the engine takes them; raises `Refusal` for what it cannot be.

    With `special` the names of control tokens in a text are those tokens.
    """
    is_chat = not isinstance(given, str) and isinstance(given[0], Mapping)
    try:
        if not is_chat and not isinstance(given, str):
            tokens: list[int] = list(given)  # type: ignore[arg-type]
            tokenizer = engine.backbone.tokenizer if predictor is None else predictor.tokenizer
            words = 0 if predictor is None else predictor.adapter.words
            engine.backbone.check_tokens(tokens, "in the prompt", tokenizer, words)
            return Request(tokens, None if predictor is None else predictor.adapter, (), 0, tokenizer)
        if predictor is not None:
            return predictor.request(given, predictor, special=special)  # type: ignore[arg-type]
        stop, marks, text = (), True, given
        if is_chat:
            template = template_of(None, engine.backbone.tokenizer)
            turns = check_messages(given, engine.backbone.tokenizer)  # type: ignore[arg-type]
            text, stop, marks = template.prompt(turns), template.stop, template.marks  # type: ignore[assignment]
        encoded = encode_prompt(engine.backbone, str(text), marks=marks, special=special or is_chat)
        return Request(encoded, None, stop, 0, engine.backbone.tokenizer)
    except UsageError as error:
        raise wrong(str(error), "messages" if is_chat else "prompt") from None


async def who_writes(call: Call, body: WritingBody) -> tuple[Writer | None, Engine]:
    """Return the adapter that is asked, None for the base, and what writes; raises `Refusal` for one that does not write."""
    predictor = await call.model(body.model)
    if predictor is not None and not isinstance(predictor, Writer):
        what = f"{body.model} was trained to {predictor.trained_to}, not to write"
        raise wrong(f"{what}; ask it at /v1/classify.", "model")
    return predictor, await call.engine()


async def begin(
    call: Call, body: WritingBody, who: tuple[Writer | None, Engine], given: Sequence[Any], most: int, log: int | None, *,
    special: bool = False,
) -> list[StreamedReply]:  # fmt: skip
    """Ask for all answers of a request, that of each prompt in its turn; they are cancelled when the request ends.

    `special` as `prompt_of` has it.

    Raises `Refusal` for prompts that are too long, and where too many wait already.
    """
    predictor, engine = who
    # More than may wait would be asked to come again for ever, also where nobody else waits.
    if (count := len(given) * body.choices) > (most_waiting := call.house.limits.queue):
        what = f"That is {count:,} answers, and {most_waiting:,} may wait here; split the request."
        raise wrong(what, "prompt" if len(given) > 1 else "n")
    call.texts = given
    for place, prompt in enumerate(given):
        # Which of several it is that is wrong, as the body has them.
        where, name = (f"prompt.{place}", f"Prompt {place + 1}") if len(given) > 1 else ("", "The prompt")
        try:
            made = await call.house.read(partial(prompt_of, engine, predictor, prompt, special=special))
        except Refusal as refusal:
            refusal.param = where or refusal.param
            raise
        where = where or ("prompt" if isinstance(prompt, str) or isinstance(prompt[0], int) else "messages")
        if not made.prompt:
            raise wrong(f"{name} is empty; the model needs a token to go on from.", where)
        call.tokens_in += len(made.prompt)

        # Each answer has a seed of its own, or n answers to one prompt would be one.
        for number in range(body.choices):
            ask = Ask(
                prompt=made.prompt, adapter=made.adapter, name=call.adapter, tokenizer=made.tokenizer, stop=made.stop,
                settings=body.settings(number, most, log), deadline=call.deadline,
            )  # fmt: skip
            call.replies.append(_submitted(engine, ask, name, where))

            # However the request ends: what nobody waits for any more is not written on.
            call.ends.callback(call.replies[-1].cancel)
    call.rows = len(call.replies)
    return call.replies


def _submitted(engine: Engine, ask: Ask, name: str, where: str) -> StreamedReply:
    """Return the reply to an ask; raises `Refusal`, which calls its prompt by a name and key, where it gets none."""
    try:
        return engine.submit(ask)
    except PromptTooLong as error:
        raise wrong(
            f"{name} has {error.tokens} tokens, and the model takes {error.most}; shorten it.", where,
            "context_length_exceeded",
        ) from None  # fmt: skip
    except Busy as error:
        raise busy(str(error), error.retry_after, "queue_full") from None
    except Closing:
        raise Refusal(
            503, "What writes here is not running.", "stopping", kind="server_error", retry_after=10
        ) from None
    except UsageError as error:
        raise wrong(str(error)) from None


async def pieces(call: Call, replies: Sequence[StreamedReply]) -> AsyncIterator[tuple[int, Piece] | None]:
    """Yield the pieces of all replies with their places, as they come; None where nothing came for a while.

    Raises `Refusal` for an answer that is not there in time, or that failed.
    """
    # The engine's thread hands pieces over to this loop; nothing of a request is touched by two threads.
    hand_over = call.house.handover()
    queue: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()

    def listening(place: int) -> Callable[[Piece], None]:
        return lambda piece: hand_over(partial(queue.put_nowait, (place, piece)))

    for place, reply in enumerate(replies):
        reply.listen(listening(place))
    left = len(replies)
    while left:
        try:
            place, piece = await asyncio.wait_for(queue.get(), _PING)
        except TimeoutError:
            yield None
            continue
        if call.first is None:
            call.first = time.monotonic() - call.began
        if piece.written is not None:
            left -= 1
            call.finish = piece.written.finish
            if piece.written.finish == "deadline":
                limit = call.house.limits.deadline
                raise Refusal(504, f"This was not answered within {limit:g} seconds.", "deadline", kind="server_error")
            if piece.written.finish in ("error", "cancelled"):
                call.house.shelf.tell(f"Request {call.number} was broken off: {piece.written.problem}")
                raise Refusal(
                    503, "The answer was broken off; ask again.", "broken_off", kind="server_error", retry_after=1
                )
        yield place, piece


def usage(call: Call) -> dict[str, int]:
    """Return what a request used."""
    return {
        "prompt_tokens": call.tokens_in, "completion_tokens": call.tokens_out,
        "total_tokens": call.tokens_in + call.tokens_out,
    }  # fmt: skip

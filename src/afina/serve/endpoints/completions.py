"""Go on from texts, or from tokens, as OpenAI's /v1/completions does."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from pydantic import Field
from starlette.responses import Response

from afina.generation.rows import ChosenToken
from afina.serve.http.bodies import MOST_ITEMS, Each, Text, Texts
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.events import streamed
from afina.serve.http.refusals import wrong
from afina.serve.http.spelling import Spelling
from afina.serve.http.writing import WritingBody, begin, pieces, usage, who_writes
from afina.serve.reply import StreamedReply

__all__ = ["Completions"]

_Token = Annotated[int, Field(ge=0, le=1 << 31)]
_Tokens = Annotated[Each[_Token], Field(min_length=1)]


class CompletionBody(WritingBody):
    """Holds prompts, and how what follows them is to be written."""

    prompt: Text | Texts | _Tokens | Annotated[Each[_Tokens], Field(min_length=1, max_length=MOST_ITEMS)]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: int | None = None
    special: bool = False
    """Read the names of control tokens in texts (`</s>`) as those tokens; else they are text like any."""


@endpoint("/v1/completions")
class Completions(ServerEndpoint):
    """Writes what follows each prompt."""

    body = CompletionBody

    @classmethod
    async def answer(cls, call: Call, body: CompletionBody) -> Response | dict[str, Any]:
        if body.echo:
            raise wrong("The prompt is not given back here (echo).", "echo", "unsupported_value")
        if body.best_of not in (None, body.choices):
            raise wrong("All that is written is given (best_of is n).", "best_of", "unsupported_value")
        if body.stream_options is not None and not body.stream:
            raise wrong("stream_options wants stream: true.", "stream_options")
        given: Any = body.prompt
        prompts: list[Any] = [given] if isinstance(given, str) or isinstance(given[0], int) else given
        if len(prompts) * body.choices > call.house.limits.texts:
            raise wrong(f"That is more than {call.house.limits.texts} answers for one request; split it.", "prompt")
        most = body.max_tokens or 16  # OpenAI's
        who = await who_writes(call, body)
        replies = await begin(call, body, who, prompts, most, body.logprobs, special=body.special)
        if body.stream:
            return streamed(call, _events(call, body, replies))
        return await _whole(call, body, replies)


async def _whole(call: Call, body: CompletionBody, replies: Sequence[StreamedReply]) -> dict[str, Any]:
    logs: list[list[ChosenToken]] = [[] for _ in replies]
    spellings = [Spelling(reply.ask.tokenizer) for reply in replies]
    choices: list[dict[str, Any]] = [{} for _ in replies]
    async for event in pieces(call, replies):
        if event is None:
            continue
        place, piece = event
        logs[place] += piece.said
        if (written := piece.written) is not None:
            choices[place] = {
                "index": place, "text": written.text, "finish_reason": written.finish,
                "logprobs": None if body.logprobs is None else spellings[place].completion(logs[place]),
            }  # fmt: skip
    return {**_start(call, body), "choices": choices, "usage": usage(call)}


async def _events(call: Call, body: CompletionBody, replies: Sequence[StreamedReply]) -> AsyncIterator[Any]:
    start, none = _start(call, body), {"usage": None} if body.with_usage else {}
    spellings = [Spelling(reply.ask.tokenizer) for reply in replies]
    async for event in pieces(call, replies):
        if event is None:
            yield None
            continue
        place, piece = event
        finish = None if piece.written is None else piece.written.finish
        log = None if body.logprobs is None else spellings[place].completion(piece.said)
        choice = {"index": place, "text": piece.text, "logprobs": log, "finish_reason": finish}
        yield {**start, "choices": [choice], **none}
    if body.with_usage:
        yield {**start, "choices": [], "usage": usage(call)}


def _start(call: Call, body: CompletionBody) -> dict[str, Any]:
    return {
        "id": f"cmpl-{call.number}", "object": "text_completion", "created": int(time.time()), "model": body.model,
    }  # fmt: skip

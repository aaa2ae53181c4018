"""Answer conversations as OpenAI's /v1/chat/completions does, whole or as they are written."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from afina.generation.rows import Piece, Written
from afina.serve.http.bodies import Each, Text
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.events import streamed
from afina.serve.http.grounding import CITING, Grounding, grounded
from afina.serve.http.refusals import wrong
from afina.serve.http.spelling import Spelling
from afina.serve.http.writing import WritingBody, begin, pieces, usage, who_writes
from afina.serve.reply import StreamedReply

__all__ = ["ChatCompletions"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: Text


_UNREAD = ("annotations", "audio", "function_call", "name", "reasoning_content", "refusal")
"""Keys of a message that OpenAI and others have and no template here reads; they may stand where they say nothing."""


class ChatMessage(BaseModel):
    """Holds a turn; what is said in parts has texts alone."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[Each[_Part], Field(min_length=1)] | None = None
    tool_calls: Each[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _sent_back(cls, given: Any) -> Any:
        """Leave out what an answer's message has beside its text: clients send that back as they had it."""
        if not isinstance(given, dict):
            return given
        if unread := [key for key in _UNREAD if given.get(key) not in (None, False, [], {})]:
            raise ValueError(f"'{unread[0]}' is not supported here; leave it out")
        return {key: value for key, value in given.items() if key not in (*_UNREAD, *CITING)}

    def plain(self) -> dict[str, Any]:
        """Return it as templates take it."""
        content = self.content
        text = "".join(part.text for part in content) if isinstance(content, list) else content
        # OpenAI's newer name for the same turn.
        role = "system" if self.role == "developer" else self.role
        more = {"tool_calls": self.tool_calls, "tool_call_id": self.tool_call_id}
        return {"role": role, "content": text} | {key: value for key, value in more.items() if value is not None}


class _Format(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    type: str

    @model_validator(mode="after")
    def _text(self) -> Self:
        # A form that is not enforced would be promised to who asks for it.
        if self.type != "text" or any(value is not None for value in (self.model_extra or {}).values()):
            raise ValueError(
                "answers are text, asked for by {'type': 'text'} alone; no other form is enforced here, so that none is "
                "promised"
            )
        return self


class ChatBody(WritingBody):
    """Holds a conversation, and how its next turn is to be written."""

    messages: Annotated[Each[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: _Format | None = None


@endpoint("/v1/chat/completions")
class ChatCompletions(ServerEndpoint):
    """Writes the assistant's next turn."""

    body = ChatBody

    @classmethod
    async def answer(cls, call: Call, body: ChatBody) -> Response | dict[str, Any]:
        if body.top_logprobs is not None and not body.logprobs:
            raise wrong("top_logprobs wants logprobs: true.", "top_logprobs")
        if body.stream_options is not None and not body.stream:
            raise wrong("stream_options wants stream: true.", "stream_options")
        if None not in (body.max_tokens, body.max_completion_tokens):
            raise wrong("max_tokens is max_completion_tokens' old name; give one of the two.", "max_tokens")
        most = body.max_completion_tokens or body.max_tokens or call.house.limits.answer
        log = (body.top_logprobs or 0) if body.logprobs else None
        who = await who_writes(call, body)
        # A turn has a token at least; to write very many out would keep other prompts waiting.
        if (count := len(body.messages)) > (context := who[1].backbone.context):
            what = f"There are {count:,} messages, and the model takes {context:,} tokens; leave the oldest out."
            raise wrong(what, "messages", "context_length_exceeded")
        messages = [message.plain() for message in body.messages]
        ground = await grounded(call, *who, messages, most)
        replies: list[StreamedReply] = []
        if ground is None or ground.prompt is not None:
            given = messages if ground is None else ground.prompt.messages  # type: ignore[union-attr]
            replies = await begin(call, body, who, [given], most, log)
        if body.stream:
            return streamed(call, _events(call, body, replies, ground))
        return await _whole(call, body, replies, ground)


async def _pieces(
    call: Call, body: ChatBody, replies: Sequence[StreamedReply], ground: Grounding | None
) -> AsyncIterator[tuple[int, Piece] | None]:
    """Yield the pieces of all answers; where the documents do not tell, that they do not."""
    if replies or ground is None:
        async for event in pieces(call, replies):
            yield event
        return
    # Nothing was asked of the model, so that the answer is whole at once.
    call.finish = "stop"
    for place in range(body.choices):
        yield place, Piece(place, ground.refusal, Written(ground.refusal, [], "stop", 0))


async def _whole(
    call: Call, body: ChatBody, replies: Sequence[StreamedReply], ground: Grounding | None
) -> dict[str, Any]:
    """Return all answers when they are there."""
    logs: list[list[dict[str, Any]]] = [[] for _ in range(body.choices)]
    choices: list[dict[str, Any]] = [{} for _ in range(body.choices)]
    async for event in _pieces(call, body, replies, ground):
        if event is None:
            continue
        place, piece = event
        if body.logprobs:
            logs[place] += map(Spelling(replies[place].ask.tokenizer).chat, piece.said)
        if (written := piece.written) is not None:
            message = {"role": "assistant", "content": written.text, "refusal": None}
            if ground is not None:
                answer = ground.answered(written.text)
                message |= {"content": answer.text + ground.below(answer), **ground.message(answer)}
            choices[place] = {
                "index": place, "message": message,
                "logprobs": {"content": logs[place], "refusal": None} if body.logprobs else None,
                "finish_reason": written.finish,
            }  # fmt: skip
    return {
        "id": f"chatcmpl-{call.number}", "object": "chat.completion", "created": int(time.time()), "model": body.model,
        "choices": choices, "usage": usage(call), **({} if ground is None else {"documents": ground.body()}),
    }  # fmt: skip


async def _events(
    call: Call, body: ChatBody, replies: Sequence[StreamedReply], ground: Grounding | None
) -> AsyncIterator[Any]:
    """Yield the answers' pieces as they come, what each cites behind its last, and what was used at the end."""
    start = {
        "id": f"chatcmpl-{call.number}", "object": "chat.completion.chunk", "created": int(time.time()),
        "model": body.model,
    }  # fmt: skip
    # OpenAI sends it with every piece where it was asked for.
    none = {"usage": None} if body.with_usage else {}

    def chunk(place: int, delta: dict[str, Any], log: Any = None, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": place, "delta": delta, "logprobs": log, "finish_reason": finish}
        return {**start, "choices": [choice], **none}

    for place in range(body.choices):
        yield chunk(place, {"role": "assistant", "content": ""})
    async for event in _pieces(call, body, replies, ground):
        # A sign of life, so that a client that waits is not cut off.
        if event is None:
            yield None
            continue
        place, piece = event
        log = [*map(Spelling(replies[place].ask.tokenizer).chat, piece.said)] if body.logprobs and replies else []
        if piece.text or log:
            yield chunk(place, {"content": piece.text}, {"content": log, "refusal": None} if body.logprobs else None)
        if piece.written is not None and ground is None:
            yield chunk(place, {}, None, piece.written.finish)
        elif piece.written is not None and ground is not None:
            answer = ground.answered(piece.written.text)
            # Citations stand behind the last piece, as they are known only then.
            if below := ground.below(answer):
                yield chunk(place, {"content": below})
            yield {**chunk(place, ground.message(answer), None, piece.written.finish), "documents": ground.body()}
    if body.with_usage:
        yield {**start, "choices": [], "usage": usage(call)}

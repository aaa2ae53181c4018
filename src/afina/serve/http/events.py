"""Send an answer as it comes, by server-sent events, which end with [DONE] or with an error."""

import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse

from afina.serve.http.call import Call
from afina.serve.http.one_line import one_line
from afina.serve.http.refusals import Refusal

__all__ = ["GONE", "streamed"]

GONE = "client_gone"
"""The code, in logs and counters alone, of a request whose client went away."""


def streamed(call: Call, events: AsyncIterator[Any]) -> StreamingResponse:
    """Return a response of events, each an object; None among them is a sign of life alone."""
    call.problem = GONE  # until its last event is sent
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # nginx would keep them back
    return StreamingResponse(_written(call, events), media_type="text/event-stream", headers=headers)


async def _written(call: Call, events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async with aclosing(events) as each:  # type: ignore[type-var]
        try:
            async for event in each:
                yield b": still there\n\n" if event is None else _line(event)
        except Refusal as refusal:
            call.problem = refusal.code
            yield _line(refusal.body(call.named))
        except Exception:  # a fault of ours, in the middle of an answer
            call.house.shelf.tell(f"Request {call.number} failed:\n{traceback.format_exc()}")
            fault = Refusal(500, "Something went wrong here; the server's log has it.", "internal", kind="server_error")
            call.problem = fault.code
            yield _line(fault.body())
        else:
            call.problem = None
            yield b"data: [DONE]\n\n"


def _line(event: Any) -> bytes:
    return f"data: {one_line(event)}\n\n".encode()

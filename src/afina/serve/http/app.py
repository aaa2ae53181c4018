"""Answer requests: each is checked, given to its endpoint, bounded in time, counted, and written down when it has ended."""

import asyncio
import gc
import json
import re
import secrets
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from afina.serve.http.bodies import Body, as_body, as_json, check_form
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ENDPOINTS, ServerEndpoint
from afina.serve.http.events import GONE
from afina.serve.http.house import House
from afina.serve.http.refusals import Refusal, wrong

__all__ = ["make_app"]

_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The form of a client's name for its request, by which it is found in the log."""
_GONE = 499
"""The status, in logs alone, of a request whose client went away (nginx's)."""
_LARGE = 1 << 17
"""Bytes of a body that is read on another thread."""


def make_app(house: House) -> Starlette:
    """Return the application that answers with what a house holds."""
    routes = [Route(own.name, _Door(own, house), methods=[own.method]) for own in ENDPOINTS.values()]

    async def elsewhere(request: Request, error: Any) -> Response:
        what = {404: "There is nothing at", 405: f"{request.method} is not what is done at"}
        sentence = f"{what.get(error.status_code, error.detail)} {request.url.path[:200]}."
        refusal = Refusal(
            error.status_code, sentence, "not_found" if error.status_code == 404 else "method_not_allowed"
        )
        # A number all the same, by which the refusal is found in the log.
        number = f"req-{secrets.token_hex(8)}"
        house.journal.write(
            request=number, method=request.method, path=request.url.path[:200], status=refusal.status, error=refusal.code,
            client=request.client.host if request.client else None,
        )  # fmt: skip
        return _refused(refusal, number, error.headers)

    made = Starlette(routes=routes, exception_handlers={HTTPException: elsewhere})
    # A path that is not there is 404, not an empty answer that leads elsewhere.
    made.router.redirect_slashes = False
    return made


class _Door:
    """Stands before an endpoint."""

    def __init__(self, endpoint: type[ServerEndpoint], house: House) -> None:
        self.endpoint, self.house = endpoint, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        given = request.headers.get("x-request-id", "")

        # A client's own number is taken only where it is plain: it is written to the log.
        number = given if _NUMBER.fullmatch(given) else f"req-{secrets.token_hex(8)}"
        call: Call | None = None
        status, code = 200, None
        self.house.meters.running.inc()
        began = time.monotonic()
        try:
            call = self._call(request, number)
            response = await self._response(call, receive)
        except Refusal as refusal:
            named = str if call is None else call.named
            response, status, code = _refused(refusal, number, named=named), refusal.status, refusal.code
        except (ClientDisconnect, asyncio.CancelledError):
            response, status, code = Response(status_code=_GONE), _GONE, GONE
        except Exception:  # a fault of ours: its trace is for whoever runs the server, never for whoever asks
            self.house.shelf.tell(f"Request {number} failed:\n{traceback.format_exc()}")
            fault = Refusal(500, "Something went wrong here; the server's log has it.", "internal", kind="server_error")
            response, status, code = _refused(fault, number), 500, "internal"
        status = response.status_code if code is None else status
        try:
            # Whoever is gone reads no answer.
            if status != _GONE:
                response.headers["x-request-id"] = number
                await response(scope, receive, send)
        finally:
            if call is not None:
                call.ends.close()
                # Of a stream that began well it is known only now.
                code = code or call.problem
                status = _GONE if code == GONE else status
            self.house.meters.running.dec()
            self._write(request, call, number, (status, code, time.monotonic() - began))

    def _call(self, request: Request, number: str) -> Call:
        """Return the call of whoever may ask here; raises `Refusal` for others, and while the server is stopping."""
        house, endpoint = self.house, self.endpoint
        caller = None
        if not endpoint.unguarded:
            # A page of another site may have its own name lead here, and would read the answers as its own. Where no key
            # keeps it out, the name does, which the browser sends as it stands.
            if house.is_local and not house.keys.guards and not _is_here(request.headers.get("host", "")):
                what = "Without a key only localhost and addresses are answered; give it one, or have a proxy say so as Host."
                raise Refusal(421, what, "wrong_host")
            caller = house.keys.who(request.headers.get("authorization"))
            # Without any key everybody may do what is free, and an admin's work is nobody's.
            if endpoint.admin and not (caller.admin or (endpoint.free and not house.keys.guards)):
                what = "" if house.keys.has_admin else "; the server was started without an --admin-key"
                raise Refusal(403, f"This is for an admin's key{what}.", "admin_only")
            if house.draining:
                raise Refusal(503, "The server is stopping.", "stopping", kind="server_error", retry_after=10.0)

            # Only what computes counts against a key's limit: health and lists may be asked at any time.
            if endpoint.body is not None:
                caller.count()
        return Call(house, request, caller or house.keys.nobody, number)

    async def _response(self, call: Call, receive: Receive) -> Response:
        """Return the endpoint's answer, unless it takes too long or the client goes away before it is there."""
        try:
            raw = await asyncio.wait_for(self._raw(call.request), self.house.limits.deadline)
        except TimeoutError:
            raise Refusal(408, "The request did not come to its end in time.", "request_timeout") from None
        body = await self._body(raw)
        answering = asyncio.ensure_future(self.endpoint.answer(call, body))

        # Where nobody waits any longer for what it raises, nobody is to be told of it.
        answering.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait(
                {answering, leaving}, timeout=call.deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
            if answering.done():
                answer = answering.result()
                return answer if isinstance(answer, Response) else _Json(answer)
            if leaving.done():
                raise ClientDisconnect
            raise Refusal(
                504, f"This was not answered within {self.house.limits.deadline:g} seconds.", "deadline",
                kind="server_error",
            )  # fmt: skip
        finally:
            # Whatever the end was: what still runs for this call is nobody's any more.
            answering.cancel()
            leaving.cancel()

    async def _raw(self, request: Request) -> bytes:
        # A form that a browser sends to another site cannot have this header: no page can ask in a person's name.
        most = self.house.limits.body
        if self.endpoint.body is not None:
            check_form(request.headers)
        raw = bytearray()

        # Measured as it comes: a header may say less than is sent.
        async for piece in request.stream():
            # As it comes, so that no more than is allowed is ever in memory.
            raw += piece
            if len(raw) > most:
                raise Refusal(413, f"The body has more than the {most:,} bytes that are taken.", "body_too_large")
        return bytes(raw)

    async def _body(self, raw: bytes) -> Any:
        """Return what a request says, None where its endpoint wants nothing said."""
        kind = self.endpoint.body
        if kind is None:
            return None
        if not raw:
            raise wrong("The body is empty.", code="invalid_json")
        if len(raw) < _LARGE:
            return as_body(kind, as_json(raw))
        # What takes a while to read holds up none but what is as large.
        return await self.house.opened(partial(_opened, kind, raw))

    def _write(self, request: Request, call: Call | None, number: str, ended: tuple[int, str | None, float]) -> None:
        """Count a request that has ended, and write it down."""
        house, (status, code, seconds) = self.house, ended
        adapter = call.adapter if call else ""
        if not self.endpoint.unguarded:
            # Paths of endpoints and not of requests: a label is made for each value.
            house.meters.requests.labels(adapter, self.endpoint.name, str(status)).inc()
        if code is not None:
            house.meters.rejections.labels(code).inc()
        # Only what was answered: a refusal takes no time that anybody plans with.
        if call is not None and adapter and code is None:
            house.meters.seconds.labels(adapter).observe(seconds)
        # What was read and written, whoever waited for its end.
        if call is not None and adapter:
            house.meters.tokens_in.labels(adapter).inc(call.tokens_in)
            house.meters.tokens_out.labels(adapter).inc(call.tokens_out)
            house.meters.rows.labels(adapter).inc(call.rows)
        if self.endpoint.unguarded:
            return
        more: dict[str, Any] = {}
        if call is not None:
            more = {"key": call.caller.name, "adapter": adapter or None, "version": call.version, "finish": call.finish}
            more |= {name: getattr(call, name) or None for name in ("rows", "tokens_in", "tokens_out")}
            more["first_token_seconds"] = None if call.first is None else round(call.first, 4)
            more["text"] = call.texts if house.journal.with_text else None
        house.journal.write(
            request=number, method=request.method, path=self.endpoint.name, status=status, error=code,
            seconds=round(seconds, 4), client=request.client.host if request.client else None, **more,
        )  # fmt: skip


def _opened(kind: type[Body], raw: bytes) -> Any:
    """Return what a large body says.

    Of millions of lists all are looked through again and again for what is not used any more, which stops every thread: ten
    times as long as reading them takes. None of that is looked for meanwhile.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return as_body(kind, as_json(raw))
    finally:
        if collects:
            gc.enable()


def _is_here(host: str) -> bool:
    """Return whether a request's Host is this machine's own name or an address, which leads nowhere else."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    with suppress(ValueError):
        return bool(ip_address(name.strip("[]")))
    return name == "localhost" or name.endswith(".localhost")


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _refused(
    refusal: Refusal, number: str, more: Mapping[str, str] | None = None, named: Callable[[str], str] = str
) -> Response:
    return _Json(refusal.body(named), refusal.status, {**(more or {}), **refusal.headers(), "x-request-id": number})

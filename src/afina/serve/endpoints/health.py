"""Say how the server is: whether the threads that own the model take turns, and what was counted."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint

__all__ = ["Health", "Metrics", "Ready"]


@endpoint("/health")
class Health(ServerEndpoint):
    """Asks each thread that owns a model for a sign of life: 503 where one is dead, or gives none in time."""

    method, unguarded = "GET", True

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response:
        problem = await _problem(call)
        return JSONResponse({"status": problem or "ok"}, 503 if problem else 200)


@endpoint("/ready")
class Ready(ServerEndpoint):
    """Says whether requests should be sent here: not while the server is stopping, nor where it is not well."""

    method, unguarded = "GET", True

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response:
        problem = "The server is stopping." if call.house.draining else await _problem(call)
        return JSONResponse({"status": problem or "ready"}, 503 if problem else 200)


@endpoint("/metrics")
class Metrics(ServerEndpoint):
    """Gives all counters as Prometheus reads them; they name every adapter, so that where there are keys an admin asks."""

    method, admin, free = "GET", True, True

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response:
        return Response(call.house.meters.text(), media_type=CONTENT_TYPE_LATEST)


async def _problem(call: Call) -> str | None:
    """Return what is wrong with the threads, None where all is well."""
    house = call.house
    if (dead := house.dead()) is not None:
        return dead
    signs = [asyncio.wrap_future(sign) for sign in house.signs()]
    _, missing = await asyncio.wait(signs, timeout=house.limits.stuck)
    for sign in missing:
        sign.cancel()
    return f"A thread that answers has taken no turn for {house.limits.stuck:g} seconds." if missing else None

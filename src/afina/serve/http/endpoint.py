"""Register what can be asked: each path is a class in a file of `serve/endpoints/`, found by walking that folder."""

from typing import Any, ClassVar

from starlette.responses import Response

from afina.registry import Registry
from afina.serve.http.bodies import Body
from afina.serve.http.call import Call

__all__ = ["ENDPOINTS", "ServerEndpoint", "endpoint"]


class ServerEndpoint:
    """Answers requests at one path; only its class is asked, as it holds nothing."""

    name: ClassVar[str] = ""
    """The path."""
    method: ClassVar[str] = "POST"
    body: ClassVar[type[Body] | None] = None
    """The form of a request's body; None if it has none."""
    admin: ClassVar[bool] = False
    """True if only an admin may ask."""
    free: ClassVar[bool] = False
    """True if everybody may ask an admin's endpoint where no key is needed."""
    unguarded: ClassVar[bool] = False
    """True if anybody may ask, with or without a key."""

    @classmethod
    async def answer(cls, call: Call, body: Any) -> Response | dict[str, Any] | list[Any]:
        """Return the answer, JSON unless it is a response; raises `Refusal`."""
        raise NotImplementedError(f"{cls.name} has no answer")


ENDPOINTS: Registry[type[ServerEndpoint]] = Registry("endpoint", "afina.serve.endpoints")
"""All of them by path."""

endpoint = ENDPOINTS.register

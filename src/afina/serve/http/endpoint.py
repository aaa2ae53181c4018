"""Register what can be asked: each path is a class in a file of `serve/endpoints/`, found by walking that folder."""

from typing import Any, ClassVar

from starlette.responses import Response

from afina.registry import Registry
from afina.serve.http.bodies import Body
from afina.serve.http.call import Call

__all__ = ["ENDPOINTS", "Endpoint", "endpoint"]


class Endpoint:
    """Answers requests at one path; only its class is asked, as it holds nothing."""

    name: ClassVar[str] = ""
    """The path."""
    method: ClassVar[str] = "POST"
    body: ClassVar[type[Body] | None] = None
    """What a request has to hold; None where it holds nothing."""
    admin: ClassVar[bool] = False
    """Whether an admin alone may ask."""
    free: ClassVar[bool] = False
    """Whether what is an admin's is everybody's where no key is needed."""
    unguarded: ClassVar[bool] = False
    """Whether anybody may ask, key or not."""

    @classmethod
    async def answer(cls, call: Call, body: Any) -> Response | dict[str, Any] | list[Any]:
        """Return the answer, JSON unless it is a response; raises `Refusal`."""
        raise NotImplementedError(f"{cls.name} has no answer")


ENDPOINTS: Registry[type[Endpoint]] = Registry("endpoint", "afina.serve.endpoints")
"""All of them by path."""

endpoint = ENDPOINTS.register

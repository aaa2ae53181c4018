"""Refuse a request in the form that OpenAI's clients know: a status, and an object with one sentence."""

import math
from collections.abc import Callable
from typing import Any

__all__ = ["Refusal", "busy", "no_model", "not_here", "wrong"]


class Refusal(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(
        self, status: int, message: str, code: str, *, kind: str = "invalid_request_error", param: str | None = None,
        retry_after: float | None = None,
    ) -> None:  # fmt: skip
        """Say `param` where one key of the body is to blame, `retry_after` seconds where waiting helps."""
        super().__init__(message)
        self.status, self.code, self.kind, self.param, self.retry_after = status, code, kind, param, retry_after

    def body(self, named: Callable[[str], str] = str) -> dict[str, Any]:
        """Return the error as OpenAI has it; `named` has what the sentence calls by its place be called by its name."""
        return {"error": {"message": named(str(self)), "type": self.kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        more = {"www-authenticate": "Bearer"} if self.status == 401 else {}
        return more if self.retry_after is None else more | {"retry-after": str(max(1, math.ceil(self.retry_after)))}


def wrong(message: str, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """Return the refusal of what a body says."""
    return Refusal(400, message, code, param=param)


def no_model(message: str) -> Refusal:
    """Return the refusal of a model that is not there, or not for whoever asks: the two are told apart by nothing."""
    return Refusal(404, message, "model_not_found", param="model")


def not_here(name: str) -> Refusal:
    """Return that of a name which nothing here has, as far as whoever asks may know."""
    return no_model(f"There is no model '{name[:200]}' here.")


def busy(message: str, retry_after: float, code: str = "rate_limit_exceeded") -> Refusal:
    """Return the refusal of what can be asked again a little later."""
    return Refusal(429, message, code, kind="rate_limit_error", retry_after=retry_after)

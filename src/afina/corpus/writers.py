"""Models that write text for a prompt, and those behind any endpoint that speaks OpenAI's chat API."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from afina.errors import AfinaError, UsageError, redacted, shown

__all__ = ["Endpoint", "GeneratedText", "TextWriter"]

_LARGEST = 16 << 20
"""Bytes of an answer, at most; the longest that models write are a hundredth of it."""


@dataclass(frozen=True)
class GeneratedText:
    """Holds what a model wrote."""

    text: str
    whole: bool = True
    """False where it was cut off at the most tokens that it may write."""


class TextWriter(Protocol):
    """Anything that writes; `parallel` calls may be made at once, and equal arguments may give equal text."""

    @property
    def name(self) -> str: ...

    @property
    def parallel(self) -> int: ...

    def write(self, prompt: str, seed: int) -> GeneratedText:
        """Return what the model answers to a prompt; raises `AfinaError` when it does not answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Asks a model behind `POST url/chat/completions`, again with growing pauses when it fails for a while."""

    url: str
    """Up to and with the version, such as `http://localhost:8000/v1`."""
    name: str
    key: str | None = None
    """Sent as bearer token, and shown nowhere."""
    temperature: float = 0.9
    max_tokens: int = 1_024
    timeout_seconds: float = 120.0
    tries: int = 5
    pause_seconds: float = 1.0
    """Before the second try; doubled before each further one, with up to a quarter more at random."""
    parallel: int = 4
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise UsageError(f"{shown(self.url)} is no endpoint; give a URL such as http://localhost:8000/v1.")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise UsageError(
                "The endpoint's key holds letters that no key has (not ASCII, or a line end); copy it again."
            )

    def __repr__(self) -> str:
        return f"Endpoint({self._place}, {self.name})"

    @property
    def _place(self) -> str:
        """Return the address as it may be shown."""
        return redacted(self.url, self._secrets)

    @property
    def _secrets(self) -> list[str]:
        """Return what neither a sentence nor a file may hold, which an endpoint's answer may say again."""
        parts = urlsplit(self.url)
        asked = [value for _, value in parse_qsl(parts.query)]
        login = f"{unquote(parts.username or '')}:{unquote(parts.password)}" if parts.password else ""
        return [secret for secret in (self.key, parts.password, login, *asked) if secret]

    @cached_property
    def _client(self) -> Any:
        import httpx2 as httpx

        return httpx.Client(
            timeout=self.timeout_seconds, headers={"Authorization": f"Bearer {self.key}"} if self.key else {}
        )

    def write(self, prompt: str, seed: int) -> GeneratedText:
        """Return the model's answer; raises `UsageError` for what asking again cannot mend, else `AfinaError`."""
        body = {
            "model": self.name, "messages": [{"role": "user", "content": prompt}], "temperature": self.temperature,
            "max_tokens": self.max_tokens, "seed": seed,
        }  # fmt: skip
        problem = ""
        for attempt in range(self.tries):
            answer, problem, wait = self._ask(body)
            if answer is not None:
                return answer
            if attempt + 1 < self.tries:
                pause = self.pause_seconds * 2**attempt * random.uniform(1, 1.25)
                self.sleep(max(pause, min(wait, 60.0)))
        raise AfinaError(f"{self._place} did not answer in {self.tries} tries ({problem})")

    def _ask(self, body: dict[str, Any]) -> tuple[GeneratedText | None, str, float]:
        """Return the answer or None, what went wrong, and the seconds that the server asks to wait."""
        import httpx2 as httpx

        deadline = time.monotonic() + self.timeout_seconds
        try:
            with self._client.stream("POST", f"{self.url.rstrip('/')}/chat/completions", json=body) as response:
                data = b""

                # A timeout of the client's is one between bytes: a server that drips would hold us for ever.
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > _LARGEST:
                        return None, f"an answer of more than {_LARGEST >> 20} MB", 0.0
                    if time.monotonic() > deadline:
                        return None, f"no whole answer in {self.timeout_seconds:g} s", 0.0
        except httpx.TimeoutException:
            return None, f"no answer in {self.timeout_seconds:g} s", 0.0
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, redacted(str(error), self._secrets) or type(error).__name__, 0.0
        status = response.status_code
        if status == 429 or status >= 500:
            asked = response.headers.get("retry-after", "")
            return None, f"status {status}", float(asked) if asked.isascii() and asked.isdigit() else 0.0
        if status >= 300:
            reason = " ".join(redacted(data.decode("utf-8", "replace"), self._secrets).split())[:200]
            raise UsageError(f"{self._place} refuses the request (status {status}: {reason}).")
        return self._content(data)

    def _content(self, data: bytes) -> tuple[GeneratedText | None, str, float]:
        try:
            choice = json.loads(data)["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            beginning = redacted(data.decode("utf-8", "replace"), self._secrets)[:80]
            return None, f"an answer that is none of the chat API: {beginning!r}", 0.0
        return GeneratedText(str(content or ""), choice.get("finish_reason") != "length"), "", 0.0


def _is_address(url: str) -> bool:
    """Return whether a URL is one of a web server, in the letters that such a URL has."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isascii()
    except ValueError:  # a port that is none, a bracket left open
        return False

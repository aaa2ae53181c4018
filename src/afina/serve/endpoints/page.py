"""Give the page at / on which a person tries one or two adapters; all that it needs comes from here, and no key is in it."""

from functools import cache
from importlib.resources import files
from typing import Any, ClassVar

from starlette.responses import JSONResponse, Response

from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.words.page import PORTUGUESE

__all__ = ["Icon", "Page", "PageWords", "Script", "Style"]

_HEADERS = {
    # Script and style from here alone, none within the page, and nobody else is asked or may frame it.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # a newer server has a newer page
}


class _File(ServerEndpoint):
    """Gives a file of the folder `serve/page`; the page asks for a key itself, so that none is needed to see it."""

    method, unguarded = "GET", True
    file: ClassVar[str]
    kind: ClassVar[str]

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response:
        return Response(_bytes(cls.file), media_type=cls.kind, headers=_HEADERS)


@endpoint("/")
class Page(_File):
    """Gives the page's HTML."""

    file, kind = "index.html", "text/html"


@endpoint("/page/style.css")
class Style(_File):
    """Gives what it looks like."""

    file, kind = "style.css", "text/css"


@endpoint("/page/script.js")
class Script(_File):
    """Gives what it does."""

    file, kind = "script.js", "text/javascript"


@endpoint("/page/icon.svg")
class Icon(_File):
    """Gives the mark that a browser puts beside its name."""

    file, kind = "icon.svg", "image/svg+xml"


@endpoint("/page/words.json")
class PageWords(ServerEndpoint):
    """Gives the Portuguese of its English phrases."""

    method, unguarded = "GET", True

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response | dict[str, Any]:
        return JSONResponse(PORTUGUESE, headers=_HEADERS)


@cache
def _bytes(file: str) -> bytes:
    return (files("afina.serve") / "page" / file).read_bytes()

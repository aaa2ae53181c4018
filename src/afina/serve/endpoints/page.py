"""Give the page at / on which a person tries one or two adapters; all that it needs comes from here, and no key is in it."""

from functools import cache
from importlib.resources import files

from starlette.responses import JSONResponse, Response

from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.refusals import Refusal
from afina.words.page import PORTUGUESE

__all__ = ["Page", "PageFile"]

_FILES = {
    "index.html": "text/html", "style.css": "text/css", "labels.js": "text/javascript", "script.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}  # fmt: skip
"""Files of the folder `serve/page`, and their kinds."""

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


@endpoint("/")
class Page(ServerEndpoint):
    """Gives the page's HTML; the page asks for a key itself, so that none is needed to see it."""

    method, unguarded = "GET", True

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response:
        return _given("index.html")


@endpoint("/page/{file}")
class PageFile(ServerEndpoint):
    """Gives what the page is made of: its look, its scripts, the mark that a browser puts beside its name, its Portuguese."""

    method, unguarded = "GET", True

    @classmethod
    async def answer(cls, call: Call, body: None) -> Response:
        file = call.request.path_params["file"]
        if file == "words.json":
            return JSONResponse(PORTUGUESE, headers=_HEADERS)
        if file not in _FILES:
            raise Refusal(404, f"There is nothing at /page/{file[:200]}.", "not_found")
        return _given(file)


def _given(file: str) -> Response:
    return Response(_bytes(file), media_type=_FILES[file], headers=_HEADERS)


@cache
def _bytes(file: str) -> bytes:
    return (files("afina.serve") / "page" / file).read_bytes()

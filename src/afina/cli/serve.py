"""`afina serve` puts a base and its adapters behind the interfaces of OpenAI and others."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Device, Language, Precision
from afina.cli.terminal import is_quiet

if TYPE_CHECKING:
    from afina.serve.http.server import Served
    from afina.words.language import Words

__all__ = ["serve"]


@command("serve", panel=PANELS[2])
def serve(
    base: Annotated[
        str | None, typer.Argument(metavar="BASE", help="The model; left out, that which the adapters name.")
    ] = None,
    adapters: Annotated[
        Path | None, typer.Option("--adapters", metavar="DIR", help="A folder of adapters; each has its folder's name.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to answer at; 0.0.0.0 is every one of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port to answer at; 0 is any free one.")] = 8000,
    preload: Annotated[
        bool, typer.Option("--preload", help="Load all adapters before the first request, not when first asked for.")
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="A YAML list of keys: name, key, adapters, admin, rate."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", help="The key to ask with; better by AFINA_API_KEY, which ps shows to nobody."),
    ] = None,
    admin_key: Annotated[
        str | None, typer.Option("--admin-key", help="The key to load and unload with (AFINA_ADMIN_KEY).")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Requests a minute that a key may make.")] = None,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Texts that may wait; beyond them it is 429.")] = 512,
    body: Annotated[int, typer.Option("--max-body", min=1, help="Bytes that a request may have.")] = 8 << 20,
    deadline: Annotated[float, typer.Option("--deadline", help="Seconds within which a request is answered.")] = 120.0,
    grace: Annotated[
        float, typer.Option("--grace", help="Seconds that what runs has to end when told to stop.")
    ] = 30.0,
    log: Annotated[
        str,
        typer.Option("--log", metavar="FILE", help="Where a line of JSON goes for each request; - is standard output."),
    ] = "-",
    log_text: Annotated[bool, typer.Option("--log-text", help="Write down what was asked, too.")] = False,
    same: Annotated[
        list[str] | None,
        typer.Option("--same", metavar="NAME", help="Another name of BASE in adapters; several times."),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            metavar="[NAME=]INDEX",
            help="Documents from which BASE, or the adapter NAME, answers; several times.",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = None,
    language: Language = "en",
) -> None:
    """Serve a model and any number of its adapters, of any method, by one process: chats, labels, vectors.

    Example: `afina serve minilm --adapters support/runs --port 8000`

    Programs ask as they ask OpenAI (`base_url="http://127.0.0.1:8000/v1"`): the adapter is the `model`. New, changed and
    removed folders are noticed. Ctrl-C or SIGTERM stops it when what runs has ended; a second one at once.
    """
    from afina import api
    from afina.serve.http.house import ServeLimits
    from afina.words.language import Words

    words = Words(language)
    tell = _quiet if is_quiet() else partial(_tell, words)  # now: other threads do not know of --quiet
    served = api.serve(
        base, adapters=adapters, host=host, port=port, preload=preload, keys=keys,
        # An empty variable is no key.
        api_key=api_key or os.environ.get("AFINA_API_KEY") or None,
        admin_key=admin_key or os.environ.get("AFINA_ADMIN_KEY") or None, rate=rate,
        limits=ServeLimits(queue=queue, body=body, deadline=deadline), grace=grace, log=log, log_text=log_text,
        same=same or (), index=_indexes(index or ()), precision=precision, device=device, tell=tell,
    )  # fmt: skip
    adapters_there = words.counted(len(served.house.shelf.names()), "{count} adapter", "{count} adapters")
    tell(
        words(
            "{base} and {adapters} at {url} (a page to try them; programs ask at {url}/v1)",
            base=served.house.bases.name, adapters=adapters_there, url=served.url,
        )
    )  # fmt: skip
    # Said before anybody asks: an address that others reach without a key serves whoever finds it.
    if host not in ("127.0.0.1", "localhost", "::1") and not served.house.keys.guards:
        tell(words("Whoever reaches this address may ask: there is no key (--api-key, --keys)."))
    _until_told(served, words, tell)


def _indexes(given: Sequence[str]) -> dict[str, str]:
    """Return `--index` by models' names, the base's by an empty one; raises `UsageError` for one that is named twice."""
    from afina.errors import UsageError

    named: dict[str, str] = {}
    for each in given:
        name, _, place = each.rpartition("=")
        if name in named:
            raise UsageError(f"--index: {f'the adapter {name}' if name else 'the base'} is given two indexes.")
        named[name] = place
    return named


def _tell(words: "Words", sentence: str) -> None:
    print(f"afina: {words.note(sentence)}", file=sys.stderr, flush=True)


def _quiet(sentence: str) -> None:
    pass


def _until_told(served: "Served", words: "Words", tell: Callable[[str], None]) -> None:
    """Wait until the server ends, which the first signal asks it to do and the second makes it.

    Exits with 1 where a thread that owns the model died: whoever restarts what has failed is to restart it.
    """

    def told(number: int, frame: object) -> None:
        served.ask_to_stop(at_once=served.house.draining)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)
    code = 0
    while not served.wait(0.5):  # not without an end: a signal is looked at between two waits
        if not code and not served.house.draining and served.house.dead() is not None:
            code = 1
            tell(words("A thread that owns the model has died; the server ends, to be started again."))
            served.ask_to_stop()
    if served.house.lingers:
        # A thread is still in the middle of a pass, and an interpreter that ends under it ends by a crash.
        sys.stdout.flush()
        os._exit(code)
    if code:
        raise typer.Exit(code)

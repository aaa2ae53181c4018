"""Serving: adapters of one base behind the interfaces that programs speak already."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.serve.http.house import ServeLimits
    from afina.serve.http.server import Served

__all__ = ["serve"]


def serve(
    base: str | None = None,
    *,
    adapters: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    preload: bool = False,
    api_key: str | None = None,
    admin_key: str | None = None,
    keys: str | Path | None = None,
    rate: float | None = None,
    limits: "ServeLimits | None" = None,
    grace: float = 30.0,
    log: str | Path | None = None,
    log_text: bool = False,
    same: str | Sequence[str] = (),
    index: "str | Path | Mapping[str, str | Path] | None" = None,
    precision: str | None = None,
    device: str = "auto",
    tell: Callable[[str], None] = lambda sentence: None,
) -> "Served":
    """Serve a base (left out where the adapters name it) and all adapters of a folder; port 0 is any free one.

    Returns when requests are taken: `served.url` says where, `served.stop()`, or leaving its `with` block, ends it. Whoever
    has `api_key` may ask everything, `admin_key` loads and unloads too, and `keys` is a file of keys with adapters of their
    own; `rate` is how often a minute each may ask. `log` is a file of JSON lines, or "-". `same` are other names of the
    base. `index` is the folder of an index of documents from which chats with the base are answered, or several by the names
    of their adapters (the base's by its own); an adapter's folder may name its own in `serve.yaml`. Raises `UsageError` for
    what cannot be served, before anything is loaded where that can be.
    """
    from afina.errors import UsageError

    same = one_or_more(same)
    if not 0 <= port <= 65535:
        raise UsageError(f"--port is from 0 to 65535, not {port}.")
    if not 0 <= grace < 1e6:
        raise UsageError(f"--grace should be 0 or more seconds, not {grace:g}.")
    try:
        from afina.serve.http.server import Served, bound
    except ImportError as error:
        raise UsageError(f"Serving needs more packages ({error.name}): pip install 'afina[serve]'.") from None
    from afina.serve.http.house import ServeLimits
    from afina.serve.http.opening import Opening, open_house

    # The port is taken before models are loaded, which may take minutes: one that is in use is said at once.
    place = bound(host, port)
    try:
        how = Opening(
            base=base, adapters=None if adapters is None else Path(adapters), precision=precision, device=device,
            preload=preload, same=tuple(same), api_key=api_key, admin_key=admin_key,
            keys=None if keys is None else Path(keys), rate=rate, log=None if log is None else str(log),
            log_text=log_text, limits=limits or ServeLimits(), indexes=_indexes(index),
        )  # fmt: skip
        return Served(open_house(how, tell), place, grace=grace).start()
    # Whatever broke it off, Ctrl-C among it, the port is free again.
    except BaseException:
        place.close()
        raise


def _indexes(given: "str | Path | Mapping[str, str | Path] | None") -> dict[str, str]:
    """Return indexes by their models' names, the base's by an empty one where it was given alone."""
    if given is None:
        return {}
    named = given if isinstance(given, Mapping) else {"": given}
    from afina.retrieval.folder import IndexFolder

    return {name: str(IndexFolder(Path(place)).path.resolve()) for name, place in named.items()}

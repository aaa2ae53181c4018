"""Ask whether the Hugging Face hub can be reached, before its client tries for a minute and a half."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["cached_only", "local_only", "reachable"]

_SECONDS = 4.0
"""A hub that has not answered by then is taken for unreachable; what its cache holds is still read."""


def local_only(path: str) -> bool:
    """Return whether to read a model or its parts from this machine alone: a folder, or no hub to ask."""
    return Path(path).is_dir() or not reachable()


def reachable(seconds: float = _SECONDS) -> bool:
    """Return whether a connection to the hub, or to the proxy before it, comes about in so many seconds."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    address = urlsplit(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    place = (address.hostname or "", address.port or (80 if address.scheme == "http" else 443))
    met = threading.Event()

    def meet() -> None:
        try:
            socket.create_connection(place, timeout=seconds).close()
        except OSError:
            return
        met.set()

    # Looking a name up takes no timeout of its own: a thread that hangs in it is left behind.
    thread = threading.Thread(target=meet, daemon=True)
    thread.start()
    thread.join(seconds)
    return met.is_set()


@contextmanager
def cached_only() -> Iterator[None]:
    """Have `datasets` read what its cache holds alone where the hub cannot be reached, and as ever afterwards."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not reachable():
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before

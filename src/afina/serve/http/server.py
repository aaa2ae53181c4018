"""Run a server in a thread of its own: it has its port before it loads anything, and stops when it is told to."""

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import uvicorn

from afina.errors import AfinaError, UsageError
from afina.serve.http.app import make_app
from afina.serve.http.house import House
from afina.serve.http.patience import patient, set_patience

__all__ = ["Served", "bound"]


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that has an address, port 0 for any free one; raises `UsageError` for one that is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    # asyncio sends small pieces at once only where the protocol is named; else each answer waits 40 ms to be acknowledged.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that was just let go of may be had again at once.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(2048)  # what is bound alone another may bind too; who asks early waits until all is loaded
    except (OSError, OverflowError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{host}:{port} cannot be had ({reason}); choose another --port or --host.") from None
    return made


class Served:
    """A running server; `url` is where, `stop` ends it, and so does leaving its `with` block."""

    def __init__(self, house: House, place: socket.socket, *, grace: float = 30.0) -> None:
        """Answer at a bound socket; on stopping what runs has `grace` seconds."""
        self.house, self.grace, self._socket = house, grace, place
        host, port = place.getsockname()[:2]
        house.is_local = ip_address(host).is_loopback
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        set_patience(place, house.limits.patience)
        config = uvicorn.Config(
            make_app(house), http=patient(house.limits.patience), log_config=None, access_log=False, lifespan="off",
            server_header=False,
            # Longer than clients keep a connection open, which would otherwise ask into a closed one.
            timeout_graceful_shutdown=max(1, round(grace)), timeout_keep_alive=65,
        )  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # of clients that leave it says whole traces
        self._server = uvicorn.Server(config)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="afina-serve", daemon=True)

    def start(self) -> Self:
        """Begin to answer; returns when requests are taken."""
        self.house.start()
        self._thread.start()
        while not self._server.started:
            # It ended while it began: its thread has said why.
            if self._ended.wait(0.01):
                raise AfinaError(f"The server at {self.url} ended before it began.")
        return self

    def stop(self) -> None:
        """Take no more requests, let those that run end within the grace, and end."""
        self.house.draining = True
        self._server.should_exit = True
        self._ended.wait()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, at most so long; return whether it has."""
        return self._ended.wait(seconds)

    def ask_to_stop(self, *, at_once: bool = False) -> None:
        """Begin to stop without waiting, as a signal does; `at_once` breaks off what runs."""
        self.house.draining = True
        self._server.should_exit = True
        self._server.force_exit = self._server.force_exit or at_once

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            # The socket may be gone with the event loop.
            with suppress(OSError):
                self._socket.close()
            self.house.close()
            self._ended.set()

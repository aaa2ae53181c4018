"""Wait for slow clients without end for none: one that does not read its answer, or not send its request, is let go of.

An answer that nobody reads is not written on into memory (uvicorn holds it back beyond 64 kB); here it does not stay for ever
either, with the adapter that it holds.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

__all__ = ["patient", "set_patience"]


def patient(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol, which breaks off a connection that stands still for so many seconds."""
    # Whichever parser uvicorn has here.
    kind: Any = AutoHTTPProtocol

    class Patient(kind):  # type: ignore[misc]
        unread: asyncio.TimerHandle | None = None
        """Runs while an answer waits for its client to read."""
        unsent: asyncio.TimerHandle | None = None
        """Runs while a request has not come as far as its body."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._expect()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._expect()

        def _expect(self) -> None:
            """Wait for a request that has not come whole; one that has is timed by its deadline."""
            coming = self.cycle is None or self.cycle.response_complete
            if coming and self.unsent is None:
                self.unsent = self.loop.call_later(seconds, self.transport.abort)
            elif not coming and self.unsent is not None:
                self.unsent.cancel()
                self.unsent = None

        def pause_writing(self) -> None:
            super().pause_writing()
            if self.unread is None:
                self.unread = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self.unread is not None:
                self.unread.cancel()
                self.unread = None

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self.unread, self.unsent):
                if timer is not None:
                    timer.cancel()

    return Patient


def set_patience(place: socket.socket, seconds: float) -> None:
    """Have the system give up connections, accepted at a socket from now on, whose last bytes nobody takes."""
    # Of these nothing here knows any more: the answer is over, and the connection may be closed.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))

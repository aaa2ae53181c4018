"""Ask an engine, and read its reply from threads or from asyncio while it is written."""

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from afina.backbone.attachable import Attachable
from afina.errors import AfinaError
from afina.generation.rows import Piece, Row, Written
from afina.generation.settings import GenerationSettings

__all__ = ["Ask", "Busy", "Closing", "StreamedReply"]

_NUMBERS = itertools.count(1)


class Busy(AfinaError):
    """A queue that is full; `retry_after` says in how many seconds it may have room."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(
            f"{waiting} requests wait already, which is the most here; ask again in {retry_after:.0f} seconds."
        )
        self.waiting, self.retry_after = waiting, retry_after


class Closing(AfinaError):
    """An engine, or what reads texts, that takes no more requests."""

    def __init__(self) -> None:
        super().__init__("What answers is closing and takes no more requests.")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Asks for an answer to a prompt's tokens by an adapter, or by the bare model where the adapter is None."""

    prompt: Sequence[int]
    adapter: Attachable | None = None
    """This very object answers to the end, whatever else is loaded under its name meanwhile."""
    name: str = ""
    """The name under which requests are counted."""
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    stop: tuple[str, ...] = ()
    """Texts that end the answer, beside those of the settings: a chat template's."""
    tokenizer: Any = None
    """The adapter's own tokenizer; None for the backbone's."""
    deadline: float | None = None
    """Time by which it has to be done, by `time.monotonic()`."""


class StreamedReply:
    """An answer while it is written: iterate over its pieces, or be called with each, or read all at once."""

    def __init__(self, ask: Ask, row: Row, wake: Callable[[], None]) -> None:
        self.ask, self.row, self._wake = ask, row, wake
        self.number = next(_NUMBERS)
        self.asked_at = time.monotonic()
        self.first_at: float | None = None
        """Time of its first token; None before."""
        self.last_at: float | None = None
        self.counted = 0
        """Tokens that the engine has counted."""
        self.written: Written | None = None
        """The whole answer, once it is there."""
        self.cancelled = False
        self._pieces: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        self._listener: Callable[[Piece], None] | None = None
        self._order = threading.Lock()

    def cancel(self) -> None:
        """Have the row leave before the next step; what was written by then is its answer, `finish` "cancelled"."""
        self.cancelled = True
        self._wake()

    def listen(self, listener: Callable[[Piece], None]) -> None:
        """Have a callable called with each piece, in the engine's thread, instead of iterating; it must not block."""
        with self._order:
            self._listener = listener
            # What came before anybody listened is passed on in order.
            while not self._pieces.empty():
                listener(self._pieces.get())

    def __iter__(self) -> Iterator[Piece]:
        """Yield pieces as they come; the last has `written`."""
        while True:
            piece = self._pieces.get()
            yield piece
            if piece.written is not None:
                return

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Yield pieces as they come, without holding up the event loop; leaving the loop early cancels the row."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece] = asyncio.Queue()

        def pass_on(piece: Piece) -> None:
            # The engine's thread may not touch the event loop but by this.
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        self.listen(pass_on)
        try:
            while True:
                piece = await pieces.get()
                yield piece
                if piece.written is not None:
                    return
        finally:
            # Whoever leaves the loop wants no more of it, and its row makes room for others.
            if self.written is None:
                self.cancel()

    def result(self) -> Written:
        """Wait for the whole answer."""
        for _ in self:
            pass
        assert self.written is not None
        return self.written

    def give(self, piece: Piece) -> None:
        """Pass on a piece; only the engine calls this."""
        if piece.written is not None:
            self.written = piece.written
        with self._order:
            if self._listener is None:
                self._pieces.put(piece)
                return
            try:
                self._listener(piece)
            except Exception:  # whoever listened is gone, its event loop closed: nobody wants the rest
                self.cancelled = True

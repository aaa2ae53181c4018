"""Own a model: one thread takes turns with it for as long as the server runs, and can be asked whether it still does."""

import threading
import time
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Owner"]


class Owner:
    """A thread with an inbox; what extends it says what a thing in the inbox is, and what a turn does."""

    def __init__(self, name: str) -> None:
        self.beat = time.monotonic()
        """Time at which the last turn began, by `time.monotonic()`."""
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self.is_over = False
        """True if the thread takes nothing out of the inbox any more."""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin taking turns."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End after the turn that is being taken, and wait so long for it."""
        self._ends.set()
        # Something to wake it, as it may be waiting for a second.
        self._inbox.put(None)
        self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        """Return whether the thread is there; whether it takes turns `ping` tells."""
        return self._thread.is_alive() and not self.is_over

    def ping(self) -> "Future[None]":
        """Return what is done when the thread comes to it."""
        asked: Future[None] = Future()
        self._inbox.put(asked)
        return asked

    def accept(self, thing: Any) -> None:
        """Take a thing out of the inbox."""
        raise NotImplementedError

    def turn(self) -> None:
        """Do what one turn does."""
        raise NotImplementedError

    def idle(self) -> bool:
        """Return whether there is nothing to do before something comes."""
        raise NotImplementedError

    def gather(self) -> None:
        """Take things out of the inbox that are there, waiting for the first where there is nothing else to do."""
        try:
            if self.idle():
                # A second at most, so that `beat` goes on where nobody asks.
                self.opened(self._inbox.get(timeout=1.0))
            while True:
                self.opened(self._inbox.get_nowait())
        except Empty:
            return

    def opened(self, thing: Any) -> None:
        """Answer a ping, and accept everything else."""
        if isinstance(thing, Future):
            if thing.set_running_or_notify_cancel():
                thing.set_result(None)
        elif thing is not None:
            self.accept(thing)

    def close(self) -> None:
        """Give up what the thread held; called by it at its end."""

    def _run(self) -> None:
        try:
            while not self._ends.is_set():
                self.beat = time.monotonic()
                self.gather()
                if not self.idle():
                    self.turn()
        finally:
            self.is_over = True
            self.close()

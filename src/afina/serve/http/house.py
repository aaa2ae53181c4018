"""Hold all that a server has: the base, the adapters, the threads that own the model, who may ask, and what is counted."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from afina.errors import UsageError
from afina.serve.adapters import Shelf
from afina.serve.bases import Bases
from afina.serve.encoders import Encoders, Gathering
from afina.serve.http.journal import Journal
from afina.serve.http.keys import Keys
from afina.serve.http.meters import Meters, process_bytes

__all__ = ["House", "ServeLimits"]


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """Says where a server stops taking; raises `UsageError` for a limit that lets nothing in."""

    queue: int = 512
    """Texts that may wait for the model; requests beyond them are asked to come again."""
    texts: int = 2048
    """Texts of one request."""
    body: int = 8 << 20
    """Bytes of one request."""
    deadline: float = 120.0
    """Seconds within which a request has to be answered."""
    stuck: float = 30.0
    """Seconds without a turn after which a thread that owns the model counts as stuck."""
    watch: float = 1.0
    """Seconds between two looks at the folder of adapters."""
    gather: float = 0.003
    """Seconds for which the first of several requests waits for the others."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0 or (value == 0 and name != "gather"):
                raise UsageError(f"{name} should be above 0, not {value}.")


@dataclass(eq=False)
class House:
    """Holds what requests are answered with, from `start` to `close`."""

    bases: Bases
    shelf: Shelf
    keys: Keys
    journal: Journal
    limits: ServeLimits
    meters: Meters = field(default_factory=Meters)
    draining: bool = False
    """Whether it takes no more requests."""

    def __post_init__(self) -> None:
        self.encoders = Encoders(Gathering(seconds=self.limits.gather), told=self._stepped("encoders"))
        self.since = time.time()
        self._ends = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="afina-watch", daemon=True)
        meters = self.meters
        meters.watch("queue_rows", "Rows that wait for the model", self._queues, "loop")
        meters.watch("memory_bytes", "Memory of the process, and of what it holds", self._memory, "of")
        meters.watch("adapters", "Adapters by whether they are in memory", self._adapters, "state")

    def start(self) -> None:
        """Begin to answer."""
        self.encoders.start()
        self._watcher.start()

    def close(self) -> None:
        """End the threads; what runs by then is broken off."""
        self._ends.set()
        self.encoders.stop()
        self.journal.close()

    def _watch(self) -> None:
        while not self._ends.wait(self.limits.watch):
            try:
                self.shelf.look()
            except OSError as error:  # a folder that is out of reach for a while: what was there stays
                self.shelf.tell(f"The adapters' folder cannot be read ({error.strerror or error}).")

    def _stepped(self, loop: str) -> Callable[[int, float], None]:
        rows, seconds = self.meters.step_rows.labels(loop), self.meters.step_seconds.labels(loop)

        def told(count: int, took: float) -> None:
            rows.observe(count)
            seconds.observe(took)

        return told

    def _queues(self) -> dict[str, float]:
        return {"encoders": float(self.encoders.rows_waiting)}

    def _memory(self) -> dict[str, float]:
        adapters = float(sum(version.bytes for version in self.shelf.there()))
        return {"process": process_bytes(), "base": float(self.bases.bytes()), "adapters": adapters}

    def _adapters(self) -> dict[str, float]:
        return {"named": float(len(self.shelf.names())), "loaded": float(len(self.shelf.there()))}

    def dead(self) -> str | None:
        """Return which thread that owns a model is dead, None where none is."""
        return None if self.encoders.alive else "The thread that answers is dead."

    def signs(self) -> "list[Future[None]]":
        """Ask each of them for a sign of life, which comes between two of its turns."""
        return [self.encoders.ping()]


def folder_of_adapters(folder: Path | None) -> Path | None:
    """Return the folder of adapters; raises `UsageError` for one that is not there."""
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--adapters: {folder} is no folder.")
    return None if folder is None else folder.resolve()

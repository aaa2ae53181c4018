"""Hold all that a server has: the base, the adapters, the threads that own the model, who may ask, and what is counted."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from afina.adapters.format import Base
from afina.errors import UsageError
from afina.predictor.predictor import Predictor
from afina.serve.adapters import Shelf
from afina.serve.bases import Bases
from afina.serve.documents import Documents
from afina.serve.encoders import Encoders, Gathering
from afina.serve.engine import Engine
from afina.serve.http.handover import Handover
from afina.serve.http.journal import Journal
from afina.serve.http.keys import Keys
from afina.serve.http.meters import Meters, process_bytes
from afina.serve.reply import Closing

__all__ = ["House", "ServeLimits"]

_T = TypeVar("_T")


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
    patience: float = 60.0
    """Seconds for which a connection may stand still while its client should read an answer or send a request."""
    stuck: float = 30.0
    """Seconds without a turn after which a thread that owns the model counts as stuck."""
    watch: float = 1.0
    """Seconds between two looks at the folder of adapters."""
    gather: float = 0.003
    """Seconds for which the first of several requests waits for the others."""
    answer: int = 1024
    """Most tokens of an answer whose request says no number."""

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
    documents: Documents = field(default_factory=Documents)
    meters: Meters = field(default_factory=Meters)
    draining: bool = False
    """True if it takes no more requests."""
    is_local: bool = False
    """True if only this machine reaches it."""
    choosing: int = 0
    """Texts that wait for an adapter which chooses among answers; the loop that answers requests counts them."""

    def __post_init__(self) -> None:
        self.encoders = Encoders(Gathering(seconds=self.limits.gather), stepped=self._stepped("encoders"))
        self.since = time.time()
        self._ends = threading.Event()
        self._engine: Engine | None = None
        self._handover: Handover | None = None
        self._making = threading.Lock()
        # A thread each: adapters that load for seconds and prompts that are long hold up none of the other kind, and never
        # the loop that answers.
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="afina-loading")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="afina-reading")
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="afina-bodies")
        self._works: set[Future[Any]] = set()
        self.shelf.freed = self._freed
        self._watcher = threading.Thread(target=self._watch, name="afina-watch", daemon=True)
        meters = self.meters
        meters.watch("queue_rows", "Rows that wait for the model", self._queues, "loop")
        meters.watch("memory_bytes", "Memory of the process, and of what it holds", self._memory, "of")
        meters.watch("adapters", "Adapters by whether they are in memory", self._adapters, "state")
        meters.watch("adapter_version", "The version that each adapter in memory is of", self._versions, "adapter")

    def start(self) -> None:
        """Begin to answer."""
        if any(backbone.language is not None for backbone in self.bases.loaded()):
            self.engine()
        self.encoders.start()
        self._watcher.start()

    def engine(self) -> Engine:
        """Return what writes, made when it is first asked for; raises `UsageError` where the base writes nothing."""
        with self._making:
            if self._engine is None:
                backbone = self.bases.backbone(Base(speaks=True, tags=False))
                self._engine = Engine(backbone, most_waiting=self.limits.queue).start()
                self.meters.follow(self._engine.counters)
            return self._engine

    async def loaded(self, work: Callable[[], _T]) -> _T:
        """Return what loading gives, behind what loads already; it goes on where nobody waits for it any more."""
        return await asyncio.shield(self._done_on(self._loading, work))

    async def read(self, work: Callable[[], _T]) -> _T:
        """Return what the reading of a prompt gives, behind those that are being read."""
        return await self._done_on(self._reading, work)

    async def opened(self, work: Callable[[], _T]) -> _T:
        """Return what the reading of a large body gives, behind those that are being read."""
        return await self._done_on(self._opening, work)

    def _done_on(self, pool: ThreadPoolExecutor, work: Callable[[], _T]) -> "asyncio.Future[_T]":
        doing = pool.submit(work)
        self._works.add(doing)
        doing.add_done_callback(self._works.discard)
        return asyncio.wrap_future(doing)

    def handover(self) -> Handover:
        """Return what hands over to the event loop that runs here."""
        loop = asyncio.get_running_loop()
        if self._handover is None or self._handover.loop is not loop:
            self._handover = Handover(loop)
        return self._handover

    @property
    def writer(self) -> Engine | None:
        """Return what writes, None where nobody has asked for it yet."""
        return self._engine

    @property
    def writes(self) -> bool | None:
        """Return whether the base writes; None where nobody has asked that of it yet."""
        return None if self._engine is None else True

    def _freed(self, predictor: Predictor) -> None:
        """Have the threads that own the models let go of an adapter that went from memory."""
        self.encoders.let_go(predictor.adapter)
        engine = self._engine
        if engine is not None and predictor.backbone is engine.backbone:
            with suppress(Closing):
                engine.unload(predictor.adapter)

    def close(self) -> None:
        """End the threads; what runs by then is broken off."""
        self._ends.set()
        if self._engine is not None:
            self._engine.close()
        self.encoders.stop()
        self.documents.close()
        for pool in (self._loading, self._reading, self._opening):
            pool.shutdown(wait=False, cancel_futures=True)
        self.journal.close()

    @property
    def lingers(self) -> bool:
        """Return whether a thread is still there that computes or loads."""
        computes = self.encoders.alive or (self._engine is not None and self._engine.is_alive)
        return computes or any(work.running() for work in [*self._works])

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
        waiting = {"encoders": float(self.encoders.rows_waiting)}
        return waiting if self._engine is None else waiting | {"engine": float(self._engine.waiting + self.choosing)}

    def _memory(self) -> dict[str, float]:
        adapters = float(sum(version.bytes for version in self.shelf.there()))
        cached = 0.0 if self._engine is None else float(self._engine.kept_bytes)
        base = float(self.bases.bytes())
        return {"process": process_bytes(), "base": base, "adapters": adapters, "keys_and_values": cached}

    def _adapters(self) -> dict[str, float]:
        return {"named": float(len(self.shelf.names())), "loaded": float(len(self.shelf.there()))}

    def _versions(self) -> dict[str, float]:
        # A value, not a label: counters by version would begin a new series, which nothing ends, at each reload.
        return {version.name: float(version.number) for version in self.shelf.there()}

    def dead(self) -> str | None:
        """Return which thread that owns a model is dead, None where none is."""
        alive = self.encoders.alive and (self._engine is None or self._engine.is_alive)
        return None if alive else "A thread that owns the model is dead."

    def signs(self) -> "list[Future[None]]":
        """Ask each of them for a sign of life, which comes between two of its turns."""
        signs = [self.encoders.ping()]
        if self._engine is not None:
            with suppress(Closing):
                signs.append(self._engine.do(lambda: None))
        return signs


def folder_of_adapters(folder: Path | None) -> Path | None:
    """Return the folder of adapters; raises `UsageError` for one that is not there."""
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--adapters: {folder} is no folder.")
    return None if folder is None else folder.resolve()

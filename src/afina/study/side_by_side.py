"""Carry out units of a study, one after another or several at a time, and hear of them in one thread."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from typing import TypeVar

from afina.study.events import Event, Observer

__all__ = ["carried_out"]

Unit = TypeVar("Unit")
Outcome = TypeVar("Outcome")


def carried_out(
    units: Sequence[Unit], work: Callable[[Unit, Observer], Outcome], observer: Observer, *, at_once: int,
    stop: Callable[[], None],
) -> Iterator[tuple[Unit, Outcome]]:  # fmt: skip
    """Yield each unit with what `work` made of it, as soon as it is done.

    The observer is told everything in this thread. Where several are at work, what it is told is marked `beside`. An error
    or an interrupt calls `stop`, which ends the jobs of the others.
    """
    if at_once == 1 or len(units) < 2:
        for unit in units:
            yield unit, work(unit, observer)
        return

    heard: SimpleQueue[Callable[[], tuple[Unit, Outcome] | None]] = SimpleQueue()
    stopped = threading.Event()

    def tell(event: Event) -> None:
        if not stopped.is_set():
            heard.put(lambda: observer(replace(event, beside=True)))

    def carry_out(unit: Unit) -> None:
        try:
            outcome = work(unit, tell)
        except BaseException as error:
            heard.put(lambda error=error: _raise(error))  # type: ignore[misc]
        else:
            heard.put(lambda: (unit, outcome))

    with ThreadPoolExecutor(min(at_once, len(units)), thread_name_prefix="unit") as pool:
        try:
            for unit in units:
                pool.submit(carry_out, unit)
            left = len(units)
            while left:
                if (done := heard.get()()) is not None:
                    left -= 1
                    yield done
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise


def _raise(error: BaseException) -> None:
    raise error

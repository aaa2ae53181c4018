"""Time short calls so that what another program takes of the machine meanwhile makes none of them look slow."""

from collections.abc import Callable, Sequence
from time import perf_counter, process_time

__all__ = ["Stopwatch", "lower_quartile", "seconds_of"]


class Stopwatch:
    """Gives the seconds since it was made: the shorter of wall clock and this process's time on its processors.

    While a program computes, at least one of its threads runs: what the clock shows beyond that, another program had. On a
    GPU, whose time is none of the processor's, it is the wall clock alone.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._on_gpu = not device.startswith("cpu")
        self._wall, self._processor = perf_counter(), process_time()

    def seconds(self) -> float:
        """Return the seconds until now."""
        wall, processor = perf_counter() - self._wall, process_time() - self._processor
        return wall if self._on_gpu else min(wall, processor)


def seconds_of(call: Callable[[], object], device: str = "cpu") -> float:
    """Return the seconds of a call."""
    watch = Stopwatch(device)
    call()
    return watch.seconds()


def lower_quartile(values: Sequence[float]) -> float:
    """Return the value a quarter of the way up: slow moments do not move it, nor does a single lucky one of many."""
    ranked = sorted(values)
    place = (len(ranked) - 1) / 4
    low, share = int(place), place % 1
    return ranked[low] + share * (ranked[min(low + 1, len(ranked) - 1)] - ranked[low])

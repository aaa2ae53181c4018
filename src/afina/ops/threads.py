"""Choose how many of a processor's threads share a pass, by timing the passes themselves.

A step that writes a token for a few rows is hundreds of small products. Threads have to wait for each other at every one of
them, which may cost more than they save: two threads wrote 0.5 to 0.9 times as fast as one on a processor whose two cores
are one core's two threads (`benchmarks/README.md`, "serve.py").
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

import torch

__all__ = ["Threads"]

_TRIES = 4
"""Passes with each number of threads, in turns, before one is chosen."""
_AGAIN = 2000
"""Passes after which the choice is made anew, as a machine's other work comes and goes."""


class Threads:
    """Holds what passes of each size took with each number of threads; for one thread that makes the passes."""

    def __init__(self, most: int | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Choose from 1, 2, 4 ... up to `most` threads (None: as many as torch uses now; 1: nothing is chosen)."""
        self.most = torch.get_num_threads() if most is None else most
        self._clock = clock
        self._counts = sorted({*(1 << power for power in range(self.most.bit_length())), self.most})
        self._took: dict[int, dict[int, list[float]]] = {}
        """Seconds a row or token, by the bits of a size and then by threads, while they are tried."""
        self._chosen: dict[int, tuple[int, int]] = {}
        """Threads, and passes that are made with them before they are tried again, by the bits of a size."""

    @contextmanager
    def sharing(self, size: int) -> Iterator[int]:
        """Let as many threads share a pass over `size` rows or tokens as are fastest; yields their number.

        Within a factor of two, sizes share one choice.
        """
        if self.most == 1:
            yield 1
            return
        bits = size.bit_length()
        count, tried = self._next(bits)
        torch.set_num_threads(count)
        began = self._clock()
        try:
            yield count
        finally:
            took = self._clock() - began
            torch.set_num_threads(self.most)
        if tried:
            self._note(bits, count, took / size)

    def _next(self, bits: int) -> tuple[int, bool]:
        """Return the threads of the next pass, and whether they are being tried."""
        if bits in self._chosen:
            count, left = self._chosen.pop(bits)
            if left:
                self._chosen[bits] = count, left - 1
                return count, False
        took = self._took.setdefault(bits, {count: [] for count in self._counts})

        # In turns, so that what else the machine does meets all of them alike; the most first, as its first pass warms up.
        return min(reversed(self._counts), key=lambda count: len(took[count])), True

    def _note(self, bits: int, count: int, seconds: float) -> None:
        took = self._took[bits]
        took[count].append(seconds)
        if all(len(tries) >= _TRIES for tries in took.values()):
            # The lower quartile: whatever disturbs a pass makes it longer, never shorter.
            typical = {threads: quantiles(tries, n=4)[0] for threads, tries in took.items()}
            self._chosen[bits] = min(typical, key=typical.__getitem__), _AGAIN
            del self._took[bits]

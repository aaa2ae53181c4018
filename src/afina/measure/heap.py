"""Follow what glibc's allocator makes of blocks that come and go: a process keeps the gaps between them.

A block goes into the smallest gap that it fits in, else to the end of the heap; what is left of the gap stays one, and gaps
side by side become one (malloc's best fit with coalescing). torch asks for places that are multiples of 64, for which malloc
looks for 96 bytes more than a block has, and frees what is left of them: a gap between two blocks of one size is too
small for a third one, unless those few bytes are free too. Small objects take some of them, which is a matter of chance.
Afina's processes give no memory back within a phase (`ops/allocator.py`): every byte once used stays until the phase ends.
"""

from bisect import bisect_left, insort
from random import Random

__all__ = ["Heap"]

_ALIGNED, _HEADER = 64, 16
_MORE = _ALIGNED + 32
"""Bytes that malloc looks for beyond a block, where its place is to be such a multiple."""
_LOST = 0.1
"""Share of the few bytes left beside a block that small objects take. With a tenth the heap of a traced run of MiniLM (21
batches, with an evaluation between) came out within 10%, with none up to a quarter too small, with two 60% too large."""


class Heap:
    """Gives places to blocks by number, and counts the bytes that were touched since memory was last given back."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = Random(seed)
        self._end = 0
        self._blocks: dict[int, tuple[int, int]] = {}
        self._gaps: list[tuple[int, int]] = []
        """(start, size) of each, in the order of their places."""
        self._by_size: list[tuple[int, int]] = []
        """(size, start) of each, the smallest first."""
        self._touched: list[tuple[int, int]] = []
        """(start, stop) of what is resident, in order and apart."""
        self.resident = 0
        """Bytes that are in memory."""

    def take(self, number: int, size: int) -> None:
        """Take a place for a block."""
        size = -(-(size + 8) // _HEADER) * _HEADER
        needed = size + _MORE
        place = bisect_left(self._by_size, (needed, 0))
        if place < len(self._by_size):
            gap, before = self._by_size[place]
            self._close(before, gap)
        else:
            before, gap = self._end, needed
            self._end += needed
        start = -(-(before + _HEADER) // _ALIGNED) * _ALIGNED - _HEADER
        stop = start + size
        self._blocks[number] = start, size
        self._touch(start, stop)
        for left, bytes_ in ((before, start - before), (stop, before + gap - stop)):
            if bytes_ > _MORE or (bytes_ and self._chance.random() >= _LOST):
                self._free(left, bytes_)

    def give(self, number: int) -> None:
        """Give a block back to the heap, if it has a place there; that stays resident."""
        if (block := self._blocks.pop(number, None)) is not None:
            self._free(*block)

    def places(self) -> list[tuple[int, int]]:
        """Return (start, size) of each block."""
        return list(self._blocks.values())

    def trim(self) -> None:
        """Give back to the system what is free."""
        self._touched, self.resident = [], 0
        for start, size in sorted(self._blocks.values()):
            self._touch(start, start + size)

    def _free(self, start: int, size: int) -> None:
        after = bisect_left(self._gaps, (start, 0))
        if after < len(self._gaps) and self._gaps[after][0] == start + size:
            behind = self._gaps[after][1]
            self._close(start + size, behind)
            size += behind
        if after and sum(self._gaps[after - 1]) == start:
            start, before = self._gaps[after - 1]
            self._close(start, before)
            size += before
        if start + size == self._end:
            self._end = start
        else:
            insort(self._gaps, (start, size))
            insort(self._by_size, (size, start))

    def _close(self, start: int, size: int) -> None:
        del self._gaps[bisect_left(self._gaps, (start, size))]
        del self._by_size[bisect_left(self._by_size, (size, start))]

    def _touch(self, start: int, stop: int) -> None:
        first = bisect_left(self._touched, (start, 0))
        if first and self._touched[first - 1][1] >= start:
            first -= 1
        last = first
        while last < len(self._touched) and self._touched[last][0] <= stop:
            start, stop = min(start, self._touched[last][0]), max(stop, self._touched[last][1])
            self.resident -= self._touched[last][1] - self._touched[last][0]
            last += 1
        self._touched[first:last] = [(start, stop)]
        self.resident += stop - start

"""Follow what glibc's allocator makes of blocks that come and go: a process keeps the gaps between them.

A block goes into the smallest gap that it fits in, else to the end of the heap; what is left of the gap stays one, and gaps
side by side become one (malloc's best fit with coalescing). torch asks for places that are multiples of 64, for which malloc
looks for 96 bytes more than a block has, and frees what is left of them: a gap between two blocks of one size is too
small for a third one, unless those few bytes are free too. Small objects take some of them, which is a matter of chance.
Afina's processes give no memory back within a phase (`ops/allocator.py`): every byte once used stays until the phase ends.
"""

from bisect import bisect_left, bisect_right, insort
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
        self._chance = Random(seed).random
        self._end = 0
        self._blocks: dict[int, tuple[int, int]] = {}
        self._gaps: dict[int, int] = {}
        """The size of each gap, by its start."""
        self._before: dict[int, int] = {}
        """The start of each gap, by its end."""
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
            gap, before = self._by_size.pop(place)
            del self._gaps[before], self._before[before + gap]
        else:
            before, gap = self._end, needed
            self._end += needed
        start = -(-(before + _HEADER) // _ALIGNED) * _ALIGNED - _HEADER
        stop = start + size
        self._blocks[number] = start, size
        self._touch(start, stop)

        # What is left on both sides lies between blocks, as no gap is beside another.
        left, right = start - before, before + gap - stop
        if left > _MORE or (left and self._chance() >= _LOST):
            self._add(before, left)
        if right > _MORE or (right and self._chance() >= _LOST):
            if stop + right == self._end:
                self._end = stop
            else:
                self._add(stop, right)

    def give(self, number: int) -> None:
        """Give a block back to the heap, if it has a place there; that stays resident."""
        if (block := self._blocks.pop(number, None)) is None:
            return
        start, size = block
        if (behind := self._gaps.get(start + size)) is not None:
            self._close(start + size, behind)
            size += behind
        if (before := self._before.get(start)) is not None:
            self._close(before, start - before)
            start, size = before, size + start - before
        if start + size == self._end:
            self._end = start
        else:
            self._add(start, size)

    def places(self) -> list[tuple[int, int]]:
        """Return (start, size) of each block."""
        return list(self._blocks.values())

    def trim(self) -> None:
        """Give back to the system what is free."""
        self._touched, self.resident = [], 0
        for start, size in sorted(self._blocks.values()):
            self._touch(start, start + size)

    def _add(self, start: int, size: int) -> None:
        self._gaps[start] = size
        self._before[start + size] = start
        insort(self._by_size, (size, start))

    def _close(self, start: int, size: int) -> None:
        del self._gaps[start], self._before[start + size]
        del self._by_size[bisect_left(self._by_size, (size, start))]

    def _touch(self, start: int, stop: int) -> None:
        touched = self._touched
        first = bisect_right(touched, (start, stop))
        if first and touched[first - 1][1] >= stop:
            return  # it was there already
        if first and touched[first - 1][1] >= start:
            first -= 1
        last = first
        while last < len(touched) and touched[last][0] <= stop:
            start, stop = min(start, touched[last][0]), max(stop, touched[last][1])
            self.resident -= touched[last][1] - touched[last][0]
            last += 1
        touched[first:last] = [(start, stop)]
        self.resident += stop - start

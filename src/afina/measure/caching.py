"""Say what CUDA's caching allocator of torch reserves for tensors that come and go, without a card.

Its rules are those of c10/cuda/CUDACachingAllocator.cpp, torch 2: sizes are rounded to 512 bytes; tensors of at most 1 MiB
lie in segments of 2 MiB, those under 10 MiB in segments of 20 MiB, larger ones in one of their own, a multiple of 2 MiB. The
smallest free block that is large enough is taken and split, and what is given back joins its free neighbours. Segments are
kept: a card has to have room for all of them, or for what is in them where torch gives back those that are empty.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["CachingAllocator", "Comings", "replayed"]

_ROUND, _SMALL, _SMALL_SEGMENT = 512, 1 << 20, 2 << 20
_LARGE, _LARGE_SEGMENT, _HUGE_ROUND = 10 << 20, 20 << 20, 2 << 20


@dataclass(eq=False)
class _Block:
    size: int
    small: bool
    free: bool = True
    before: "_Block | None" = None
    after: "_Block | None" = None


@dataclass
class CachingAllocator:
    """Keeps the books of an allocator that gives out no memory."""

    allocated: int = 0
    reserved: int = 0
    most_allocated: int = 0
    most_reserved: int = 0
    _blocks: dict[int, _Block] = field(default_factory=dict)
    _free: dict[bool, dict[_Block, None]] = field(default_factory=lambda: {True: {}, False: {}})

    def take(self, name: int, size: int) -> None:
        """Take so many bytes under a name."""
        size = max(_ROUND, -(-size // _ROUND) * _ROUND)
        small = size <= _SMALL
        fitting = [block for block in self._free[small] if block.size >= size]
        if fitting:
            block = min(fitting, key=lambda own: own.size)
            del self._free[small][block]
        else:
            block = _Block(_segment(size), small)
            self.reserved += block.size
        self._split(block, size)
        block.free = False
        self._blocks[name] = block
        self.allocated += block.size
        self.most_allocated = max(self.most_allocated, self.allocated)
        self.most_reserved = max(self.most_reserved, self.reserved)

    def give_back(self, name: int) -> None:
        """Give back what was allocated under a name."""
        block = self._blocks.pop(name)
        self.allocated -= block.size
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                del self._free[block.small][other]
        if (before := block.before) is not None and before.free:
            block.size, block.before = block.size + before.size, before.before
            if block.before is not None:
                block.before.after = block
        if (after := block.after) is not None and after.free:
            block.size, block.after = block.size + after.size, after.after
            if block.after is not None:
                block.after.before = block
        self._free[block.small][block] = None

    def _split(self, block: _Block, size: int) -> None:
        """Leave of a block what was asked for, where the rest is worth keeping by itself."""
        rest = block.size - size
        if rest < _ROUND if block.small else rest <= _SMALL:
            return
        other = _Block(rest, block.small, before=block, after=block.after)
        if block.after is not None:
            block.after.before = other
        block.size, block.after = size, other
        self._free[block.small][other] = None


def _segment(size: int) -> int:
    if size <= _SMALL:
        return _SMALL_SEGMENT
    return _LARGE_SEGMENT if size < _LARGE else -(-size // _HUGE_ROUND) * _HUGE_ROUND


@dataclass
class Comings:
    """Collects what comes (bytes) and goes (0) by name, as it happens."""

    events: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, name: int, size: int) -> None:
        self.events.append((name, size))


def replayed(events: Iterable[tuple[int, int]], factors: Iterable[float] = (1.0,)) -> CachingAllocator:
    """Return the allocator after these events, once for each factor of their sizes: batches of other widths.

    What is not given back by the end of a turn is then: a step leaves nothing behind.
    """
    events, allocator, serial = list(events), CachingAllocator(), 0
    for factor in factors:
        live: dict[int, int] = {}
        for name, size in events:
            if size:
                serial += 1
                live[name] = serial
                allocator.take(serial, round(factor * size))
            elif name in live:
                allocator.give_back(live.pop(name))
        for left in live.values():
            allocator.give_back(left)
    return allocator

"""The allocator of a card keeps its books as torch's does: by the rules of its source, whatever comes and goes."""

import random

from afina.measure.caching import CachingAllocator, Comings, replayed

MIB = 1 << 20


def test_sizes_are_rounded_and_segments_are_those_of_torch() -> None:
    allocator = CachingAllocator()
    allocator.take(1, 1)
    assert (allocator.allocated, allocator.reserved) == (512, 2 * MIB)
    allocator.take(2, MIB)  # still small, and beside it
    assert allocator.reserved == 2 * MIB
    allocator.take(3, MIB + 1)
    assert allocator.reserved == 22 * MIB
    allocator.take(4, 18 * MIB)  # in the rest of those 20
    assert allocator.reserved == 22 * MIB
    allocator.take(5, 11 * MIB)
    assert allocator.reserved == 34 * MIB  # one of its own, a multiple of 2 MiB
    assert allocator.allocated == 512 + 33 * MIB  # rests of at most 1 MiB stay with what they are rests of


def test_what_is_given_back_is_used_again_and_joins_its_neighbours() -> None:
    allocator = CachingAllocator()
    for name in range(4):
        allocator.take(name, 5 * MIB)
    assert allocator.reserved == 20 * MIB
    for name in (0, 2, 1, 3):
        allocator.give_back(name)
    allocator.take(9, 20 * MIB)
    assert (allocator.allocated, allocator.reserved) == (20 * MIB, 20 * MIB)
    assert allocator.most_allocated == 20 * MIB


def test_nothing_is_lost_whatever_comes_and_goes() -> None:
    """What is there is what was asked for, rounded, but for rests too small to keep; in the end each segment is one block."""
    draw, allocator, live = random.Random(0), CachingAllocator(), dict[int, int]()
    for name in range(2000):
        if live and draw.random() < 0.48:
            allocator.give_back(gone := draw.choice(list(live)))
            del live[gone]
        else:
            live[name] = draw.choice((100, 700_000, 3_000_000, 30_000_000))
            allocator.take(name, live[name])
        asked = sum(-(-size // 512) * 512 for size in live.values())
        assert asked <= allocator.allocated <= asked + MIB * len(live)
        assert allocator.allocated <= allocator.reserved
    for name in list(live):
        allocator.give_back(name)
    free = [block for blocks in allocator._free.values() for block in blocks]
    assert sum(block.size for block in free) == allocator.reserved == allocator.most_reserved
    assert all(block.before is None and block.after is None for block in free)


def test_batches_of_other_widths_leave_gaps() -> None:
    traced = Comings()
    for layer in range(8):
        traced(layer, 30 * MIB)
        traced(100 + layer, 40 * MIB)
        traced(100 + layer, 0)
    once, often = replayed(traced.events), replayed(traced.events, (1.0, 0.55, 1.0))
    assert once.most_allocated == often.most_allocated
    assert once.most_reserved <= often.most_reserved
    assert once.allocated == 0

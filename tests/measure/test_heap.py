"""A process's heap is followed as glibc's allocator keeps it."""

import random
from itertools import pairwise

import pytest

from afina.measure.heap import Heap

MEGABYTE = 1 << 20


def test_what_was_used_stays_until_it_is_given_back() -> None:
    heap = Heap()
    heap.take(1, MEGABYTE)
    heap.take(2, MEGABYTE)
    heap.give(1)
    assert heap.resident == pytest.approx(2 * MEGABYTE, rel=0.01)
    heap.trim()
    assert heap.resident == pytest.approx(MEGABYTE, rel=0.01)
    heap.give(2)
    heap.trim()
    assert heap.resident == 0


def test_a_gap_is_used_again_where_a_block_fits() -> None:
    heap = Heap()
    for number in range(3):
        heap.take(number, 2 * MEGABYTE)
    heap.give(1)
    heap.take(3, MEGABYTE)  # into the gap
    assert heap.resident == pytest.approx(6 * MEGABYTE, rel=0.01)
    heap.take(4, 2 * MEGABYTE)  # it fits no more
    assert heap.resident == pytest.approx(8 * MEGABYTE, rel=0.01)


def test_gaps_side_by_side_become_one() -> None:
    heap = Heap()
    for number in range(4):
        heap.take(number, MEGABYTE)
    heap.give(1)
    heap.give(2)
    heap.take(4, 2 * MEGABYTE)
    assert heap.resident == pytest.approx(4 * MEGABYTE, rel=0.01)


def test_whatever_comes_and_goes_the_heap_holds_what_is_there() -> None:
    """Blocks never lie on one another, and all that is there is resident."""
    chance, heap, there = random.Random(0), Heap(), dict[int, int]()
    for number in range(2000):
        if there and chance.random() < 0.5:
            gone = chance.choice(list(there))
            heap.give(gone)
            del there[gone]
        else:
            there[number] = chance.choice((100, 5000, 70_000, 300_000))
            heap.take(number, there[number])
        if chance.random() < 0.01:
            heap.trim()
        places = sorted(heap.places())
        assert all(start + size <= after for (start, size), (after, _) in pairwise(places))
        assert sum(there.values()) <= heap.resident

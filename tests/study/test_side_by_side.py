"""Units at the same time: heard of in one thread, and all ended by the first error."""

import threading
from typing import Any

import pytest

from afina.errors import AfinaError
from afina.study import events
from afina.study.side_by_side import carried_out


def never() -> None:
    raise AssertionError("nothing is to be stopped")


def test_one_at_a_time_is_in_order_and_in_this_thread() -> None:
    seen: list[Any] = []

    def work(unit: int, tell: Any) -> int:
        tell(events.Together(members=unit))
        return threading.get_ident() * (unit > 0)

    outcomes = list(carried_out([1, 2], work, seen.append, at_once=1, stop=never))
    assert outcomes == [(1, threading.get_ident()), (2, threading.get_ident())]
    assert seen == [events.Together(members=1), events.Together(members=2)]


def test_several_at_a_time_are_heard_of_in_this_thread() -> None:
    together, here = threading.Barrier(3, timeout=30), threading.get_ident()
    seen: list[tuple[int, Any]] = []

    def work(unit: int, tell: Any) -> int:
        together.wait()  # all three are at work, or this fails
        tell(events.Together(members=unit))
        return unit**2

    outcomes = carried_out(
        [1, 2, 3], work, lambda event: seen.append((threading.get_ident(), event)), at_once=8, stop=never
    )
    assert sorted(outcomes) == [(1, 1), (2, 4), (3, 9)]
    assert {thread for thread, _ in seen} == {here}
    assert sorted(event.members for _, event in seen) == [1, 2, 3] and all(event.beside for _, event in seen)


def test_an_error_ends_the_others_and_begins_no_more() -> None:
    stopped, begun = threading.Event(), []

    def work(unit: int, tell: Any) -> int:
        begun.append(unit)
        if unit == 1:
            raise AfinaError("no room")
        assert stopped.wait(30)  # a job that goes on until it is told to end
        return unit

    with pytest.raises(AfinaError, match=r"^no room$"):
        list(carried_out(list(range(9)), work, lambda event: None, at_once=2, stop=stopped.set))
    assert stopped.is_set() and 8 not in begun

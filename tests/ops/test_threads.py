"""Threads that share a pass: as many as were fastest, for sizes of their kind, and all of them again afterwards."""

from collections.abc import Iterator

import pytest
import torch

from afina.ops.threads import Threads


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Machine:
    """A clock on which a pass takes what its threads and size say, whatever else it does."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.now, self.seconds = 0.0, seconds

    def run(self, threads: Threads, size: int) -> int:
        with threads.sharing(size) as count:
            assert torch.get_num_threads() == count
            self.now += self.seconds[count] * size
        return count


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("fastest", [1, 2, 4])
def test_the_fastest_number_of_threads_is_found_and_torch_has_all_again(fastest: int) -> None:
    machine = Machine({count: 1.0 if count == fastest else 1.3 for count in (1, 2, 4)})
    threads = Threads(clock=lambda: machine.now)
    tried = [machine.run(threads, 4) for _ in range(12)]
    assert [tried.count(count) for count in (1, 2, 4)] == [4, 4, 4]
    assert {machine.run(threads, size) for size in (4, 5, 7) for _ in range(20)} == {fastest}
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_passes_of_another_size_are_tried_for_themselves() -> None:
    small, large = Machine({1: 1.0, 2: 1.5, 4: 2.0}), Machine({1: 4.0, 2: 2.0, 4: 1.0})
    threads = Threads(clock=lambda: small.now + large.now)
    for _ in range(12):
        small.run(threads, 1)
        large.run(threads, 64)
    assert (small.run(threads, 1), large.run(threads, 64)) == (1, 4)


@pytest.mark.usefixtures("four_threads")
def test_a_choice_is_made_anew_after_a_while() -> None:
    machine = Machine({1: 1.0, 2: 1.5, 4: 2.0})
    threads = Threads(clock=lambda: machine.now)
    assert [machine.run(threads, 1) for _ in range(13)][-1] == 1
    machine.seconds = {1: 3.0, 2: 1.5, 4: 1.0}  # what else ran has ended
    assert [machine.run(threads, 1) for _ in range(2100)][-1] == 4


@pytest.mark.usefixtures("four_threads")
def test_a_pass_that_fails_gives_all_threads_back_and_counts_for_nothing() -> None:
    threads = Threads()
    for _ in range(30):
        with pytest.raises(ZeroDivisionError), threads.sharing(1) as count:
            assert count == 4
            _ = 1 / 0
        assert torch.get_num_threads() == 4


def test_with_one_thread_nothing_is_chosen() -> None:
    with Threads(1).sharing(3) as count:
        assert count == 1

"""What is timed is the call's own: a machine that does other things too makes none of two alike look slow."""

from time import sleep

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afina.measure.timing import Stopwatch, lower_quartile, seconds_of


def test_a_call_that_only_waits_has_no_time_of_its_own() -> None:
    """As it waits for another program's turn to end; on a GPU the processor waits for the call's own work."""
    assert seconds_of(lambda: sleep(0.05)) < 0.02
    assert seconds_of(lambda: sleep(0.05), "cuda") >= 0.05


def test_what_computes_takes_time_and_ever_more() -> None:
    watch = Stopwatch()
    sum(range(200_000))
    first = watch.seconds()
    sum(range(200_000))
    assert 0 < first < watch.seconds()


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_the_lower_quartile_is_numpy_s(values: list[float]) -> None:
    assert lower_quartile(values) == pytest.approx(float(np.quantile(values, 0.25)), abs=1e-9)


def test_slow_moments_do_not_move_it() -> None:
    assert lower_quartile([1.0, 1.0, 1.0, 9.0, 50.0]) == 1.0

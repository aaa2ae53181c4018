"""How threads wait: asleep while other programs need the cores, awake otherwise, and by the user's own word before both."""

import os
import subprocess
import sys
import time
from statistics import median

import pytest

from afina.ops.waiting import CoreSeconds, Shortage
from readied import run_ready

FOUR_CORES = """cpu  9 9 9 9 9 9 9 9 0 0
cpu0 100 20 30 4000 50 1 2 3 7 0
cpu1 10 2 3 4000 5 0 0 0 0 0
cpu2 700 0 0 4000 0 0 0 0 0 0
cpu11 900 0 0 4000 0 0 0 0 0 0
intr 1 2
"""


def test_only_our_cores_count_and_neither_idling_nor_waiting_for_a_disk() -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert CoreSeconds.read({0, 1}, FOUR_CORES).taken == pytest.approx((100 + 20 + 30 + 1 + 2 + 3 + 15) * tick)


def test_what_others_take_is_all_but_ours() -> None:
    then, now = CoreSeconds(10.0, 500.0, 40.0), CoreSeconds(12.0, 503.5, 42.5)
    assert now.others(then) == pytest.approx(0.5)
    assert CoreSeconds(12.0, 501.0, 42.5).others(then) == 0.0  # clocks of two kinds


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_another_programs_work_is_seen() -> None:
    cores = os.sched_getaffinity(0)
    seen = []
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as other:
        try:
            for _ in range(3):
                before = CoreSeconds.read(cores)
                time.sleep(0.2)
                seen.append(CoreSeconds.read(cores).others(before))
        finally:
            other.kill()
    assert median(seen) > 0.3


def after(seconds: float, others: float, last: CoreSeconds) -> CoreSeconds:
    return CoreSeconds(last.at + seconds, last.taken + others * seconds, last.ours)


@pytest.mark.parametrize(
    ("threads", "others", "short"), [(2, 1.0, True), (2, 0.05, False), (1, 0.9, False), (3, 0.0, True)]
)
def test_cores_are_short_where_our_threads_and_others_are_more(threads: int, others: float, short: bool) -> None:
    first = CoreSeconds(0.0, 0.0, 0.0)
    assert Shortage(2, first).look(after(0.5, others, first), threads) is short


def test_others_that_pause_are_waited_for() -> None:
    last = CoreSeconds(0.0, 0.0, 0.0)
    shortage = Shortage(2, last)
    said = []
    for others in [0.0, 1.0, 0.0, 0.0, 0.6, *[0.0] * 7]:
        last = after(0.5, others, last)
        said.append(shortage.look(last, 2))
    assert said == [False, *[True] * 9, False, False]


SPIN = """
import os, time
from statistics import median

import torch

from afina.ops.waiting import Crowd, gnu_openmp

def awake():
    took = []
    for _ in range(7):
        torch.ones(1 << 18).add_(1.0)
        before = time.process_time()
        time.sleep(0.015)
        took.append(time.process_time() - before)
    return 1000 * median(took)

torch.set_num_threads(2)
print(awake())
crowd = Crowd(gnu_openmp(), len(os.sched_getaffinity(0)))
print(awake())
crowd.leave()
print(awake())
"""
"""Milliseconds of processor time that threads wait awake after an operation; alone, in a crowd, alone again."""


@pytest.mark.skipif(sys.platform != "linux" or os.cpu_count() == 1, reason="GNU's OpenMP on two cores")
def test_threads_wait_asleep_in_a_crowd_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    done = run_ready(SPIN)
    alone, crowded, again = map(float, done.stdout.split())
    assert crowded < 0.5 < min(alone, again), done.stderr


BEGUN = """
import sys, threading

import torch

from afina.ops.waiting import share_cores

torch.set_num_threads(int(sys.argv[1]))
print(share_cores(), share_cores(), sum(own.name == "shared cores" for own in threading.enumerate()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
@pytest.mark.parametrize(
    ("threads", "variables", "said"),
    [
        (2, {}, "True True 1"), (1, {}, "False False 0"), (2, {"OMP_WAIT_POLICY": "active"}, "False False 0"),
        (2, {"GOMP_SPINCOUNT": "5"}, "False False 0"),
    ],
)  # fmt: skip
def test_one_thread_looks_unless_the_user_chose(
    threads: int, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run_ready(BEGUN, threads).stdout.strip() == said

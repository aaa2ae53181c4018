"""Have torch's threads wait for each other asleep while other programs need the cores, and awake while none does.

At the end of every operation threads wait for the last of them. GNU's OpenMP, which torch brings on Linux, lets them look
again and again for about 5 ms before they sleep, which is fastest on cores of their own. Where another program holds one of
the cores, they keep from it the very thread that they wait for, and a step takes several times as long. OpenMP lets them
sleep at once where it counts more threads than cores. So while others are at work it is given some more to count, which sleep
too. No number that is computed depends on it.
"""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["CoreSeconds", "Crowd", "Shortage", "gnu_openmp", "share_cores"]

_OWN_CHOICE = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_DYNAMIC"
"""Variables by which a user says how threads wait, or how many there are; nothing is done where one is set."""
_SECONDS = 0.5
"""Between two looks at what other programs take."""
_MUCH = 0.15
"""Cores that they have to take, where we would take all of them."""
_QUIET_LOOKS = 6
"""Looks at which nobody else needed our cores before threads wait awake again."""
_STATISTICS = Path("/proc/stat")


@dataclass(frozen=True)
class CoreSeconds:
    """Holds what the system has counted of a process's cores."""

    at: float
    """Seconds of a clock."""
    taken: float
    """Seconds in which these cores were at work, whoever had them."""
    ours: float
    """Seconds of processor time of this process."""

    @classmethod
    def read(cls, cores: Collection[int], text: str | None = None) -> "CoreSeconds":
        """Read what Linux has counted of these cores."""
        text, ours = _STATISTICS.read_text() if text is None else text, time.process_time()
        names = {f"cpu{number}" for number in cores}
        rows = [line.split() for line in text.splitlines() if line.partition(" ")[0] in names]
        # user, nice, system, then idle and waiting for a disk, then interrupts and what other machines of the host took.
        ticks = sum(sum(map(int, row[1:4] + row[6:9])) for row in rows)
        return cls(time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), ours)

    def others(self, since: "CoreSeconds") -> float:
        """Return how many cores others had since then, in the mean."""
        passed = max(self.at - since.at, 1e-3)
        return max(0.0, (self.taken - since.taken) - (self.ours - since.ours)) / passed


class Shortage:
    """Says by one look after another whether other programs need cores that a process's threads would take."""

    def __init__(self, cores: int, first: CoreSeconds) -> None:
        self._cores, self._last = cores, first
        self._quiet = _QUIET_LOOKS

    def look(self, now: CoreSeconds, threads: int) -> bool:
        """Return whether `threads` of ours and what others took since the last look are more than there are cores.

        Others may pause: it is still so for some looks after it was.
        """
        over = threads + now.others(self._last) - self._cores
        self._last = now
        self._quiet = 0 if over > _MUCH else self._quiet + 1
        return self._quiet < _QUIET_LOOKS


class Crowd:
    """Is a team of threads that sleep, so that OpenMP counts more threads than cores while it is there."""

    def __init__(self, libraries: Sequence[str], threads: int) -> None:
        """Have so many threads counted by each of these copies of GNU's OpenMP."""
        self.libraries = libraries
        self._end, there = threading.Event(), threading.Event()

        def stay() -> None:
            for path in libraries:
                _begin_team(path, threads)
            there.set()
            # A team is kept for the thread that began it, until that ends.
            self._end.wait()

        self._thread = threading.Thread(target=stay, name="crowd", daemon=True)
        self._thread.start()
        there.wait()

    def leave(self) -> None:
        """End the threads."""
        self._end.set()
        self._thread.join()


def _begin_team(path: str, threads: int) -> None:
    begin = ctypes.CDLL(path).GOMP_parallel
    begin.argtypes, begin.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    # A function that does nothing: all threads of the team call it once.
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
    begin(nothing, None, threads, 0)


def gnu_openmp() -> list[str]:
    """Return the copies of GNU's OpenMP that this process has loaded: torch has one of its own, as others may."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split(maxsplit=5)[-1] for line in maps if "/libgomp" in line})


def share_cores() -> bool:
    """Begin to look at what other programs take of this process's cores, and have threads wait by it from then on.

    Once a process is enough. Returns False, with nothing begun, where there is one thread, where a user's variables say how
    threads wait, and where OpenMP is not GNU's.
    """
    threads = torch.get_num_threads()
    if sys.platform != "linux" or threads == 1 or any(name in os.environ for name in _OWN_CHOICE) or not gnu_openmp():
        return False
    cores = os.sched_getaffinity(0)
    try:
        first = CoreSeconds.read(cores)
    except OSError:  # a system that hides them
        return False
    name = "shared cores"
    if all(other.name != name for other in threading.enumerate()):
        threading.Thread(target=_keep_looking, args=(cores, threads, first), name=name, daemon=True).start()
    return True


def _keep_looking(cores: Collection[int], threads: int, first: CoreSeconds) -> None:
    shortage, crowd = Shortage(len(cores), first), None
    while True:
        time.sleep(_SECONDS)
        crowded = shortage.look(CoreSeconds.read(cores), threads)
        libraries = gnu_openmp() if crowded else []
        # A library that came since has an OpenMP of its own.
        if crowd is not None and crowd.libraries != libraries:
            crowd.leave()
            crowd = None
        if crowded and crowd is None:
            # With those that compute they are more than there are cores.
            crowd = Crowd(libraries, max(2, len(cores) - threads + 2))

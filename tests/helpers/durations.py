"""What the test files take: the longest are begun first, and `make check` counts how many fit into a minute.

make durations  # runs all tests, and writes anew what they took of a processor
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Durations", "WrittenDurations", "seconds_of"]

_TESTS = Path(__file__).resolve().parents[1]
_FILE = Path(__file__).with_suffix(".json")
"""Seconds of one core, by the files' paths below tests/. That they have changed since costs waiting, and nothing else."""
_USUAL = 2.0
_SHOWN = 60


@cache
def _written() -> dict[str, float]:
    return json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.exists() else {}


def seconds_of(file: Path) -> float:
    """Return about how long a test file takes."""
    return _written().get(file.resolve().relative_to(_TESTS).as_posix(), _USUAL)


def _file_of(test: str) -> str:
    return test.partition("::")[0].removeprefix("tests/")


def _used() -> float:
    """Return the processor time of this process and of those that it started and that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class Durations:
    """Measures each phase of a test: by the processor's time, which other programs on the machine change little."""

    def __init__(self) -> None:
        self._last = 0.0

    def pytest_runtest_logstart(self) -> None:
        self._last = _used()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = _used()
        report.processor_seconds, self._last = now - self._last, now
        return report


class WrittenDurations:
    """Adds up what the tests of each file took, of all workers, and writes it when all have run."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.tests: Counter[str] = Counter()
        self.in_part: set[str] = set()

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.in_part |= {_file_of(item.nodeid) for item in items}

    def pytest_runtest_logreport(self, report: Any) -> None:
        # A worker that broke off leaves a report of nothing measured.
        seconds = getattr(report, "processor_seconds", 0.0)
        self.tests[report.nodeid] += seconds
        self.seconds[_file_of(report.nodeid)] += seconds

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the longest tests, with what they were the first to need of their fixtures, and the rooms."""
        rooms: Counter[str] = Counter()
        for file, seconds in self.seconds.items():
            rooms[file.partition("/")[0]] += seconds
        terminalreporter.section("processor time")
        for test, seconds in self.tests.most_common(_SHOWN):
            terminalreporter.write_line(f"{seconds:8.1f} s  {test.removeprefix('tests/')}")
        for room, seconds in rooms.most_common():
            terminalreporter.write_line(f"{seconds:8.1f} s  {room}")
        terminalreporter.write_line(f"{rooms.total():8.1f} s  in all")

    def pytest_sessionfinish(self) -> None:
        # Files of which only some tests ran stay as they were, and files that are gone are forgotten.
        whole = {file: round(seconds, 1) for file, seconds in self.seconds.items() if file not in self.in_part}
        known = {**_written(), **whole}
        kept = {file: known[file] for file in sorted(known) if (_TESTS / file).exists()}
        _FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

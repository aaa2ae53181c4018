"""What tests take: by it `make test` leaves out what is long, begins with the longest files, and `make check` fills a minute.

    make durations  # runs all tests, and writes anew what they took of a processor

Of a test that is not quick `make test` runs the quickest case, where that takes at most `LONG` seconds and no fixture of it
that tests share takes more than `SHARED`, or where the test is marked `always`. `make long` and `make conformance` run all.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Durations", "WrittenDurations", "is_long", "seconds_of"]

LONG, SHARED = 0.7, 4.0
"""Seconds of one core above which a test, or what tests share, is left to `make long`."""

_TESTS = Path(__file__).resolve().parents[1]
_FILE = Path(__file__).with_suffix(".json")
"""Seconds of one core, by the files' paths below tests/: of tests that are not quick, of what tests share, of all else.

That they have changed since costs waiting, and nothing else; a test that is not written there is run.
"""
_QUICK = 0.2
_USUAL = 2.0
_SHOWN = 60


@cache
def _written() -> dict[str, dict[str, Any]]:
    return json.loads(_FILE.read_text(encoding="utf-8")) if _FILE.exists() else {}


@cache
def _taken(file: Path) -> dict[str, Any]:
    usual = {"quick": _USUAL, "shared": {}, "slower": {}}
    return _written().get(file.resolve().relative_to(_TESTS).as_posix(), usual)


@cache
def _quickest(file: Path) -> dict[str, str]:
    """Return by test which of its cases is the quickest, of tests that are not quick."""
    slower: dict[str, float] = _taken(file)["slower"]
    cases: dict[str, str] = {}
    for name in sorted(slower, key=lambda name: slower[name]):
        cases.setdefault(name.partition("[")[0], name)
    return cases


def is_long(file: Path, name: str, fixtures: Iterable[str], always: bool = False) -> bool:
    """Return whether `make test` leaves out a test, by its name with its case; one that was never measured is run."""
    taken = _taken(file)
    seconds = taken["slower"].get(name, 0.0)
    if seconds and _quickest(file)[name.partition("[")[0]] != name:
        return True
    return not always and (seconds > LONG or any(taken["shared"].get(fixture, 0.0) > SHARED for fixture in fixtures))


@cache
def seconds_of(file: Path, short: bool = True) -> float:
    """Return about how long a test file takes, `short` without what is long."""
    taken = _taken(file)
    shared = [seconds for seconds in taken["shared"].values() if not (short and seconds > SHARED)]
    slower = [seconds for name, seconds in taken["slower"].items() if not (short and is_long(file, name, ()))]
    return taken["quick"] + sum(shared) + sum(slower)


def _file_of(test: str) -> str:
    return test.partition("::")[0].removeprefix("tests/")


def _used() -> float:
    """Return the processor time of this process and of those that it started and that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class Durations:
    """Measures each phase of a test: by the processor's time, which other programs on the machine change little.

    What a fixture takes that several tests share is no part of the test that was the first to need it.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._shared: Counter[str] = Counter()
        self._within = False

    def pytest_runtest_logstart(self) -> None:
        self._last = _used()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        if fixturedef.scope == "function" or self._within:
            return (yield)
        start, self._within = _used(), True
        try:
            return (yield)
        finally:
            self._within = False
            self._shared[fixturedef.argname] += _used() - start

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = _used()
        report.processor_seconds = now - self._last - self._shared.total()
        report.shared_seconds = dict(self._shared)
        self._last = now
        self._shared.clear()
        return report


class WrittenDurations:
    """Adds up what tests took, of all workers, and writes it when all have run."""

    def __init__(self) -> None:
        self.tests: Counter[str] = Counter()
        self.shared: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: Any) -> None:
        # A worker that broke off leaves a report of nothing measured.
        self.tests[report.nodeid] += getattr(report, "processor_seconds", 0.0)
        self.shared[_file_of(report.nodeid)].update(getattr(report, "shared_seconds", {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the longest tests and the rooms."""
        rooms: Counter[str] = Counter()
        shared = {file: seconds.total() for file, seconds in self.shared.items()}
        for name, seconds in [*self.tests.items(), *shared.items()]:
            rooms[_file_of(name).partition("/")[0]] += seconds
        terminalreporter.section("processor time")
        for test, seconds in self.tests.most_common(_SHOWN):
            terminalreporter.write_line(f"{seconds:8.1f} s  {test.removeprefix('tests/')}")
        for room, seconds in rooms.most_common():
            terminalreporter.write_line(f"{seconds:8.1f} s  {room}")
        terminalreporter.write_line(f"{sum(shared.values()):8.1f} s  of fixtures that tests share")
        terminalreporter.write_line(f"{rooms.total():8.1f} s  in all")

    def pytest_sessionfinish(self) -> None:
        measured: dict[str, dict[str, Any]] = {}
        for test, seconds in self.tests.items():
            taken = measured.setdefault(_file_of(test), {"quick": 0.0, "shared": {}, "slower": {}})
            if seconds < _QUICK:
                taken["quick"] += seconds
            else:
                taken["slower"][test.partition("::")[2]] = round(seconds, 1)
        for file, taken in measured.items():
            of_note = {name: seconds for name, seconds in self.shared[file].items() if seconds >= _QUICK}
            taken["quick"] = round(taken["quick"] + self.shared[file].total() - sum(of_note.values()), 1)
            taken["shared"] = {name: round(seconds, 1) for name, seconds in sorted(of_note.items())}
            taken["slower"] = dict(sorted(taken["slower"].items()))
        # Files that were not run stay as they were, and files that are gone are forgotten.
        known = {**_written(), **measured}
        kept = {file: known[file] for file in sorted(known) if (_TESTS / file).exists()}
        _FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

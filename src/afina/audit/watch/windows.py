"""Divide rows into windows of time, of so many rows, or of a file each, and draw of each as many as are looked at.

Never more than a few windows are open at once, and of each no more rows are held than are looked at: rows of any number pass
by in little memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from afina.audit.watch.rows import NewRow, RowSource
from afina.errors import UsageError, nearest

__all__ = ["EVERY", "Dividing", "RowWindow", "windows_of"]

_OPEN = 8
"""Windows that are open at once: rows of a log may end in another order than they began."""


def _day(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


EVERY: dict[str, tuple[Callable[[datetime], datetime], Callable[[datetime], datetime], str]] = {
    "hour": (
        lambda time: time.replace(minute=0, second=0, microsecond=0), lambda start: start + timedelta(hours=1),
        "%Y-%m-%d %Hh",
    ),
    "day": (_day, lambda start: start + timedelta(days=1), "%Y-%m-%d"),
    "week": (
        lambda time: _day(time) - timedelta(days=time.weekday()), lambda start: start + timedelta(days=7), "%G-W%V",
    ),
    "month": (
        lambda time: _day(time).replace(day=1), lambda start: (start + timedelta(days=32)).replace(day=1), "%Y-%m",
    ),
}  # fmt: skip
"""Stretches of time: the start of one, its end by its start, and its name."""


@dataclass(frozen=True, kw_only=True)
class Dividing:
    """Says how rows are divided; raises `UsageError` for what cannot be."""

    every: str | None = None
    """A stretch of time for each window: hour, day, week or month."""
    rows: int | None = None
    """Rows of each window, in their order."""
    most: int = 2000
    """Rows of a window that are looked at; of more, so many are drawn at random."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.every is not None and self.every not in EVERY:
            raise UsageError(f"--every is {', '.join(EVERY)}, not '{self.every}'{nearest(self.every, EVERY)}")
        if self.every is not None and self.rows is not None:
            raise UsageError("Windows are of so much time (--every) or of so many rows (--window), not of both.")
        if (self.rows is not None and self.rows < 1) or self.most < 1:
            raise UsageError("A window has one row at the least.")


@dataclass
class RowWindow:
    """Holds the rows that are looked at of a window, in their order, and how many there were."""

    name: str
    start: datetime | None = None
    rows: list[NewRow] = field(default_factory=list)
    count: int = 0
    is_open: bool = False
    """True where more rows are to come: it is looked at when it has ended."""

    def add(self, row: NewRow, most: int, random: np.random.Generator) -> None:
        """Take a row, in the place of another one drawn at random where there are too many (Vitter's algorithm R, 1985)."""
        self.count += 1
        if len(self.rows) < most:
            self.rows.append(row)
        elif (place := int(random.integers(self.count))) < most:
            self.rows[place] = row


def windows_of(sources: Sequence[RowSource], how: Dividing, now: datetime | None = None) -> Iterator[RowWindow]:
    """Yield the windows of all sources' rows in order; of time by `now` (UTC), in which the last may be open.

    Raises `UsageError` where rows lack a time that is asked for, or are not in its order.
    """
    if how.every is not None:
        yield from _by_time(sources, how, now or datetime.now(UTC).replace(tzinfo=None))
    elif how.rows is not None:
        yield from _by_count(sources, how, how.rows)
    else:
        for source in sources:
            window = RowWindow(source.path.name)
            random = _random(how, source.path.name)
            for row in source.rows():
                window.add(row, how.most, random)
            yield _begun(window)


def _by_count(sources: Sequence[RowSource], how: Dividing, size: int) -> Iterator[RowWindow]:
    number, window = 0, RowWindow("", is_open=True)
    for source in sources:
        for row in source.rows():
            if not window.count:
                window = RowWindow(f"{number + 1:,} – {number + size:,}", is_open=True)
                random = _random(how, window.name)
            window.add(row, how.most, random)
            number += 1
            if window.count == size:
                window.is_open = False
                yield _begun(window)
                window = RowWindow("", is_open=True)
    if window.count:
        yield _begun(window)


def _by_time(sources: Sequence[RowSource], how: Dividing, now: datetime) -> Iterator[RowWindow]:
    begin, end, name = EVERY[how.every or ""]
    opened: dict[datetime, tuple[RowWindow, np.random.Generator]] = {}
    last: datetime | None = None
    for source in sources:
        for row in source.rows():
            if row.time is None:
                raise UsageError(f"{source.path} says of no row when it came; say in which column with --time.")
            start = begin(row.time)
            if start not in opened:
                if last is not None and start <= last:
                    raise UsageError(
                        f"{row.place} is of {start.strftime(name)}, and later windows were over before it; put the rows in "
                        "order of time."
                    )
                called = start.strftime(name)
                opened[start] = (RowWindow(called, start, is_open=end(start) > now), _random(how, called))
                if len(opened) > _OPEN:
                    last = min(opened)
                    yield opened.pop(last)[0]
            opened[start][0].add(row, how.most, opened[start][1])
    for start in sorted(opened):
        yield opened[start][0]


def _begun(window: RowWindow) -> RowWindow:
    """Return a window with the time of its first row, where rows have one."""
    times = [row.time for row in window.rows if row.time is not None]
    return replace(window, start=min(times)) if times else window


def _random(how: Dividing, name: str) -> np.random.Generator:
    # Of its own for each window: what is drawn of one does not change with others.
    return np.random.default_rng([how.seed, *name.encode()])

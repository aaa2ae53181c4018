"""Choose the moments at which a log gets a line, so that it never looks hung and is never flooded."""

from collections.abc import Callable
from time import monotonic

__all__ = ["Pace"]

_SHORTEST, _LONGEST = 5.0, 30.0
"""Seconds between two lines: never fewer, and while the work is young never more."""


class Pace:
    """Finds when a line is due: at each tenth of the work, and after a silence.

    The silence that is allowed grows with the work, to a tenth of the time it has taken: half a minute in the first five
    minutes, six minutes after an hour.
    """

    # A clock can be given, as a test would wait for hours otherwise.
    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.begin()

    def begin(self) -> None:
        """Start the count of a new piece of work."""
        self._begun = self._spoke = self.clock()
        self._first: tuple[float, int] | None = None
        """The time of its first figure, and the figure."""
        self._tenth = 0

    def is_due(self, done: int | None = None, total: int = 1) -> bool:
        """Return whether to write a line now, and count it as written; without figures only a silence makes one due."""
        now, tenth = self.clock(), self._tenth
        if done is not None:
            tenth = 10 * done // max(total, 1)
            if self._first is None:  # what went on from a checkpoint begins in the middle
                self._first, self._tenth = (now, done), tenth
        silence = now - self._spoke

        # The longer a piece of work takes, the seldomer it is told: a night's log stays readable.
        longest = max(_LONGEST, (now - self._begun) / 10)
        # Never two lines within a few seconds, even where every tenth comes at once.
        if silence < _SHORTEST or (tenth <= self._tenth and silence < longest):
            return False
        self._tenth, self._spoke = tenth, now
        return True

    def seconds_left(self, done: int, total: int) -> float | None:
        """Return how long the rest takes at the speed seen since the first figure; None where there is no speed yet."""
        if self._first is None or done <= self._first[1]:
            return None
        # From the first figure on: what a checkpoint brought took no time here.
        began, first = self._first
        return (self.clock() - began) / (done - first) * (total - done)

"""Hand what a model's thread has done to the event loop: all that there is at a time, as waking the loop costs the most.

Each waking lets go of the interpreter, so that the thread would wait for the loop at every row that it has answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Handover"]


class Handover:
    """Has actions carried out by an event loop, in the order in which they were given; may be called by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._actions: deque[Callable[[], object]] = deque()
        self._woken = False

    def __call__(self, action: Callable[[], object]) -> None:
        self._actions.append(action)
        # Behind the append: whoever sees that the loop was woken may rely on it to find the action.
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # of a loop that is closed, where the server ended before the model did
                self.loop.call_soon_threadsafe(self._carry_out)

    def _carry_out(self) -> None:
        self._woken = False
        while self._actions:
            self._actions.popleft()()

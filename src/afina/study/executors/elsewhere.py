"""Write a job down, start it on another machine, follow it, and try again where it was lost: what such executors share."""

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.errors import ProcessEnded, Unfinished
from afina.study.errand import Ended, Errand, sweep_errands
from afina.study.events import Again, Observer
from afina.study.executors.base import Executor, Target

__all__ = ["Elsewhere", "Lost", "Started"]

_TRIES = 3
_PAUSE = 0.1
"""Seconds between two looks at what a job has said."""


class Lost(Unfinished):
    """The machine of a job, or its program there, is gone; nothing is known of the job itself."""


@dataclass(frozen=True)
class Started:
    """Is a job that was handed over: how to ask whether it is over, what came of it, and how to end it."""

    is_over: Callable[[], bool]
    ended: Callable[[], Ended]
    """The way to ask for its end; raises `Lost` where nobody knows."""
    cancel: Callable[[], None]


@dataclass(kw_only=True)
class Elsewhere(Executor):
    """Carries jobs out on machines that see the study's folder."""

    at_once = 64

    def prepare(self, directory: Path) -> None:
        # Trials of learning rates are a study within the study: one place serves both.
        if not self.__dict__.get("directory"):
            self.directory, self.under_way = directory, dict[Errand, Started]()
            self.connect()
        self.stopped = False
        sweep_errands(directory)

    @abstractmethod
    def connect(self) -> None:
        """Find the machines; raises `UsageError` where that cannot be."""

    @abstractmethod
    def start(self, errand: Errand) -> Started:
        """Have an errand run on one of them as soon as one has room."""

    def submit(self, target: Target, argument: Any, on_event: Observer = lambda event: None) -> Any:
        """Return what the job gives on another machine.

        A job whose machine is lost is tried three times at most, as one is that was killed by itself; not a cohort, which
        may have been killed for want of memory and goes on with fewer members at once. Errors of the job's own end it.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                return self._once(target, argument, on_event)
            except (Lost, ProcessEnded) as error:
                last = attempt == _TRIES or (isinstance(error, ProcessEnded) and _has_members(argument))
                if last or self.stopped:
                    raise
                on_event(Again(why=str(error)))
        raise AssertionError("it returned or raised")

    def _once(self, target: Target, argument: Any, on_event: Observer) -> Any:
        errand = Errand.written(self.directory, target, argument)
        started = self.under_way[errand] = self.start(errand)
        news = errand.events()
        try:
            over = False
            while not over:
                over = started.is_over()  # asked first, so that what is said last is read
                for event in next(news):
                    on_event(event)
                if not over:
                    time.sleep(_PAUSE)
            return errand.value(started.ended())
        finally:
            self.under_way.pop(errand, None)
            started.cancel()
            errand.forget()

    def stop(self) -> None:
        self.stopped = True
        for started in list(self.under_way.values()):
            started.cancel()


def _has_members(argument: Any) -> bool:
    from afina.study.carry_out import CohortJob

    return isinstance(argument, CohortJob)

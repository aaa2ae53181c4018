"""Define what an executor offers; one is chosen by `Study(out, executor=...)` or the environment's `AFINA_EXECUTOR`."""

import os
from collections.abc import Callable
from typing import Any, Protocol

from afina.registry import Registry
from afina.study.events import Observer

__all__ = ["EXECUTORS", "VARIABLE", "Executor", "Target", "default_executor", "executor"]

Target = Callable[[Any, Observer], Any]
"""A job's function: it gets its argument and where to send its events."""

VARIABLE = "AFINA_EXECUTOR"


class Executor(Protocol):
    """Carries out jobs, one at a time."""

    name: str
    remark: str | None
    """A sentence that a person has to know about its results, if there is one."""

    def prepare(self) -> None:
        """Begin what takes time and is needed before the first job; safe to call again."""

    def submit(self, target: Target, argument: Any, on_event: Observer = lambda event: None) -> Any:
        """Return `target(argument, send)`; what it sends reaches `on_event`. Raises `AfinaError` when the job fails."""


EXECUTORS: Registry[type[Executor]] = Registry("executor", "afina.study.executors")
executor = EXECUTORS.register


def default_executor() -> Executor:
    """Return the executor that the environment names, else `processes`; raises `UsageError` for an unknown name."""
    return EXECUTORS.named(os.environ.get(VARIABLE) or "processes")()

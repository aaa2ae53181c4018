"""Define what an executor offers: a study names one by `executor:`, else the environment does by `AFINA_EXECUTOR`."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from afina.backbone.model_files import check_device
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.registry import Registry
from afina.settings import make_named
from afina.study.events import Observer

__all__ = ["EXECUTORS", "VARIABLE", "Executor", "Target", "executor", "make_executor"]

Target = Callable[[Any, Observer], Any]
"""A job's function: it gets its argument and where to send its events."""

VARIABLE = "AFINA_EXECUTOR"
_USUAL = "processes"


@dataclass(kw_only=True)
class Executor(ABC):
    """Carries out jobs; subclasses add their settings as fields."""

    name: ClassVar[str]
    remark: ClassVar[str | None] = None
    """A sentence that a person has to know about its results, if there is one."""
    at_once: ClassVar[int] = 1
    """Jobs that may be submitted at one time, each from a thread of its own."""

    has_cohorts: ClassVar[bool] = True
    """False where every run trains by itself, whatever the study says."""

    def check(self, config: StudyConfig) -> None:
        """Raise `UsageError` for what a study asks for and cannot have here."""
        if not self.has_cohorts and (config.race is not None or config.cohort not in ("auto", "off")):
            asked = "race" if config.race is not None else "cohort"
            raise UsageError(f"executor: {self.name} trains every run by itself; leave {asked} out.")

    def prepare(self, directory: Path) -> None:
        """Begin what takes time and is needed before the first job of a study in this folder; safe to call again."""
        return

    def device(self, wanted: str) -> str:
        """Return the device of jobs, of `auto` a GPU where there is one; raises `UsageError` for one that is not there."""
        if wanted != "auto":
            check_device(wanted)
            return wanted
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @abstractmethod
    def submit(self, target: Target, argument: Any, on_event: Observer = lambda event: None) -> Any:
        """Return `target(argument, send)`; what it sends reaches `on_event`. Raises `AfinaError` when the job fails."""

    def stop(self) -> None:
        """End the jobs that are at work."""
        return


EXECUTORS: Registry[type[Executor]] = Registry("executor", "afina.study.executors")
executor = EXECUTORS.register


def make_executor(given: Any = None) -> Executor:
    """Make the executor that a study file names, else the one that the environment names, else `processes`.

    Raises `UsageError` for an unknown one or an unknown setting, naming the nearest.
    """
    if given is not None:
        return make_named(EXECUTORS, given, "executor: ")
    return EXECUTORS.named(os.environ.get(VARIABLE) or _USUAL)()

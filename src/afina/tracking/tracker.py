"""Define what a tracker of experiments offers, and keep the registry; a study names its own by `report_to`.

All of them get the same names: `train/loss`, the mean of the epoch so far, a few times a second and at each epoch's end;
`train/METRIC`, `test/METRIC` and `epoch` by epoch; at a run's end the costs as `cost/...` and the counts as
`parameters/...`. A study is what its runs have in common: a parent run, a group or a folder, as the program has it.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from afina.errors import UsageError, nearest, shown
from afina.registry import Registry

__all__ = ["TRACKERS", "Settings", "Tracker", "known_trackers", "settings_of", "tracker"]

Settings = Mapping[str, str | int | float | bool | None]
"""A run's settings, in a form that every tracker takes."""


class Tracker(ABC):
    """Passes a study's runs on to one program; its calls come from one thread, and what they raise ends it alone."""

    name: str
    package: ClassVar[str]
    """The module without which there is no such tracker."""
    extra: ClassVar[str]
    """The extra of afina that installs it."""

    def __init__(self, study: str, folder: Path) -> None:
        """Take the study's name and a folder of its own, within the study's, which may not be there yet."""
        self.study, self.folder = study, folder

    @classmethod
    def check(cls) -> None:
        """Raise `UsageError` where the program is not installed."""
        try:
            importlib.import_module(cls.package)
        except ImportError:
            raise UsageError(
                f"report_to: {cls.name} needs {cls.package.split('.')[0]}, which is not installed: "
                f"pip install 'afina[{cls.extra}]'."
            ) from None

    @abstractmethod
    def begin(self, run: str, settings: Settings) -> None:
        """Begin a run, or go on with it, at these settings."""

    @abstractmethod
    def log(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Pass on what a run that has begun gave after a step."""

    @abstractmethod
    def finish(self, run: str, status: str, step: int, values: Mapping[str, float], files: Sequence[Path]) -> None:
        """End a run after `step` steps, with its last figures and its adapter's folder; `status` is its result's."""

    @abstractmethod
    def report(self, files: Sequence[Path]) -> None:
        """Keep the study's report, where the program keeps files."""

    @abstractmethod
    def close(self) -> None:
        """Send what is still held back; runs that have not finished stay open for the next start."""


TRACKERS: Registry[type[Tracker]] = Registry("tracker", "afina.tracking.trackers")
tracker = TRACKERS.register


def known_trackers(names: list[str]) -> list[str]:
    """Return the names as the registry has them; raises `ValueError` for one that it has not."""
    names = [TRACKERS.canonical(name) for name in names]
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"unknown tracker {shown(name)}{nearest(name[:80], TRACKERS)}")
    return names


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return settings as every tracker takes them: what is neither number nor text becomes text."""
    plain = (str, int, float, bool, type(None))
    return {key: value if isinstance(value, plain) else str(value) for key, value in values.items()}

"""Hold an object for each run, with `log`, `log_artifact` and `finish`: what Weights & Biases and Trackio share."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.tracking.tracker import Settings, Tracker

__all__ = ["ByRunObjects"]


class ByRunObjects(Tracker):
    """Holds a program's object for each run that trains; the study is their group."""

    def __init__(self, study: str, folder: Path) -> None:
        super().__init__(study, folder)
        self._open: dict[str, Any] = {}

    @abstractmethod
    def start(self, run: str, settings: Settings) -> Any:
        """Begin the program's own run, or go on with it."""

    def begin(self, run: str, settings: Settings) -> None:
        if run not in self._open:
            self._open[run] = self.start(run, settings)

    def log(self, run: str, step: int, values: Mapping[str, float]) -> None:
        self._open[run].log(dict(values), step=step)

    def finish(self, run: str, status: str, step: int, values: Mapping[str, float], files: Sequence[Path]) -> None:
        self.log(run, step, values)
        ending = self._open.pop(run)
        for path in files:
            ending.log_artifact(str(path), name=artifact_name(f"{self.study}-{run}-{path.name}"), type="model")
        self.end(ending, failed=status == "failed")

    def report(self, files: Sequence[Path]) -> None:
        reporting = self.start("report", {})
        for path in files:
            reporting.log_artifact(str(path), name=artifact_name(f"{self.study}-{path.name}"), type="report")
        self.end(reporting, failed=False)

    def close(self) -> None:
        for unfinished in self._open.values():
            self.end(unfinished, failed=False)
        self._open.clear()

    def end(self, of_program: Any, *, failed: bool) -> None:
        """Tell the program that a run is over, or goes on at another time."""
        of_program.finish()


def artifact_name(text: str) -> str:
    """Return a text as the name of an artefact, which has letters, digits, hyphens, underscores and dots alone."""
    allowed = (letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in text)
    return "".join(allowed)[:128]

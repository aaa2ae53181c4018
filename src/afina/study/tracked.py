"""Pass what a study's runs do on to the trackers that `report_to` names, without ever waiting for one of them.

Each tracker has a thread and a queue of its own: a program that is slow, far away or broken holds up no step, and one that
fails is left out from there on, which is said once.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from afina.errors import redacted, shortened
from afina.study import events
from afina.study.events import Event, Observer
from afina.tracking.tracker import TRACKERS, Tracker, settings_of

if TYPE_CHECKING:
    from afina.config import StudyConfig
    from afina.results.result import Result
    from afina.study.plan import Run

__all__ = ["FOLDER", "PATIENCE", "Trackers", "check_trackers"]

FOLDER = "tracking"
"""The folder, in a study's, of what trackers keep there."""
PATIENCE = 60.0
"""Seconds that a study waits at its end for what a tracker has not taken yet."""
_COSTS = ("train_seconds", "step_seconds", "peak_memory_bytes", "mean_memory_bytes", "energy_joules")
_COUNTS = ("trainable_parameters", "total_parameters", "trainable_percent")


def check_trackers(names: Sequence[str]) -> None:
    """Raise `UsageError` where a tracker's program is not there, before anything else takes time."""
    for name in names:
        TRACKERS.named(name).check()


class Trackers:
    """Observes a study for the trackers that it names, and tells the person's own observer everything as well."""

    def __init__(self, names: Sequence[str], config: "StudyConfig", directory: Path, observer: Observer) -> None:
        self.config, self.directory, self.observer = config, directory, observer
        self._lines = [
            _Line(TRACKERS.named(name), directory.resolve().name, directory / FOLDER / name) for name in names
        ]
        self._begun: set[str] = set()
        self._runs: dict[str, Run] = {}
        self._steps: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until all have taken what there is, as long as patience lasts."""
        for line in self._lines:
            line.end()
        for line in self._lines:
            line.wait()
        self._complain()

    def __call__(self, event: Event) -> None:
        """Tell the observer, and the trackers what concerns them; trials of learning rates do not."""
        self.observer(event)
        if not event.search:
            for kind, tell in _TOLD.items():
                if isinstance(event, kind):
                    tell(self, event)
        self._complain()

    def report(self, files: Sequence[Path]) -> None:
        """Give the report's files to those trackers that keep files."""
        self._tell(lambda tracker: tracker.report(files))

    # -- what events mean to a tracker -------------------------------------------------------------------------------

    def _unit(self, event: events.Unit) -> None:
        self._runs |= {run.id: run for run in event.runs}

    def _step(self, event: events.Step) -> None:
        for run, loss in event.losses.items():
            self._log(run, event.step, {"train/loss": loss})

    def _epoch(self, event: events.Epoch) -> None:
        # A loss is the mean of its epoch so far, and at the epoch's end the epoch's.
        values = {"epoch": event.entry.epoch, "train/loss": event.entry.train_loss}
        for key, value in event.entry.items():
            split, _, metric = key.partition("_")
            if split in ("train", "test", "validation") and key != "train_loss":
                values[f"{split}/{metric}"] = value
        self._steps[event.run] = event.step
        self._log(event.run, event.step, values)

    def _finished(self, event: events.Finished) -> None:
        result = event.result
        if result.run not in self._runs:
            return
        self._begin(result.run)
        folder = None if result.adapter is None else self.directory / str(result.adapter)
        files = [folder] if folder is not None and folder.exists() else []
        values = _numbers(_last(result))
        step = self._steps.get(result.run, 0)
        self._tell(lambda tracker: tracker.finish(result.run, result.status, step, values, files))

    # ----------------------------------------------------------------------------------------------------------------

    def _log(self, run: str, step: int, values: Mapping[str, Any]) -> None:
        if run in self._runs and (numbers := _numbers(values)):
            self._begin(run)
            self._tell(lambda tracker: tracker.log(run, step, numbers))

    def _begin(self, run: str) -> None:
        if run not in self._begun:
            self._begun.add(run)
            settings = settings_of(_settings(self.config, self._runs[run]))
            self._tell(lambda tracker: tracker.begin(run, settings))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for line in self._lines:
            line.put(call)

    def _complain(self) -> None:
        if remarks := [sentence for line in self._lines for sentence in line.complaints()]:
            self.observer(events.Remarks(remarks=remarks))


_TOLD: dict[type[Event], Callable[[Trackers, Any], None]] = {
    events.Unit: Trackers._unit, events.Step: Trackers._step, events.Epoch: Trackers._epoch,
    events.Finished: Trackers._finished,
}  # fmt: skip


class _Line:
    """Holds the queue of one tracker, and the thread that empties it."""

    def __init__(self, kind: type[Tracker], study: str, folder: Path) -> None:
        self.kind, self._study, self._folder = kind, study, folder
        self._calls: SimpleQueue[Callable[[Tracker], None] | None] = SimpleQueue()
        self._failed: str | None = None
        self._said = False
        # A daemon: what a program far away never answers does not keep the study's process alive.
        self._thread = threading.Thread(target=self._work, name=f"tracker {kind.name}", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[Tracker], None]) -> None:
        if self._failed is None:
            self._calls.put(call)

    def end(self) -> None:
        self._calls.put(None)

    def wait(self) -> None:
        self._thread.join(PATIENCE)
        if self._thread.is_alive() and self._failed is None:
            self._failed = _late_note(self.kind.name)

    def complaints(self) -> Iterable[str]:
        """Yield a sentence where the tracker failed and that was not said yet."""
        if self._failed is not None and not self._said:
            self._said = True
            yield self._failed

    def _work(self) -> None:
        tracker: Tracker | None = None
        try:
            while (call := self._calls.get()) is not None:
                # Made when there is something to tell: a study that is finished opens nothing.
                tracker = tracker or self.kind(self._study, self._folder)
                call(tracker)
            if tracker is not None:
                tracker.close()
        except Exception as error:  # another's program may raise anything, and no run ends by it
            reason = " ".join(redacted(str(error)).split()) or type(error).__name__
            self._failed = _failed_note(self.kind.name, shortened(reason))


def _late_note(name: str) -> str:
    return (
        f"report_to: {name} was told no more, as it had not taken everything {PATIENCE:g} s after the end; the study and "
        "its results are not touched by it"
    )


def _failed_note(name: str, why: str) -> str:
    return f"report_to: {name} was told no more, as it failed ({why}); the study and its results are not touched by it"


def _settings(config: "StudyConfig", run: "Run") -> dict[str, Any]:
    """Return what a run is, by the names of a study file; its method's settings behind the method's name."""
    shared = config.model_dump(
        mode="json",
        include={"epochs", "batch_size", "max_length", "train_limit", "test_limit", "optimiser", "schedule"},
    )
    of_method = {f"{run.method.name}.{key}": value for key, value in run.settings.items()}
    return {
        "model": config.called(run.model), "dataset": run.dataset_name, "method": run.method.name, "label": run.label,
        "seed": run.seed, **shared, **of_method,
    }  # fmt: skip


def _last(result: "Result") -> dict[str, Any]:
    """Return a run's last figures, by the names that all trackers get."""
    return {
        **{f"test/{name}": value for name, value in result.test_metrics.items()},
        **{f"train/{name}": value for name, value in result.train_metrics.items()},
        **{f"cost/{name}": result.get(name) for name in _COSTS},
        **{f"parameters/{name}": result.get(name) for name in _COUNTS},
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what is a number, as a tracker can draw nothing else."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and isfinite(float(value))
    }

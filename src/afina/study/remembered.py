"""Remember what finished runs took on this machine beside what a plan counted of them, and correct later plans by both.

Recorded runs of another machine say how far measurements lie from what is counted (`needs.py`). Those that were planned and
finished here stand beside them, each for several: with every run the middle of the range moves to where this machine's lie,
and its ends to where nine of ten of all do. One that is finished before it is planned counts from the next plan of it on.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from afina.config import StudyConfig
from afina.measure.calibration import kept_path
from afina.results.result import Result
from afina.study.executors.base import VARIABLE
from afina.study.needs import MemoryNeeds, code_bytes, ranged
from afina.study.plan import Run
from afina.study.time_needs import TimeNeeds, seconds_of
from afina.whole_file import write_json

if TYPE_CHECKING:
    from afina.study.job import Job

__all__ = ["FinishedHere", "cell_of", "remember_finished", "remember_planned"]

_KEPT = 200
"""Files that are kept, the latest: each is of runs that differ in their seed alone."""
_SAME = 9
"""Runs alike of which the latest are kept."""
_AS_ANOTHER = 10.0
"""A run further from its plan than this factor is not of what was planned: another file under the data's name, say."""
_BESIDE_COSTS = {
    "model", "dataset", "methods", "seeds", "learning_rate", "search_factors", "race", "fit", "cohort", "mix_datasets",
    "executor", "report_to", "sample_seconds", "checkpoint_seconds", "keep_checkpoints", "audits", "watch_reference",
    "device", "precision", "early_stopping",
}  # fmt: skip
"""Keys of a study that change nothing of what one of its runs takes, or that a run has by itself."""


@dataclass(frozen=True)
class FinishedHere:
    """Holds how far finished runs of this machine lay from what was counted of them."""

    ratios: Mapping[tuple[str, str], list[float]] = field(default_factory=dict)
    """Measured to counted, by `memory` or `time` and phase; of runs alike one, their middle."""
    runs: int = 0

    @classmethod
    def read(cls) -> "FinishedHere":
        """Return what is remembered; a file that cannot be read is as none."""
        ratios: dict[tuple[str, str], list[float]] = {}
        runs = 0
        for path in sorted(_folder().glob("*.json")):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
                of_it = _ratios(json.loads(path.read_text("utf-8")))
                runs += bool(of_it)
                for place, ratio in of_it.items():
                    ratios.setdefault(place, []).append(ratio)
        return cls(ratios, runs)

    def of(self, what: str, phase: str) -> list[float]:
        return self.ratios.get((what, phase), [])

    def corrected(self, memory: MemoryNeeds, time: TimeNeeds) -> tuple[MemoryNeeds, TimeNeeds]:
        """Return what a run takes by the ratios of this machine's runs beside those of the recorded ones."""
        if not self.runs or not memory.counted or not time.counted:
            return memory, time

        def again(what: str, phase: str, counted: float) -> Any:
            return ranged(counted, what, phase, self.of(what, phase))

        in_phase = {
            phase: again("memory", phase, size + code_bytes(memory.kind, phase))
            for phase, size in memory.counted.items()
        }  # fmt: skip
        spent = {phase: again("time", phase, seconds_of(time.counted[phase], phase)) for phase in ("train", "evaluate")}
        step = again("time", "train", seconds_of(time.counted["step"], "train")).value
        return (
            replace(memory, train=in_phase.get("train", in_phase["evaluate"]), evaluate=in_phase["evaluate"]),
            replace(time, train=spent["train"], evaluate=spent["evaluate"], step_seconds=step),
        )


def _ratios(entry: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Return measured to counted of the runs of a file; none where they were not planned, or not finished."""
    planned, finished = entry.get("planned"), entry.get("finished")
    if not planned or not finished or planned["rows"] != finished["rows"]:
        return {}
    seconds = {"train": finished["seconds"], "evaluate": finished.get("evaluate_seconds", [])}
    counted = {
        **{
            ("memory", phase): planned["memory"][phase] + code_bytes(planned["kind"], phase)
            for phase in finished["memory"] if phase in planned["memory"]
        },
        **{("time", phase): seconds_of(planned["time"][phase], phase) for phase in seconds},
    }  # fmt: skip
    took = {
        **{("memory", phase): own for phase, own in finished["memory"].items()},
        **{("time", phase): own for phase, own in seconds.items()},
    }
    ratios = {place: median(took[place]) / own for place, own in counted.items() if took[place]}
    return {place: own for place, own in ratios.items() if 1 / _AS_ANOTHER < own < _AS_ANOTHER}


def cell_of(config: StudyConfig, run: Run, precision: str) -> str:
    """Return a name that runs have in common which take the same: all but their seeds and rates."""
    settings = {name: own for name, own in run.settings.items() if name not in ("learning_rate", "seed")}
    asked = {name: own for name, own in config.model_dump().items() if name not in _BESIDE_COSTS}
    what = [run.model, run.method.name, settings, precision, config.dataset[run.dataset].model_dump(), asked]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:32]


def remember_planned(cell: str, rows: int, memory: MemoryNeeds, time: TimeNeeds) -> None:
    """Keep what was counted of runs, on a CPU: there what they take beside is measured."""
    _write(cell, planned={"rows": rows, "memory": memory.counted, "kind": memory.kind, "time": time.counted})


def remember_finished(job: "Job", result: Result) -> None:
    """Keep what a run took that went through alone and at once, of the kind that a plan counts whole."""
    config = job.config
    # Memory is a run's where it has a process of its own.
    apart = parent_process() is not None and os.environ.get(VARIABLE) != "in-process"
    alone = result.measured == "solo" and result.cohort_size == 1 and not result.resumed and result.race is None
    counted = config.offload is None and config.teacher is None and len(result.history) == config.epochs
    if not (apart and alone and counted and job.device == "cpu" and result.train_rows):
        return
    cell = cell_of(config, job.run, job.precision)
    before = _read(cell).get("finished") or {}
    same = before if before.get("rows") == result.train_rows else {}
    peaks = {phase: own.get("peak_bytes") for phase, own in result.memory.items() if phase in ("train", "evaluate")}
    memory = {phase: [*same.get("memory", {}).get(phase, []), own][-_SAME:] for phase, own in peaks.items() if own}
    # What stops early looks at the development split besides, which no plan counts.
    evaluated = result.evaluate_seconds if config.early_stopping is None else None
    seconds = {
        name: [*same.get(name, []), *([took] if took else [])][-_SAME:]
        for name, took in (("seconds", result.train_seconds), ("evaluate_seconds", evaluated))
    }
    _write(cell, finished={"rows": result.train_rows, "memory": memory, **seconds})


def _folder() -> Path:
    given = os.environ.get("AFINA_REMEMBERED")
    return Path(given) if given else kept_path().with_suffix("")


def _read(cell: str) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        entry = json.loads((_folder() / f"{cell}.json").read_text("utf-8"))
        return entry if isinstance(entry, dict) else {}
    return {}


def _write(cell: str, **more: Any) -> None:
    folder = _folder()
    with suppress(OSError):  # a cache that cannot be written remembers nothing
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{cell}.json", _read(cell) | more)
        files = sorted(folder.glob("*.json"), key=lambda own: own.stat().st_mtime)
        for path in files[: max(0, len(files) - _KEPT)]:
            path.unlink(missing_ok=True)

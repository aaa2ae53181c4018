"""Take this machine as one that is planned for: what it has of free memory, and what a study needs to fit into it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.backbone.storage.base import imitated
from afina.errors import AfinaError
from afina.measure.free_memory import free_bytes
from afina.study.devices.cells import Cells
from afina.study.devices.changes import Case, Change, changes_for, same_result
from afina.study.devices.device import Device, Room
from afina.study.devices.figures import precision_there
from afina.study.devices.room import fits
from afina.study.events import Observer
from afina.study.fit import FitJob, kind_of_run, merged
from afina.study.plan import Run

if TYPE_CHECKING:
    from afina.study.estimate import CostEstimate

__all__ = ["changes_here", "fit", "room_here", "this_machine"]

_PROCESSES = 0.05e9, 0.5e9
"""The least and the most that a run's process takes before it loads a model, and the processes beside it."""
_STARTED = 0.0, 0.15e9
"""The same where such a process and those beside it are there already."""


def room_here(device: str, *, started: bool = False) -> Room:
    """Return what a run may take of this machine's free memory now; `started` in a process such as a run has."""
    free = free_bytes(device)
    least, most = (0.0, 0.0) if device.startswith("cuda") else _STARTED if started else _PROCESSES
    return Room(max(0.0, free - most), max(0.0, free - least))


def this_machine(device: str) -> Device:
    """Return this machine as one that is known by its memory alone."""
    kind = device.partition(":")[0]
    return Device("this machine", kind, free_bytes(device), bfloat16=not imitated(kind))


def _case(cells: Cells, run: Run, machine: Device, precision: str | None = None) -> Case:
    """Return a run as it may be changed; raises `AfinaError` for a model or data set that cannot be looked at."""
    chosen = precision or precision_there(cells.config, cells.shape(run.model), machine)
    return cells.case(run, machine, run.method.precision_on(chosen))


def changes_here(
    cells: Cells, estimates: "Sequence[CostEstimate]", room: Room, device: str, tell: Callable[[str], None]
) -> dict[str, Sequence[Change]]:
    """Return by run what to change of those that may not fit into this machine's room; seeds are changed alike."""
    by_kind = {kind_of_run(entry.run): entry for entry in estimates if entry.run.method.reads_model}
    cramped = {kind: entry.run for kind, entry in by_kind.items() if fits(entry.memory, room) != "yes"}
    if not cramped:
        return {}
    machine = this_machine(device)
    # Only those that may stand in a cramped one's place.
    places = {(run.model, run.dataset) for run in cramped.values()}
    runs = [entry.run for kind, entry in by_kind.items() if kind not in cramped]
    fitting = [_case(cells, run, machine) for run in runs if (run.model, run.dataset) in places]
    changes: dict[str, Sequence[Change]] = {}
    for kind, run in cramped.items():
        name = f"what to change of {run.label} on {run.dataset_name}, {Path(run.model).name}"
        tell(name)
        try:
            changes[kind] = changes_for(_case(cells, run, machine), room, fitting)
        except AfinaError as error:  # of one change: the plan itself stands
            tell(f"{name}: {error}")
    return {entry.run.id: own for entry in estimates if (own := changes.get(kind_of_run(entry.run)))}


def fit(job: FitJob, send: Observer) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return what to change so that all runs fit that can, and of each that cannot the reason, by name."""
    room, cells, machine = room_here(job.device, started=True), Cells(job.config), this_machine(job.device)
    changes: list[Mapping[str, Any]] = []
    refused: dict[str, str] = {}
    for run in job.runs:
        if not run.method.reads_model:
            continue
        try:
            changed, now, fit_there = same_result(_case(cells, run, machine, job.precision), room)
        except AfinaError:  # the run will say so
            continue
        if fit_there == "no":
            peak = max(now.memory.train.low, now.memory.evaluate.low)
            needs, there = f"{peak / 1e9:.2f} GB", f"{room.most / 1e9:.2f} GB"
            refused[run.id] = (
                f"It needs {needs} at least, also with one row at once and checkpointing, and {there} are free (fit: true); "
                "take a smaller model, shorter texts (max_length) or another method."
            )
        else:
            changes.append(changed.settings)
    return merged(changes), refused

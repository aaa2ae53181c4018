"""Plan a study on machines that are not here: which runs fit, what they take, and what it costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from afina.config import StudyConfig
from afina.data.tokens.batching import steps_per_epoch
from afina.errors import AfinaError
from afina.study.devices.cells import Cells
from afina.study.devices.changes import Case, Change, changes_for
from afina.study.devices.device import Device, Room
from afina.study.devices.figures import Figures, imitated_there, precision_there
from afina.study.devices.money import Price, co2_kg, energy_joules
from afina.study.devices.room import Fits, fits
from afina.study.fit import kind_of_run
from afina.study.needs import Likely, MemoryNeeds, memory_of_words
from afina.study.plan import Run, expand
from afina.study.race import share_of_steps
from afina.study.search import trials_seconds

__all__ = ["DevicePlan", "Fits", "RunThere", "cheapest", "fits", "plan_elsewhere"]


@dataclass(frozen=True)
class RunThere:
    """One run on a machine."""

    run: Run
    precision: str
    figures: Figures
    fits: Fits
    changes: Sequence[Change] = ()
    """The changes with which it would fit, the least painful first, where it may not."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        figures = self.figures
        times = {name: getattr(figures, name) for name in ("step_seconds", "train_seconds", "evaluate_seconds")}
        return {
            "run": self.run.id, "precision": self.precision, "fits": self.fits,
            **{name: _ranged(own) for name, own in times.items()},
            "memory": asdict(figures.memory), "changes": [change.as_dict() for change in self.changes],
        }  # fmt: skip


def _ranged(likely: Likely | None) -> dict[str, float] | None:
    return None if likely is None else asdict(likely)


@dataclass(frozen=True, repr=False)
class DevicePlan:
    """Holds what a study takes on one machine: computed from published figures, not measured."""

    device: Device
    cells: Sequence[RunThere]
    failed: Sequence[tuple[Run, str]] = ()
    remarks: Sequence[str] = ()
    seconds: Likely | None = None
    """The time of all runs, one after another, and of a search's trials; None where nothing is known of the speed."""
    price: Price | None = None
    grid: float | None = None
    """Kilograms of CO2 a kilowatt-hour."""

    @property
    def cost(self) -> Likely | None:
        """Return what the machine costs for that time; None where its price or its speed is not known."""
        return None if self.price is None or self.seconds is None else self.price.of(self.seconds)

    @property
    def energy(self) -> Likely | None:
        """Return the joules that the card draws; None where its power is not known."""
        return energy_joules(self.device, self.seconds)

    @property
    def co2(self) -> Likely | None:
        """Return the kilograms of CO2 of that energy; None without the grid's factor."""
        return co2_kg(self.energy, self.grid)

    @property
    def fits(self) -> Fits:
        """Return whether all of its runs fit."""
        kinds = {cell.fits for cell in self.cells}
        return "no" if "no" in kinds or not self.cells else "perhaps" if "perhaps" in kinds else "yes"

    def __repr__(self) -> str:
        count, fitting = len(self.cells), sum(cell.fits == "yes" for cell in self.cells)
        time = "" if self.seconds is None else f", {self.seconds.low:,.0f} to {self.seconds.high:,.0f} s"
        cannot = f", {len(self.failed)} cannot run" if self.failed else ""
        return f"{self.device.name}: {fitting} of {count} runs fit{time}{cannot}"

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-able values."""
        device = self.device
        return {
            "device": device.name, "kind": device.kind, "memory_bytes": device.memory_bytes, "source": device.source or None,
            "measured": False, "fits": self.fits, "seconds": _ranged(self.seconds), "energy_joules": _ranged(self.energy),
            "co2_kg": _ranged(self.co2), "cost": _ranged(self.cost),
            "currency": None if self.price is None else self.price.currency or None,
            "runs": [cell.as_dict() for cell in self.cells],
            "failed": [{"run": run.id, "error": why} for run, why in self.failed], "notes": list(self.remarks),
        }  # fmt: skip


def plan_elsewhere(
    config: StudyConfig, devices: Sequence[Device], *, prices: Mapping[str, Price] | None = None,
    grid: float | None = None, tell: Callable[[str], None] = lambda what: None,
) -> list[DevicePlan]:  # fmt: skip
    """Return what a study takes on each of these machines; `prices` are by their names, `grid` is in kg of CO2 a kWh.

    Raises `UsageError` for a model or data set that is nowhere.
    """
    cells = Cells(config)
    cells.look_at_all()
    planned = (_planned(cells, device, tell) for device in devices)
    return [replace(own, price=(prices or {}).get(own.device.name), grid=grid) for own in planned]


def _planned(cells: Cells, device: Device, tell: Callable[[str], None]) -> DevicePlan:
    config, there, failed = cells.config, list[RunThere](), list[tuple[Run, str]]()
    cases: dict[str, Case] = {}
    for bare in expand(config):
        shape, sizes = cells.shape(bare.model), cells.sizes(bare.model, bare.dataset)
        steps = steps_per_epoch(sizes.train_rows, config.batch_size) * config.epochs
        run = bare.with_rate(steps=steps, width=shape.hidden_size, speaks=sizes.speaks)
        tell(f"{run.label} on {run.dataset_name}, {Path(run.model).name}, {device.name}")
        try:
            precision = run.method.precision_on(precision_there(config, shape, device))
            if run.method.reads_model:
                cases[run.id] = case = cells.case(run, device, precision)
                figures = case.computed.on(device)
            else:
                figures = _of_words(device)
        except AfinaError as error:
            cases.pop(run.id, None)
            failed.append((run, str(error)))
            continue
        there.append(RunThere(run, precision, figures, fits(figures.memory, device.room)))
    there = with_changes(cases, there, device.room, tell)
    return DevicePlan(device, there, failed, _remarks(config, device, there), _seconds(config, there))


def with_changes(
    cases: Mapping[str, Case], cells: Sequence[RunThere], room: Room, tell: Callable[[str], None]
) -> list[RunThere]:
    """Return runs with what to change of those that may not fit, by label; seeds are changed alike."""
    fitting = {cell.run.label for cell in cells if cell.fits == "yes"}
    others = [case for case in cases.values() if case.run.label in fitting]
    changes: dict[str, Sequence[Change]] = {}
    for cell in cells:
        if cell.fits != "yes" and (key := kind_of_run(cell.run)) not in changes and cell.run.id in cases:
            tell(f"what to change of {cell.run.label} on {cell.run.dataset_name}, {Path(cell.run.model).name}")
            changes[key] = changes_for(cases[cell.run.id], room, others)
    return [replace(cell, changes=changes.get(kind_of_run(cell.run), ())) for cell in cells]


def _of_words(device: Device) -> Figures:
    """Return the figures of a run that looks at words: no model is loaded, and a card has nothing to do."""
    none = Likely(0.0, 0.0, 0.0)
    memory = memory_of_words() if device.kind == "cpu" else MemoryNeeds(0, none, none, "the fit", {})
    return Figures(memory, 0.0, none, none, none)


def _remarks(config: StudyConfig, device: Device, cells: Sequence[RunThere]) -> list[str]:
    """Return what a person should know of the machine, a sentence each."""
    sentences = []
    used = list(dict.fromkeys(cell.precision for cell in cells))
    if device.kind == "cuda" and not device.bfloat16:
        sentences.append(
            f"{device.name} has no bfloat16 of its own: torch imitates it, which is slower than float32; fp16 or fp32 are "
            "better there."
            if set(used) & set(imitated_there(device))
            else f"{device.name} has no bfloat16 of its own; the runs are planned in {', '.join(used)}."
        )
    elif config.precision == "auto" and cells:
        sentences.append(
            f"precision: auto times steps where it runs; on {device.name} it is taken to be {', '.join(used)}."
        )
    if device.kind == "cuda" and not device.source:
        sentences.append(
            f"{device.name}: nothing but its memory is known, so that no time can be told; it is taken to compute in "
            "bfloat16, as cards from 2020 on do."
        )
    return sentences


@dataclass(frozen=True)
class _At:
    """A run's times at one end of their ranges, as a search's trials are counted by."""

    run: Run
    train_seconds: float
    evaluate_seconds: float


def _seconds(config: StudyConfig, cells: Sequence[RunThere]) -> Likely | None:
    """Return the time of all runs one after another, with a search's trials and without what a race leaves out."""
    ends = []
    for end in ("low", "value", "high"):
        runs: list[Any] = []
        for cell in cells:
            train, evaluate = cell.figures.train_seconds, cell.figures.evaluate_seconds
            if train is None or evaluate is None:
                return None
            runs.append(_At(cell.run, getattr(train, end), getattr(evaluate, end)))
        share = share_of_steps(config.race, len({own.run.label for own in runs})) if config.race and runs else 1.0
        ends.append(
            sum(share * own.train_seconds + own.evaluate_seconds for own in runs) + trials_seconds(config, runs)
        )
    return Likely(*ends)


def cheapest(plans: Sequence[DevicePlan]) -> tuple[DevicePlan, bool] | None:
    """Return the machine on which a study that fits costs least, and whether its range lies below those of all others.

    Where it fits for sure on none, those on which it perhaps does are compared; None where it has no price on any.
    """
    for kind in ("yes", "perhaps"):
        ranked = sorted(
            ((cost.value, place, plan) for place, plan in enumerate(plans)
             if plan.fits == kind and not plan.failed and (cost := plan.cost) is not None),
        )  # fmt: skip
        if ranked:
            best = ranked[0][2]
            high = best.cost.high if best.cost is not None else 0.0
            rivals = [own.cost.low for _, _, own in ranked[1:] if own.cost is not None]
            return best, all(high < low for low in rivals)
    return None

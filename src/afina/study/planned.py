"""Predict what a study will cost, for Python: `afina.plan`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.config import StudyConfig
from afina.errors import AfinaError, is_short
from afina.measure.shown import html_of
from afina.study.data import read_ahead
from afina.study.devices.asked import Machines, asked_machines, machine_rows, machines_as_dict

if TYPE_CHECKING:
    import pandas

    from afina.data.tokens.preview import Learned
    from afina.study.devices.changes import Change
    from afina.study.devices.elsewhere import DevicePlan
    from afina.study.estimate import CostEstimate
    from afina.study.needs import Likely
    from afina.study.plan import Run
    from afina.study.study import Study

__all__ = ["Ahead", "Plan", "plan"]


@dataclass(frozen=True)
class Ahead:
    """Holds what there is to know of a study before anything is timed."""

    notes: Sequence[str] = ()
    """Assumptions about the data, a sentence each."""
    remarks: Sequence[str] = ()
    """Oddities of the study itself, a sentence each."""
    learned: "Mapping[tuple[str, str], Learned | str]" = field(default_factory=dict)
    """Counts of the tokens that are trained, by model and data set, or why they cannot be given."""


@dataclass(frozen=True)
class Plan:
    """The predicted cost of each run, and the runs that cannot be, with the reason."""

    estimates: "Sequence[CostEstimate]"
    failed: "Sequence[tuple[Run, str]]"
    ahead: Ahead = field(default_factory=Ahead)
    rates: int = 0
    """Learning rates that a search tries of each method before the runs."""
    trials_seconds: float = 0.0
    """Seconds that these trials take."""
    race_share: float | None = None
    """The share of all training steps that a race leaves; None without one."""
    free_bytes: float | None = None
    """This machine's free memory as it was planned."""
    changes: "Mapping[str, Sequence[Change]]" = field(default_factory=dict)
    """The changes with which a run would fit into it that may not, by run, the least painful first."""
    machines: "Sequence[DevicePlan]" = ()
    """The same on other machines, where some were asked for: then nothing is planned for this one."""

    @property
    def seconds(self) -> float:
        """Return the time of all runs, one after another: training and evaluating."""
        # One after another, as a plan cannot know how many run at once.
        return sum(own.train_seconds + own.evaluate_seconds for own in self.estimates)

    @property
    def time(self) -> "Likely":
        """Return the same as a range: as runs share what a plan is wrong about, their ends are added up."""
        from afina.study.needs import Likely

        both = [likely for own in self.estimates for likely in (own.time.train, own.time.evaluate)]
        return Likely(*(sum(getattr(likely, end) for likely in both) for end in ("low", "value", "high")))

    @property
    def peak_memory_bytes(self) -> float:
        """Return the most memory that any run is likely to need: nine of ten need no more."""
        # Runs follow one another, so that the largest counts and not the sum.
        return max((own.memory.peak.high for own in self.estimates), default=0.0)

    @property
    def disk_bytes(self) -> float:
        return sum(own.disk_bytes for own in self.estimates)

    @property
    def corrected_by(self) -> int:
        """Return by how many finished runs of this machine it was corrected, those that differ in their seed counted once."""
        return max((own.corrected_by for own in self.estimates), default=0)

    @property
    def candidates(self) -> int:
        """Return how many methods, each with its settings, are compared."""
        # By label: seeds and data sets of a method are one candidate.
        return len({own.run.label for own in self.estimates})

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-able values."""
        if self.machines:
            return machines_as_dict(self.machines) | {"notes": [*self.ahead.notes, *self.ahead.remarks]}
        return {
            "runs": [{"run": own.run.id, **_figures(own)} for own in self.estimates],
            "failed": [{"run": run.id, "error": why} for run, why in self.failed],
            "seconds": self.seconds, "time": asdict(self.time), "peak_memory_bytes": self.peak_memory_bytes,
            "disk_bytes": self.disk_bytes,
            "trials_seconds": self.trials_seconds, "race_share": self.race_share,
            "free_bytes": self.free_bytes, "corrected_by": self.corrected_by,
            "changes": {run: [change.as_dict() for change in own] for run, own in self.changes.items()},
            "notes": [*self.ahead.notes, *self.ahead.remarks],
        }  # fmt: skip

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a DataFrame with a row a run, on each machine where others were asked for."""
        import pandas

        if self.machines:
            return pandas.DataFrame(machine_rows(self.machines))
        return pandas.DataFrame([{"run": own.run.id, **_figures(own)} for own in self.estimates])

    def __repr__(self) -> str:
        if self.machines:
            return "Plan: " + "; ".join(map(repr, self.machines))
        cannot = f", {len(self.failed)} cannot run" if self.failed else ""
        return (
            f"Plan: {len(self.estimates)} runs, {self.seconds:,.0f} s one after another, at most "
            f"{self.peak_memory_bytes / 1e9:.2f} GB of memory, {self.disk_bytes / 1e9:.2f} GB of disk{cannot}"
        )

    def _repr_html_(self) -> str:
        columns = ("run", "trainable", "memory (GB)", "step (s)", "train (s)", "evaluate (s)", "disk (MB)")
        rows = [
            (own.run.id, own.trainable_parameters, own.peak_memory_bytes / 1e9, own.step_seconds, own.train_seconds,
             own.evaluate_seconds, own.disk_bytes / 1e6)
            for own in self.estimates
        ]  # fmt: skip
        return html_of(repr(self), columns, rows, "; ".join(f"{run.id} cannot run: {why}" for run, why in self.failed))


def _figures(estimate: "CostEstimate") -> dict[str, Any]:
    figures = {
        key: value for key, value in vars(estimate).items() if key not in ("run", "memory", "time", "corrected_by")
    }
    likely = {"memory": asdict(estimate.memory), "time": asdict(estimate.time)}
    return figures | {"peak_memory_bytes": estimate.peak_memory_bytes} | likely


def plan(
    study: "Study | StudyConfig | str | Path | None" = None,
    *,
    devices: str | Sequence[str] | None = None,
    prices: Mapping[str, str | float] | Sequence[str] | None = None,
    grid: str | float | None = None,
    ahead: Callable[[Ahead], None] = lambda known: None,
    tell: Callable[[str], None] = lambda what: None,
    **settings: Any,
) -> Plan:
    """Predict memory, time and disk of every run on this machine; takes a study, a study file, or a study file's keys.

    With `devices` ("T4", "24GB", "8GB RAM, 4 cores"), or `prices` of some ({"T4": "0.35/h"}), it is planned for those in
    place of this machine, in money, energy and, with the `grid`'s factor ("0.1 kg/kWh"), CO2 too.
    `ahead` is told what is known before anything is timed, `tell` what is being timed. Loads no weights. Raises `UsageError`
    for what is wrong with the study or its data, before torch is imported, which takes seconds.
    """
    if isinstance(study, str | Path):
        config = StudyConfig.read(Path(study))
    else:
        given: Any = study if study is not None else StudyConfig.parse(settings, "study")
        # A study has its configuration, a configuration is one.
        config = getattr(given, "config", given)
    try:
        return _planned(config, asked_machines(devices or (), prices or (), grid), ahead, tell)
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if not is_short(error):
            raise
        raise AfinaError(
            "Planning ran out of memory: it takes about 0.6 GB, most of it torch and transformers; end other programs or "
            "raise the limit (ulimit), or plan elsewhere for this machine: --device '8GB RAM, 4 cores'."
        ) from error


def _planned(
    config: StudyConfig, asked: Machines | None, ahead: Callable[[Ahead], None], tell: Callable[[str], None]
) -> Plan:  # fmt: skip
    """Return the plan of a study."""
    # Before torch: what is wrong with the data is said at once.
    notes = read_ahead(config, presets=False)
    from afina.ops.allocator import keep_freed_memory
    from afina.study.devices.cells import Cells
    from afina.study.devices.here import changes_here, room_here
    from afina.study.estimate import device_of, estimate_study
    from afina.study.plan import remarks
    from afina.study.preview import preview
    from afina.study.race import share_of_steps
    from afina.study.search import trials_seconds

    known = Ahead(notes, [*remarks(config), *_uncounted(config)], preview(config))
    ahead(known)
    if asked is not None:
        return Plan((), (), known, machines=asked.planned(config, tell))
    keep_freed_memory()  # as the processes do that carry a study out
    cells = Cells(config)
    estimates, failed = estimate_study(config, cells=cells, tell=tell)
    candidates = len({entry.run.label for entry in estimates})
    # Only what can run is raced.
    share = share_of_steps(config.race, candidates) if config.race is not None and estimates else None
    seconds = trials_seconds(config, estimates)
    # What a run needs beside this process is what is free now.
    device = device_of(config)
    room = room_here(device)
    changes = changes_here(cells, estimates, room, device, tell)
    rates = len(config.search_factors) if seconds else 0
    return Plan(estimates, failed, known, rates, seconds, share, room.most, changes)


def _uncounted(config: StudyConfig) -> list[str]:
    """Return a sentence for each setting that changes what a run takes and is not counted."""
    from afina.study.audits import make_audits

    sentences = []
    if config.offload is not None:
        sentences.append(
            "offload: disk is not counted: memory is that of the whole model, where a few layers will do, and the time lacks "
            "the reading of all layers: twice a step, and once for each batch that is evaluated."
        )
    if config.teacher is not None:
        sentences.append(
            "teacher: is not counted: it reads each train row once before the first run, with the memory and time that a "
            "model of its size takes for that."
        )
    if "accelerate" in (config.executor or ()):
        sentences.append(
            "executor: accelerate is not counted: memory and time are those of one process with all of the model."
        )
    sentences += [
        f"audits: {each.name} is not counted: each run answers up to {each.answers:,} texts more, and each base once."
        for each in make_audits(config.audits or ())
    ]
    return sentences

"""Gather what is known of an adapter: its record, and where it lies in a study's folder what the study found out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afina.adapters.record import AdapterRecord
from afina.card.base import BaseModel, base_of
from afina.errors import AfinaError
from afina.results.certainty import row_interval
from afina.results.material import Group, Material, gather
from afina.results.predictions import read_predictions
from afina.results.result import Result
from afina.results.statistics import Cell, Interval
from afina.results.study_file import KnownData, StudyFile, read_study_file
from afina.tasks.base import Task, restore

__all__ = ["Known", "known_of", "study_of"]


@dataclass(frozen=True)
class Known:
    """All that a card may say of an adapter; what is not known is None."""

    record: AdapterRecord
    task: Task
    base: BaseModel
    run: Result | None = None
    group: Group | None = None
    """The results that its own were compared with."""
    value: Interval | None = None
    """Its metric on the test rows, with the interval that these give."""
    data: KnownData | None = None
    settings: StudyFile = field(default_factory=StudyFile)
    trouble: str | None = None
    """The reason why its study's results could not be read."""
    notes: Sequence[str] = ()
    """Sentences on what was noticed of data and model; none quotes a row."""
    audit: str = ""
    """The part on what an audit found of these weights, empty where there was none."""

    @property
    def name(self) -> str:
        """Return what to call it: as its run, else by method and base."""
        return self.run.run if self.run is not None else f"{self.base.name.rpartition('/')[2]}-{self.method}"

    @property
    def method(self) -> str:
        """Return the method, as tables call it."""
        return self.run.method_label if self.run is not None else self.record.method

    @property
    def cell(self) -> Cell | None:
        """Return its method's results over all seeds."""
        if self.group is None or self.run is None:
            return None
        return next((cell for cell in self.group.cells if self.run in cell.runs), None)

    def setting(self, key: str) -> Any:
        """Return a setting that the study shares among its methods."""
        protocol = {} if self.run is None or self.run.fingerprint is None else self.run.fingerprint.protocol
        return protocol.get(key)


def study_of(folder: Path) -> Path | None:
    """Return the folder of the study in which an adapter's folder lies, None where it lies in none."""
    places = folder.resolve().parents
    # A study keeps its adapters at runs/RUN/adapter.
    inside = len(places) > 2 and places[1].name == "runs" and (places[2] / "results.jsonl").is_file()
    return places[2] if inside else None


def known_of(
    folder: Path, record: AdapterRecord, *, material: Material | None = None, result: Result | None = None
) -> Known:
    """Return what is known of the adapter in a folder.

    `material` are the study's results where they have been gathered; with a `result`, which is its own, no others are looked
    at, as they are not there yet.
    """
    task, base = restore(record.task), base_of(record.model)
    study = study_of(folder) if material is None else material.directory
    if study is None:
        return Known(record, task, base)
    try:
        group = None
        # A run that has just ended has no others to be compared with, and reading its study would find it
        # half-written.
        if result is None:
            material = material or gather(study)
            # Results name adapters from their study's folder, in one way on all systems.
            relative = folder.resolve().relative_to(study.resolve()).as_posix()
            result = next(
                (entry for entry in material.results if entry.adapter == relative and entry.is_finished), None
            )
        if result is None:
            return Known(record, task, base)
        if material is not None:
            group = next((g for g in material.groups if any(result in cell.runs for cell in g.cells)), None)
        settings = read_study_file(study) if material is None else material.settings
        value = row_interval(read_predictions(study, result), str(result.metric))
    except AfinaError as error:
        return Known(record, task, base, trouble=str(error))
    data = _data(settings, result)
    return Known(
        record, task, base, run=result, group=group, value=value, data=data, settings=settings,
        # Each note once, as data and model may have been noticed to be the same.
        notes=list(dict.fromkeys([*(map(str, data.notes) if data is not None else ()), *result.assumed])),
    )  # fmt: skip


def _data(settings: StudyFile, result: Result) -> KnownData | None:
    """Return what is known of the run's data as its model reads them."""
    data = {} if settings.resolved is None else settings.resolved.data
    # A study names its models as it was given them, whose folder may be called by its name alone.
    names = (result.model, Path(result.model).name)
    return next((own for key, own in data.items() if key in {f"{name} / {result.dataset}" for name in names}), None)

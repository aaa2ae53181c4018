"""A study's folder: whose it is, which runs are finished, and what earlier starts settled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from afina.config import StudyConfig
from afina.errors import AfinaError, UsageError
from afina.measure.hardware import hardware, versions
from afina.results.json_object import plain
from afina.results.result import Result, read_result
from afina.results.results_jsonl import append_result, lacks_adapter, read_results
from afina.results.study_file import ChosenPrecision, KnownData, Resolved, SettledRun, StudyFile, read_study_file
from afina.study import events
from afina.study.cohorts import interrupted
from afina.study.data import data_key
from afina.study.events import Observer
from afina.study.given_data import FOLDER
from afina.study.plan import Run
from afina.study.prepare import PreparedData
from afina.whole_file import write_text

__all__ = ["StudyFolder", "disk_errors"]

_MAY_CHANGE = {"audits", "fit", "executor", "report_to", "watch_reference"}
"""Keys that change nothing of what is computed: a study goes on with others than it began with."""


class StudyFolder:
    """The folder of a study with this configuration, which may have begun in it."""

    def __init__(self, path: Path, config: StudyConfig) -> None:
        self.path, self.config = path, config

    @property
    def has_begun(self) -> bool:
        """Return whether anything was done here."""
        return any((self.path / name).exists() for name in ("results.jsonl", "runs", "search"))

    def settings(self) -> dict[str, Any]:
        """Return the study as study.yaml keeps it."""
        values: dict[str, Any] = self.config.model_dump(mode="json")
        return values

    def results(self) -> list[Result]:
        """Return all results that are listed; none before the first."""
        return read_results(self.path) if (self.path / "results.jsonl").exists() else []

    def claim(self) -> None:
        """Take the folder for this study; raises `UsageError` when it is another's."""
        settings = self.settings()
        if (self.path / "study.yaml").exists():
            # A folder from before a setting was thought of has its default.
            fields = StudyConfig.model_fields
            usual = {key: field.default for key, field in fields.items() if not field.is_required()}
            stored = usual | dict(read_study_file(self.path).study)
            changed = sorted(key for key, value in settings.items() if stored.get(key) != value)
            if set(changed) <= _MAY_CHANGE and set(stored) <= set(settings):
                if changed:
                    self._write(StudyFile.made(read_study_file(self.path), study=settings))
                return
            if self.has_begun:
                # Named, as a person may have changed a key without meaning another study.
                raise UsageError(
                    f"{self.path} holds another study (it differs in {', '.join(changed) or 'its keys'}); "
                    "choose another --out, or give the same study to go on with it."
                )
            # That one was refused before it did anything, so that this one may take its place.
        elif strangers := [entry.name for entry in self.path.iterdir() if entry.name not in self._own_entries()]:
            raise UsageError(
                f"{self.path} is not empty and holds no study (it has {strangers[0]}); choose another --out."
            )
        self._write(StudyFile.made(study=settings))

    def _own_entries(self) -> set[str]:
        """Return the names that may be in the folder before the study is."""
        # Data that were given as objects lie in the study's folder before the study begins.
        given = any(Path(spec.path).parent == self.path / FOLDER for spec in self.config.dataset)
        return {".lock", FOLDER} if given else {".lock"}

    def finished(self, runs: Sequence[Run], observer: Observer) -> set[str]:
        """Return the runs that need not be done again; a result that a kill kept from the list is entered.

        A run is done again whose folder was deleted, or of whose rates some could be tried only now; of one that lacks
        its adapter alone this is said. Those that failed in a race that is over are not tried again: they would run
        without rivals.
        """
        listed = {result.run: result for result in self.results()}
        for run in runs:
            # A kill between the run's own file and the list.
            stored = self.path / "runs" / run.id / "result.json"
            if stored.exists() and not (run.id in listed and listed[run.id].is_finished):
                listed[run.id] = read_result(stored)
                append_result(self.path, listed[run.id])

        for run in runs:
            if run.id in listed and listed[run.id].untried and not run.untried:
                # Rates that can be tried now were not when it ran: its comparison was not fair.
                observer(events.Tried(run=run.id))
                (self.path / "runs" / run.id / "result.json").unlink(missing_ok=True)
                del listed[run.id]

        for run in runs:
            if run.id in listed and lacks_adapter(self.path, listed[run.id]):
                there = (self.path / "runs" / run.id).exists()
                observer(events.Missing(run=run.id, again=not there, result=listed[run.id]))
                if not there:
                    del listed[run.id]

        # What failed is tried again at the next start; what was skipped or left a race is not.
        done = {run for run, result in listed.items() if result.status != "failed"}
        if self.config.race is not None:
            # Races are settled by model and data set.
            over = {(listed[run].model, listed[run].dataset) for run in done}
            going_on = {run for _, own in interrupted(self.path) for run in own}
            done |= {run for run, r in listed.items() if (r.model, r.dataset) in over and run not in going_on}
        return done

    def resolved(self) -> Resolved:
        """Return what earlier starts of this study settled."""
        return read_study_file(self.path).resolved or Resolved()

    def write_resolved(
        self, *, device: str, models: Mapping[str, Mapping[str, str]], precision: Mapping[str, ChosenPrecision],
        prepared: Mapping[tuple[str, int], PreparedData], runs: Sequence[Run],
        fitted: Mapping[str, Mapping[str, Any]],
    ) -> None:  # fmt: skip
        """Write what this start settled, beside what earlier ones did of other models and data sets."""
        # A later start may touch a part of the grid alone: what earlier ones settled of the rest is carried over.
        before = self.resolved()
        data = {
            data_key(self.config, model, index): KnownData.made(
                digest=entry.digest, train_rows=entry.train_rows, test_rows=entry.test_rows,
                validation_rows=entry.validation_rows, languages=dict(entry.languages), texts_cut=dict(entry.cut),
                notes=list(entry.notes),
            )
            for (model, index), entry in prepared.items()
        }  # fmt: skip
        resolved = Resolved.made(
            before, versions=versions(), hardware=hardware(), device=device, models={**(before.models or {}), **models},
            precision={**before.precision, **precision}, data={**before.data, **data},
            runs={run.id: _settled(run) for run in runs}, fitted={**before.fitted, **fitted},
        )  # fmt: skip
        self._write(StudyFile.made(read_study_file(self.path), resolved=resolved))

    def _write(self, file: StudyFile) -> None:
        write_text(self.path / "study.yaml", yaml.safe_dump(plain(file), sort_keys=False, allow_unicode=True))


def _settled(run: Run) -> SettledRun:
    untried = {"untried": run.untried} if run.untried else {}
    return SettledRun.made(method=run.method.name, settings=run.settings, rate=run.rate, **untried)


class disk_errors:
    """Context manager: a full disk or a folder that may not be written becomes one sentence."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            raise AfinaError(
                f"Writing to {self.directory} failed ({error.strerror or error}); what was finished is kept: "
                "make room and run the same command again."
            ) from error

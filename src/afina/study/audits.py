"""Define what an audit is, and carry out those that a study names: one file an audit, in `audit/kinds/`.

An audit is a frozen dataclass of its settings, which a study's `audits:` may say: `{bias: {groups: [gender]}}`. It looks at
an adapter or at a study's finished runs, and gives findings (`results/findings/`), which a table, a page, a JSON file and the
gate of a pipeline show alike. The registry stands here, below the audits themselves, as a study carries them out by name.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from afina.adapters.record import read_record
from afina.config import StudyConfig
from afina.errors import AfinaError, UsageError
from afina.ops.allocator import keep_freed_memory
from afina.predictor.loading import Loading
from afina.registry import Registry
from afina.results.findings.audited import FOLDER, Audited, audit_facts
from afina.results.result import Result
from afina.results.results_jsonl import lacks_adapter, read_results
from afina.settings import make_named
from afina.study import events
from afina.study.events import Observer
from afina.study.executors.base import Executor
from afina.study.originals import Originals
from afina.tasks.base import Task, restore

__all__ = ["AUDITS", "Audit", "AuditJob", "Tell", "audit", "carry_out_audit", "carry_out_audits", "make_audits"]

Tell = Callable[[str], None]
"""Called with one line of progress."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Looks at what was trained, in one way."""

    name: ClassVar[str] = ""
    only: ClassVar[str] = ""
    """A sentence for a study that has trained nothing that it looks at."""

    @classmethod
    def looks_at(cls, task: Task) -> bool:
        """Return whether it has anything to look at in what was trained for a task."""
        raise NotImplementedError

    @property
    def answers(self) -> int:
        """Return how many texts it has each run's model answer at most, and its base once more."""
        raise NotImplementedError

    @property
    def grouped_by(self) -> tuple[tuple[str, ...], str | None]:
        """Return the columns by which it puts rows into groups, and a person's own file of words."""
        return (), None

    def look(self, target: Path, loading: Loading, tell: Tell, store: Path | None = None) -> Audited:
        """Look at an adapter's or a study's folder; raises `UsageError` where it cannot, in one sentence.

        What models answered is put into the folder `store`, adapter by adapter, and read from there where it is known.
        """
        raise NotImplementedError


AUDITS: Registry[type[Audit]] = Registry("audit", "afina.audit.kinds")
"""All audits by name."""
audit = AUDITS.register


def make_audits(given: Sequence[Any]) -> list[Audit]:
    """Make the audits that a study file names; raises `UsageError` for an unknown name or setting, and one named twice."""
    made = [make_named(AUDITS, entry, "audits: ") for entry in given]
    names = [each.name for each in made]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"audits: '{twice[0]}' is named twice; give it once, with its settings.")
    return made


@dataclass(frozen=True)
class AuditJob:
    """All that a process needs to make one audit of a study's finished runs."""

    directory: Path
    audit: Audit
    device: str
    trust_remote_code: bool
    of: Mapping[str, Any]
    """The settings and the runs' weights, by which it is known whether the audit has been made."""


def carry_out_audit(job: AuditJob, send: Observer) -> None:
    """Make one audit and write it into the study's folder."""
    keep_freed_memory()
    name = job.audit.name
    loading = Loading(device=job.device, trust_remote_code=job.trust_remote_code)
    audited = job.audit.look(
        job.directory, loading, lambda status: send(events.Audit(audit=name, status=status)),
        store=job.directory / "cache" / FOLDER / name,
    )  # fmt: skip
    _write(job, audited)


def carry_out_audits(
    directory: Path, audits: Sequence[Audit], executor: Executor, observer: Observer, originals: Originals,
    config: StudyConfig,
) -> None:  # fmt: skip
    """Make the audits of a study's finished runs that are not made yet, or were of other runs or with other settings.

    One that cannot be made costs the study nothing: why is told and kept, and the next start tries it again.
    """
    done = [each for each in read_results(directory) if each.is_finished and not lacks_adapter(directory, each)]
    if not (audits and done):
        return
    for each in audits:
        fitting = [run for run in done if run.adapter and each.looks_at(_task_of(directory, run))]
        of = _of(directory, each, fitting, originals)
        asked = AuditJob(directory, each, executor.device(config.device), config.trust_remote_code, of)
        before = audit_facts(directory, each.name)
        if before.get("study") == asked.of and "failed" not in before:
            continue
        if not fitting:
            observer(events.Remarks(remarks=[each.only]))
            _write(asked, Audited(audit=each.name, target=str(directory), findings=[], notes=[each.only]))
            continue
        observer(events.Audit(audit=each.name, status=""))
        try:
            executor.submit(carry_out_audit, asked, observer)
        except AfinaError as error:
            why = str(error)
            observer(events.Unaudited(audit=each.name, why=why))
            none = Audited(audit=each.name, target=str(directory), findings=[], notes=[why], facts={"failed": why})
            _write(asked, none)


def _task_of(directory: Path, run: Result) -> Task:
    return restore(read_record(directory / str(run.adapter)).task)


def _of(directory: Path, audit: Audit, runs: Sequence[Result], originals: Originals) -> dict[str, Any]:
    """Return what an audit depends on, as JSON has it."""
    weights = {run.run: originals.digest(directory / str(run.adapter) / "adapter_model.safetensors") for run in runs}
    whole: dict[str, Any] = json.loads(json.dumps({"settings": asdict(audit), "runs": weights}))
    return whole


def _write(job: AuditJob, audited: Audited) -> None:
    audited = replace(audited, facts={**audited.facts, "study": dict(job.of)})
    audited.write(job.directory / FOLDER / f"{job.audit.name}.json")

"""Runs, from loading the model to their results, in a process of their own: so its memory is theirs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from afina.backbone.load import Backbone, load_backbone, load_tokenizer
from afina.backbone.offloaded import load_offloaded
from afina.backbone.spread import load_spread
from afina.backbone.storage.base import STORAGES
from afina.backbone.team import Team, this_team
from afina.data.tokens.tokens import Tokens
from afina.distil.signal import make_signals
from afina.distil.taught import read_taught
from afina.errors import AfinaError
from afina.measure.hardware import of_this_machine, versions
from afina.measure.launched import launched
from afina.measure.memory import MemoryMonitor, current_resident_bytes
from afina.methods.base import Method
from afina.ops.allocator import give_back_freed_memory
from afina.precision import EXACT
from afina.results.cohort_report import CohortReport
from afina.results.result import Result, TaughtBy
from afina.study.cohort_plan import CohortOutcome, Costs, Sharing
from afina.study.errand import this_node
from afina.study.events import Observer
from afina.study.feature_run import fit_features, fit_words
from afina.study.job import Job
from afina.study.remembered import remember_finished
from afina.study.running import Data, load_data
from afina.study.training import Training
from afina.tasks.base import Task, restore
from afina.whole_file import write_json

__all__ = ["CohortJob", "carry_out", "carry_out_cohort", "watched", "with_alone_costs"]


def carry_out(job: Job, send: Observer) -> Result:
    """Carry out one run, from its last checkpoint if it has one, and return its result; raises when it fails."""
    job.folder.mkdir(parents=True, exist_ok=True)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    method, loaded = job.run.method, load_data([job])
    data = loaded[job.run.dataset]
    training: Training | None = None
    if not method.reads_model:
        return _fitted_on_words(job, method, data, started_at, send)
    with watched(job, method, data.task, job.config.sample_seconds) as (monitor, backbone):
        if method.gradient_free:
            splits = {split: own.evaluated() for split, own in data.splits.items()}
            measured = fit_features(job, method, backbone, data.task, splits, monitor, send)
        else:
            training = Training([job], backbone, loaded, monitor, send, folder=job.folder)
            measurements = training.carry_out()
            # A run alone that left training early has nobody who goes on without it.
            if training.errors:
                raise AfinaError(training.errors[job.run.id])
            measured = measurements[job.run.id]
    result = Result.made(
        _describe(job, str(backbone.device), data.splits), measured, monitor.report(), measured="solo", cohort_size=1,
        started_at=measured.started_at or started_at,
    )  # fmt: skip

    # The result before the checkpoint goes: a kill between both finds the run finished.
    write_json(job.folder / "result.json", result)
    remember_finished(job, result)
    if training is not None:
        training.finish()
    return result


def _fitted_on_words(job: Job, method: Method, data: Data, started_at: str, send: Observer) -> Result:
    """Carry out a run that looks at words: no model is loaded, so that none is in its memory."""
    _check_fitted(method, data.task)
    with MemoryMonitor("cpu", job.config.sample_seconds, baseline_bytes=current_resident_bytes()) as monitor:
        with monitor.phase("load"):
            tokenizer, _ = load_tokenizer(job.run.model, trust_remote_code=job.config.trust_remote_code)
        measured = fit_words(job, method, tokenizer, data.task, data.splits, monitor, send)
    result = Result.made(
        _describe(job, "cpu", data.splits), measured, monitor.report(), measured="solo", cohort_size=1,
        started_at=started_at,
    )  # fmt: skip
    write_json(job.folder / "result.json", result)
    return result


@dataclass(frozen=True)
class CohortJob:
    """Several runs on one backbone."""

    id: str
    jobs: tuple[Job, ...]
    # Members that were left behind have no measurements and no result.
    sharing: Sharing

    @property
    def folder(self) -> Path:
        return self.jobs[0].directory / "cohorts" / self.id


def carry_out_cohort(cohort: CohortJob, send: Observer) -> CohortOutcome:
    """Carry out a cohort and return what became of its runs."""
    first = cohort.jobs[0]
    for job in cohort.jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
    loaded = load_data(cohort.jobs)
    task = loaded[first.run.dataset].task
    with watched(first, first.run.method, task, first.config.sample_seconds) as (monitor, backbone):
        training = Training(cohort.jobs, backbone, loaded, monitor, send, folder=cohort.folder, sharing=cohort.sharing)
        measurements = training.carry_out()
    results: dict[str, Result] = {}
    for job in cohort.jobs:
        if (measured := measurements.get(job.run.id)) is not None:
            results[job.run.id] = Result.made(
                _describe(job, str(backbone.device), loaded[job.run.dataset].splits), measured,
                measured="profile", cohort_size=len(cohort.jobs), cohort=cohort.id,
            )  # fmt: skip
    report = CohortReport.made(
        cohort=cohort.id, runs=[job.run.id for job in cohort.jobs], train_seconds=training.clock.seconds,
        together=cohort.sharing.together, alike=cohort.sharing.alike, members=training.timeline(),
    )  # fmt: skip
    # After the results, as the file says that the cohort is over.
    write_json(cohort.folder / "cohort.json", CohortReport.made(report, monitor.report()))
    return CohortOutcome(results, training.errors, training.lost)


def with_alone_costs(result: Result, alone: Costs) -> Result:
    """Return a cohort's result with what the run would have taken alone, by its method's profile."""
    until = alone.seconds_by_epoch
    history = [{**entry, "seconds": until[entry.epoch - 1]} for entry in result.history]
    # A run that stopped early is charged the epochs that it took.
    epochs, seconds = len(history), until[result.history[-1].epoch - 1]
    assert result.train_rows is not None
    return Result.made(
        result, alone.memory_report, history=history, train_seconds=seconds, step_seconds=alone.step_seconds,
        examples_per_second=result.train_rows * epochs / seconds, tokens_per_second=alone.tokens * epochs / seconds,
        # Energy by the profile's first epoch, in proportion to the time.
        energy_joules=None if alone.energy_joules is None else alone.energy_joules * seconds / until[0],
    )  # fmt: skip


@contextmanager
def watched(job: Job, method: Method, task: Task, seconds: float) -> Iterator[tuple[MemoryMonitor, Backbone]]:
    """Give a job's backbone, loaded in a phase of its own, and the monitor that reads memory each `seconds` meanwhile."""
    with MemoryMonitor(job.device, seconds, baseline_bytes=current_resident_bytes()) as monitor:
        with monitor.phase("load"):
            backbone = _load_for(job, method, task)
        # What loading freed would be counted as memory of the training.
        give_back_freed_memory()
        yield monitor, backbone


def _check_fitted(method: Method, task: Task) -> None:
    """Raise `AfinaError` for a task that a fitted model cannot learn."""
    if not task.embedded:
        if task.speaks:
            raise AfinaError(f"{method.name} classifies embeddings; it says nothing, as task: {task.name} asks.")
        raise AfinaError(f"{method.name} fits one label or number a text, and task: {task.name} asks for several.")
    if not method.reads_model and (task.tags or task.embeds):
        raise AfinaError(
            f"{method.name} on words makes one vector a text to fit on, and task: {task.name} asks for other ones; take "
            "representation: embeddings."
        )


def _load_for(job: Job, method: Method, task: Task) -> Backbone:
    """Load a job's backbone as its method trains on it."""
    if method.gradient_free:
        _check_fitted(method, task)

    team = this_team()
    _check_shared(team, job, method, task)

    # A method that trains the weights keeps them in float32 and only computes in less.
    backbone = _loader(job, method, team)(
        job.run.model,
        precision=EXACT if method.owns_backbone else job.precision,
        device=job.device,
        trust_remote_code=job.config.trust_remote_code,
        speaks=task.speaks,
        tags=task.tags,
    )
    backbone.team = team
    if method.owns_backbone:
        backbone.autocast = STORAGES[job.precision].autocast()
        backbone.model.requires_grad_(True)
        backbone.linears = {}  # of weights that train, if only by turns, no copies are kept
    return backbone


def _loader(job: Job, method: Method, team: Team) -> Callable[..., Backbone]:
    """Return what loads a job's backbone: whole, its layers left on the disk, or this process's part of it.

    Raises `AfinaError` for a method that cannot train it there.
    """
    if job.config.offload is None:
        return partial(load_spread, team) if team.shards else load_backbone
    if team.shards:
        raise AfinaError(
            "Layers are left on the disk or divided among processes, not both; leave out offload, or FSDP."
        )
    if method.owns_backbone:
        raise AfinaError(
            f"{method.name} trains the model's own weights, which offload: disk only reads; leave one out."
        )
    return load_offloaded


def _check_shared(team: Team, job: Job, method: Method, task: Task) -> None:
    """Raise `AfinaError` for a run that several processes cannot carry out together."""
    if team.size == 1:
        return
    if team.shards and method.owns_backbone:
        raise AfinaError(
            f"{method.name} trains the model's own weights, which cannot be divided among processes here; let each hold the "
            "model whole (distributed_type: MULTI_GPU), or take an adapter."
        )
    if task.compares:
        raise AfinaError(
            f"The loss of task: {task.name} compares the rows of a batch, which several processes cannot share."
        )
    if job.taught is not None:
        raise AfinaError("What a teacher said cannot be shared by several processes; leave teacher out.")
    if job.config.batch_size < team.size:
        raise AfinaError(f"A batch of {job.config.batch_size} rows cannot be shared by {team.size} processes.")


def _taught_by(job: Job) -> TaughtBy | None:
    """Return what a run was taught by, None where its study has no teacher."""
    if job.taught is None or (taught := read_taught(job.taught.folder)) is None:
        return None
    task = restore(job.task)
    return TaughtBy.made(
        teacher=job.config.teacher, signals=[own.told(task) for own in make_signals(job.config.distil)],
        weight=job.config.teacher_weight, test_metrics=dict(job.taught.metrics), seconds=taught.facts["seconds"],
    )  # fmt: skip


def _describe(job: Job, device: str, splits: Mapping[str, Tokens]) -> Result:
    """Return the part of a result that says what was run, in the order of the file."""
    run, config, node = job.run, job.config, this_node()
    return Result.made(
        status="ok",
        error=None,
        run=run.id,
        model=run.model,
        dataset=run.dataset_name,
        task=job.task["name"],
        method=run.method.name,
        method_label=run.label,
        method_config=run.settings,
        rate=run.rate,
        head_alone=run.method.head_alone,
        # Left out where all rates were tried, so that a line has only what there is to say.
        **({"untried": dict(run.untried)} if run.untried else {}),
        seed=run.seed,
        epochs=config.epochs,
        batch_size=config.batch_size,
        max_length=job.max_length,
        precision=job.precision,
        device=device,
        adapter=f"runs/{run.id}/adapter",
        predictions=f"runs/{run.id}/predictions.parquet",
        texts_cut={name: tokens.cut for name, tokens in splits.items()},
        label_names=job.task.get("label_names"),
        train_rows=len(splits["train"]),
        test_rows=len(splits["test"]),
        assumed=list(job.assumed),
        **({} if (taught := _taught_by(job)) is None else {"taught_by": taught}),
        # The machine that started the study has looked at itself already.
        fingerprint=dict(job.fingerprint) if node is None and launched() is None else of_this_machine(job.fingerprint),
        **({"fitted": dict(job.fitted)} if job.fitted else {}),
        **({} if node is None else {"node": node}),
        versions=versions(),
    )

"""Carry out one unit of a study, in processes of its own: a run alone, or a cohort with its members' costs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.errors import AfinaError, OutOfMemory, Unfinished
from afina.links import open_unfollowed
from afina.results.result import Result
from afina.study import events
from afina.study.cohort_plan import CohortOutcome, Costs, Sharing, TimedSharing
from afina.study.cohorts import Cohort
from afina.study.events import Event, Observer
from afina.study.executors.base import Executor
from afina.study.less import changed_for_memory, less_and_less, with_less
from afina.study.race import lost_words
from afina.study.trace import forget_trace, with_trace
from afina.whole_file import write_json

if TYPE_CHECKING:
    from afina.study.job import Job

__all__ = ["alone", "together"]

_NOT_OF_IT = "it was not in the cohort when that started; run the same command again to train it"
_LOGGED = (events.Epoch, events.Resumed, events.Again, events.Less, events.Failed, events.Left, events.Cohort)
"""Events that are kept in the events.jsonl of their run."""
_SHARE = 0.6
"""Share of a GPU's memory, free beside the model and all members' states, that a cohort's passes may take."""


def alone(job: "Job", executor: Executor, observer: Observer) -> Result:
    """Carry out one run and return its result, of one that failed too."""
    from afina.study.worker import carry_out_job

    on_event = _logged([job], observer)
    try:
        result, _ = less_and_less([job], lambda jobs: executor.submit(carry_out_job, jobs[0], on_event), on_event)
    except AfinaError as error:
        traced = with_trace(error, job.folder)
        on_event(events.Failed(error=str(traced)))
        return _failed(job, traced)
    assert isinstance(result, Result), "a job of a run gives its result"
    return result


def together(
    cohort: Cohort, jobs: Sequence["Job"], executor: Executor, observer: Observer
) -> tuple[list[Result], bool]:
    """Carry out a cohort, or go on with it; return the results of all its runs, of those that failed too, and if it is over.

    Where it is not, its states have to stay: a process that was killed goes on from its checkpoint, and so do runs whose
    costs alone are still to be found. These are found before, and in a race afterwards, for those that came to the end.
    """
    on_event = _logged(jobs, observer)
    race = jobs[0].config.race is not None
    errors: dict[str, AfinaError] = {}
    if cohort.checkpoint.exists():
        # Its members are those that it began with; one whose costs could not be found then would be new to it.
        begun = cohort.kept().members or [job.run.id for job in jobs]
        errors |= {job.run.id: Unfinished(_NOT_OF_IT) for job in jobs if job.run.id not in begun}

    wanted = [job for job in jobs if job.run.id not in errors]

    # Costs alone are measured before training, since their first steps are the run's own; in a race most candidates
    # leave, and only those that stay are measured.
    profiles, fitted = ({}, {}) if race else _profiles(cohort, wanted, errors, executor, observer, keep=True)
    members = tuple(job for job in wanted if job.run.id not in errors)
    if fitted:
        why = "memory ran out as its costs were measured"
        members = tuple(changed_for_memory(job, fitted, why) for job in members)
    outcome: CohortOutcome | None = None
    try:
        if members:
            sharing = _sharing(cohort, members, profiles, executor, observer)
            outcome = _train(cohort, members, sharing, executor, on_event)
    except AfinaError as error:
        errors |= {job.run.id: error for job in members}

    trained = outcome or CohortOutcome()
    errors |= {run: AfinaError(why) for run, why in trained.errors.items()}
    if race:
        finished = [job for job in jobs if job.run.id in trained.results]
        profiles, _ = _profiles(cohort, finished, errors, executor, observer, keep=False)
    complete = _keep_results(jobs, trained.results, profiles)
    results = []
    for job in jobs:
        if (lost := trained.lost.get(job.run.id)) is not None:
            results.append(Result.made(_without_result(job, "skipped", lost_words(lost)), race=lost))
        elif job.run.id in complete:
            results.append(complete[job.run.id])
        else:
            traced = with_trace(errors[job.run.id], job.folder)
            on_event(events.Failed(run=job.run.id, error=str(traced)))
            results.append(_failed(job, traced))
    return results, outcome is not None and complete.keys() == trained.results.keys()


def _train(
    cohort: Cohort, members: tuple["Job", ...], sharing: Sharing, executor: Executor, on_event: Observer
) -> CohortOutcome:
    """Train a cohort's members, with half as many in a pass where memory is wanting, and then with half of their rows."""
    from afina.study.carry_out import CohortJob
    from afina.study.worker import carry_out_cohort_job

    # The checkpoint holds what was done, so that a second try with fewer members loses nothing.
    while True:
        cohort.keep(members=[job.run.id for job in members])
        on_event(events.Cohort(members=len(members), together=sharing.together or len(members)))
        try:
            outcome: CohortOutcome = executor.submit(
                carry_out_cohort_job, CohortJob(cohort.id, members, sharing), on_event
            )
            return outcome
        except AfinaError as error:
            # With less at once it may fit; what is done is in the checkpoint.
            fewer = sharing.halved() if "memory" in str(error).lower() else None
            less = with_less(members) if isinstance(error, OutOfMemory) else None
            if fewer is not None:
                sharing = fewer
                cohort.keep(**asdict(sharing))
            elif less is not None:
                members = tuple(less)
                on_event(events.Less(why=str(error), rows=members[0].rows_at_once))
            else:
                raise


def _keep_results(
    jobs: Sequence["Job"], results: Mapping[str, Result], profiles: Mapping[str, Costs]
) -> dict[str, Result]:
    """Write each result with what its run would have taken alone, where that is known, and return them by run."""
    from afina.study.carry_out import with_alone_costs

    complete: dict[str, Result] = {}
    for job in jobs:
        if (result := results.get(job.run.id)) is not None and (profile := profiles.get(job.run.cell)) is not None:
            complete[job.run.id] = with_alone_costs(result, profile)
            write_json(job.folder / "result.json", complete[job.run.id])
    return complete


def _profiles(
    cohort: Cohort, jobs: Sequence["Job"], errors: dict[str, AfinaError], executor: Executor, observer: Observer, *,
    keep: bool,
) -> tuple[dict[str, Costs], Mapping[str, Any]]:  # fmt: skip
    """Return each method's costs alone, measured once for all its seeds and rates; what cannot be enters `errors`.

    With them come settings that were changed since memory ran out, for all to train with.
    With `keep` the states of the runs whose first steps told them are left for the cohort to go on from.
    """
    profiles, fitted = dict(cohort.kept().profiles), dict[str, Any]()

    # Seeds and rates of a method cost the same: one of them is measured for all.
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(job.run.costs_like, []).append(job)
    for peers in alike.values():
        cells = {job.run.cell for job in peers}
        costs = next((profiles[cell] for cell in cells if cell in profiles), None)
        if costs is None:
            observer(events.Profiling(run=peers[0].run))
            try:
                state_file = cohort.first_steps(peers[0].run.id) if keep else None
                measure = partial(_measured, executor, state_file, observer)
                measured, (ended, *_) = less_and_less([peers[0]], measure, observer)
                # What memory ran out with for one it runs out with for all.
                fitted |= ended.fitted if ended is not peers[0] else {}
            except AfinaError as error:
                errors |= {job.run.id: error for job in peers}
                continue
            costs = measured

        # Kept after each one, so that a kill loses no more than one measurement.
        profiles |= dict.fromkeys(cells, costs)
        cohort.keep(profiles=profiles)
    return profiles, fitted


def _measured(executor: Executor, state_file: Path | None, observer: Observer, jobs: Sequence["Job"]) -> Costs:
    """Return the costs of a job's run alone."""
    from afina.study.worker import profile_job

    costs: Costs = executor.submit(profile_job, (jobs[0], state_file), observer)
    return costs


def _sharing(
    cohort: Cohort, jobs: Sequence["Job"], profiles: Mapping[str, Costs], executor: Executor, observer: Observer
) -> Sharing:
    """Return how members share passes through the backbone: as many at once as make it faster.

    On a CPU a pass has little more tokens than the longest batch of one run, on a GPU as many as fit beside model and states:
    long batches go with fewer others than short ones.
    """
    from afina.study.worker import choose_together_for

    # Settled once: a cohort that goes on shares its passes as before, or its results would differ in the last bits.
    if (settled := cohort.kept().sharing) is not None:
        return settled
    timed: TimedSharing = executor.submit(choose_together_for, list(jobs), observer)
    most_tokens = timed.most_tokens
    if jobs[0].device != "cpu":
        # A GPU has a limit that a CPU has not: what a step of one run takes beyond the model tells how many tokens fit.
        memory = [alone.memory_report["memory"] for alone in profiles.values()]
        loaded = max((own["load"]["peak_bytes"] or 0 for own in memory), default=timed.load_bytes)
        peak = max((own["train"]["peak_bytes"] or 0 for own in memory), default=loaded + timed.step_bytes)
        free = max(0.0, _free_on_gpu() - loaded - timed.state_bytes)
        most_tokens = int(timed.longest_batch_tokens * max(1.0, _SHARE * free / max(1, peak - loaded)))
    sharing = Sharing(timed.together, most_tokens, timed.alike)
    cohort.keep(**asdict(sharing), member_step_seconds=dict(timed.member_step_seconds))
    return sharing


def _free_on_gpu() -> float:
    import torch

    return float(torch.cuda.mem_get_info()[0])


def _logged(jobs: Sequence["Job"], observer: Observer) -> Observer:
    """Return an observer that also keeps what is worth it in the events.jsonl of the run that it is about, or of all.

    The runs begin with it: what an earlier try left of an error is removed.
    """
    by_run = {job.run.id: job.folder for job in jobs}
    for folder in by_run.values():
        folder.mkdir(parents=True, exist_ok=True)
        forget_trace(folder)

    def on_event(event: Event) -> None:
        if isinstance(event, _LOGGED) and not (isinstance(event, events.Left) and event.before):
            line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **event}) + "\n"
            about = [by_run[event["run"]]] if "run" in event else by_run.values()
            for folder in about:
                with open_unfollowed(folder / "events.jsonl", "a") as log:
                    log.write(line)
        observer(event)

    return on_event


def _failed(job: "Job", error: AfinaError) -> Result:
    """Return the result of a run that failed; `unfinished` is true where its end says nothing about the run itself."""
    return Result.made(_without_result(job, "failed", str(error)), unfinished=isinstance(error, Unfinished))


def _without_result(job: "Job", status: str, error: str) -> Result:
    run = job.run
    return Result.made(
        run=run.id, status=status, error=error, model=run.model, dataset=run.dataset_name, task=job.task["name"],
        method=run.method.name, method_label=run.label, method_config=run.settings, seed=run.seed,
    )  # fmt: skip

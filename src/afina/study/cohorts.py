"""Divide a study's runs into cohorts that train together on one backbone, kept on disk so that a kill changes none."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from afina.config import StudyConfig
from afina.data.tokens.batching import steps_per_epoch
from afina.errors import UsageError, shown
from afina.study.cohort_plan import CohortPlan, read_cohort_plan
from afina.study.plan import Run, folder_name
from afina.study.state_files import CHECKPOINT, first_steps
from afina.whole_file import write_json

__all__ = ["Cohort", "interrupted", "plan_cohorts"]

_LEAST_STEPS = 400
"""Steps of a method, all its seeds and rates together, below which `auto` leaves runs alone: of them 64 are taken alone,
to find what the method costs, in a process to start, and what the rest gains does not yet make up for that
(benchmarks/README.md)."""


@dataclass(frozen=True)
class Cohort:
    """Runs that train together."""

    id: str
    runs: tuple[Run, ...]
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Return the file of the members' state while they train."""
        return self.folder / CHECKPOINT

    def first_steps(self, run: str) -> Path:
        """Return the file of a run's state after the steps that it took alone."""
        return first_steps(self.folder, run)

    def forget_states(self) -> None:
        """Remove what a kill might have needed."""
        for path in (self.checkpoint, *(self.first_steps(run.id) for run in self.runs)):
            path.unlink(missing_ok=True)

    def kept(self) -> CohortPlan:
        """Return what an earlier start settled for this cohort; nothing before the first."""
        path = self.folder / "plan.json"
        return read_cohort_plan(path) if path.exists() else CohortPlan()

    def keep(self, **settled: Any) -> None:
        """Write down what the cohort is to go on with."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # What an earlier start settled stays beside what is settled now.
        plan = CohortPlan.made(self.kept(), runs=[run.id for run in self.runs], **settled)
        write_json(self.folder / "plan.json", plan)


def interrupted(directory: Path) -> list[tuple[Path, Sequence[str]]]:
    """Return the folders of the cohorts in a study's folder that may go on from a checkpoint, each with its runs."""
    return [
        (path.parent, read_cohort_plan(path).runs)
        for path in sorted((directory / "cohorts").glob("*/plan.json"))
        if (path.parent / CHECKPOINT).exists()
    ]


def plan_cohorts(
    config: StudyConfig,
    directory: Path,
    runs: Sequence[Run],
    left: Sequence[Run],
    train_rows: Mapping[tuple[str, int], int],
    fitting: Callable[[Sequence[Run]], Sequence[int]] = lambda runs: [len(runs)],
    outputs: Callable[[Run], str] = lambda run: "",
) -> list[Cohort]:
    """Return the cohorts among the runs that are `left`; those that a kill interrupted come first, as they were.

    `fitting` tells of runs, in their order, how many of them fit in memory at a time; `outputs` what a run asks of the model:
    where data sets are mixed, only runs that ask the same may share one.
    """
    by_id = {run.id: run for run in runs}
    waiting = {run.id for run in left}
    cohorts: list[Cohort] = []

    # Interrupted ones first: their state is on disk, and lies there until they are done.
    for folder, ids in interrupted(directory):
        if strangers := [run for run in ids if run not in by_id]:
            raise UsageError(
                f"{folder / 'plan.json'} is another study's: it names the run {shown(strangers[0])}; delete {folder} to have "
                "its runs trained again."
            )
        cohort = Cohort(folder.name, tuple(by_id[run] for run in ids), folder)
        if waiting & set(ids):
            cohorts.append(cohort)
            waiting -= set(ids)
        else:
            cohort.forget_states()  # all its results are there: a kill came just before this
    bases: dict[Hashable, list[Run]] = {}
    for run in left:
        # In the order of the study, so that the same runs always make the same cohort.
        if run.id in waiting and _may_join(run):
            precision = run.method.precision_on(config.precision)
            data = outputs(run) if config.mix_datasets else run.dataset
            bases.setdefault((run.model, data, precision), []).append(run)
    for members in bases.values():
        for group in _groups(config, members, train_rows, fitting):
            # The name follows from the runs, so that a cohort that goes on finds its folder.
            digest = hashlib.sha256("\n".join(run.id for run in group).encode()).hexdigest()[:8]
            data = "mixed" if len({run.dataset for run in group}) > 1 else group[0].dataset_name
            name = f"{folder_name(f'{Path(group[0].model).name}-{data}')}-{digest}"
            cohorts.append(Cohort(name, tuple(group), directory / "cohorts" / name))
    return cohorts


def _may_join(run: Run) -> bool:
    return not (run.method.owns_backbone or run.method.gradient_free)


def _groups(
    config: StudyConfig, members: Sequence[Run], train_rows: Mapping[tuple[str, int], int],
    fitting: Callable[[Sequence[Run]], Sequence[int]],
) -> list[Sequence[Run]]:  # fmt: skip
    if config.cohort == "off" or config.cohort == 1 or len(members) < 2:
        return []

    # All candidates of a race start together, whatever memory says: they are judged at the same step.
    if config.race is not None:
        return [members]
    if config.cohort == "auto":
        epochs = sum(steps_per_epoch(train_rows[run.model, run.dataset], config.batch_size) for run in members)

        # Costs alone are measured by steps of each method, which pays only where many follow.
        if epochs * config.epochs < _LEAST_STEPS * len({run.costs_like for run in members}):
            return []
        bounds = [0, *accumulate(fitting(members))]
    else:
        bounds = [*range(0, len(members), int(config.cohort)), len(members)]
    groups = [members[start:stop] for start, stop in pairwise(bounds)]
    # A group of one gains nothing by being a cohort.
    return [group for group in groups if len(group) > 1]

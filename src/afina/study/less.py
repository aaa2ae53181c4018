"""Carry a job out with fewer rows at once where memory ran out: half as many, and half of these, until it fits.

A step adds up as many micro-batches as its batch needs, so that what is learned stays the same: to rounding, and where
the model has dropout but for what is drawn.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from afina.errors import OutOfMemory
from afina.study.events import Less, Observer

if TYPE_CHECKING:
    from afina.study.job import Job

__all__ = ["changed_for_memory", "less_and_less", "with_less"]

_Outcome = TypeVar("_Outcome")


def less_and_less(
    jobs: "Sequence[Job]", carry_out: "Callable[[Sequence[Job]], _Outcome]", on_event: Observer
) -> "tuple[_Outcome, Sequence[Job]]":
    """Return what comes of jobs, with half as many rows at once each time that memory runs out, and the jobs as they ended.

    Raises `OutOfMemory` where one row at a time is too many.
    """
    while True:
        try:
            return carry_out(jobs), jobs
        except OutOfMemory as error:
            if (fewer := with_less(jobs)) is None:
                raise
            jobs = fewer
            on_event(Less(why=str(error), rows=jobs[0].rows_at_once))


def with_less(jobs: "Sequence[Job]") -> "list[Job] | None":
    """Return jobs with half as many rows at once; None where that is one already."""
    if (rows := jobs[0].rows_at_once) == 1:
        return None
    changes, why = {"micro_batch_size": -(-rows // 2)}, f"memory ran out with {rows} rows at once"
    return [changed_for_memory(job, changes, why) for job in jobs]


def changed_for_memory(job: "Job", changes: Mapping[str, Any], why: str) -> "Job":
    """Return a job with settings that leave what it learns the same; its result says so, and why."""
    fitted = {**job.fitted, **changes}
    settings = ", ".join(f"{key}: {json.dumps(value)}" for key, value in fitted.items())
    run = f"{job.run.label}: {why}, so it ran with {settings}"
    sentence = f"{run}: memory and time are of that, what it learns is the same but for draws of dropout."
    others = tuple(note for note in job.assumed if not note.startswith(f"{job.run.label}: memory "))
    return replace(
        job, config=job.config.model_copy(update=dict(changes)), fitted=fitted, assumed=(*others, sentence)
    )  # fmt: skip

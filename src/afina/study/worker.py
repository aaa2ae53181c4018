"""Define what a worker process runs; to import this brings in everything heavy, and starts nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
import transformers.generation.utils
import transformers.masking_utils
import transformers.modeling_layers
import transformers.modeling_utils
import transformers.models.auto.modeling_auto
import transformers.models.auto.tokenization_auto
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

import afina.backbone.attachment
import afina.study.feature_run
from afina.distil.taught import TaughtRows
from afina.ops.allocator import keep_freed_memory
from afina.results.result import Result
from afina.results.study_file import ChosenPrecision
from afina.study.carry_out import CohortJob, carry_out, carry_out_cohort
from afina.study.cohort_plan import CohortOutcome, Costs, TimedSharing
from afina.study.devices.here import fit
from afina.study.events import Observer, Precision, Profile
from afina.study.execute import locked
from afina.study.fit import FitJob
from afina.study.job import Job
from afina.study.precision import choose_precision
from afina.study.profile import profile_run
from afina.study.room import members_that_fit
from afina.study.sharing import choose_together
from afina.study.teach import TeachJob, teach

__all__ = [
    "TeachJob", "carry_out_cohort_job", "carry_out_job", "choose_precision_for",
    "choose_together_for", "fit_for", "members_that_fit_for", "profile_job", "teach_job",
]  # fmt: skip

_ = (pyarrow, torch, transformers, afina)
# A thousand patterns, compiled for the first model that a process loads whatever it is: here once for all processes.
get_checkpoint_conversion_mapping("")


def carry_out_job(job: Job, send: Observer) -> Result:
    """Carry out one run while holding its folder, so that an orphan of a killed study cannot write beside us."""
    keep_freed_memory()
    # An orphan of a killed study may still be at work for a moment.
    with locked(job.folder, wait_seconds=10.0):
        return carry_out(job, send)


def carry_out_cohort_job(cohort: CohortJob, send: Observer) -> CohortOutcome:
    """Carry out a cohort while holding its folder, as `carry_out_job` does."""
    keep_freed_memory()
    with locked(cohort.folder, wait_seconds=10.0):
        return carry_out_cohort(cohort, send)


def profile_job(argument: tuple[Job, Path | None], send: Observer) -> Costs:
    """Measure what a run costs alone, and keep the run's state after that in a file if one is named."""
    keep_freed_memory()
    job, state_file = argument
    return profile_run(job, send, state_file)


def teach_job(job: TeachJob, send: Observer) -> TaughtRows:
    """Ask a teacher what it has not yet said of a data set's rows."""
    keep_freed_memory()
    return teach(job, send)


def choose_together_for(jobs: Sequence[Job], send: Observer) -> TimedSharing:
    """`choose_together` in a process of its own."""
    keep_freed_memory()
    return choose_together(jobs, send)


def members_that_fit_for(jobs: Sequence[Job], send: Observer) -> list[int]:
    """Call `members_that_fit` in a process of its own."""
    return members_that_fit(jobs, send)


def fit_for(job: FitJob, send: Observer) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Call `fit` in a process of its own."""
    return fit(job, send)


def choose_precision_for(argument: Mapping[str, Any], send: Observer) -> ChosenPrecision:
    """`choose_precision` with its settings in one mapping."""
    keep_freed_memory()
    return choose_precision(
        **argument, begin=lambda: send(Precision(model=argument["model"])),
        tick=lambda done, steps: send(Profile(done=done, steps=steps)),
    )  # fmt: skip

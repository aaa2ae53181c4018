"""What a worker process runs; importing it brings in everything heavy, and starts nothing."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers.modeling_utils
import transformers.models.auto.modeling_auto

import afina.backbone.attach
import afina.study.feature_run
from afina.ops.allocator import keep_freed_memory
from afina.study.carry_out import carry_out
from afina.study.execute import locked
from afina.study.job import Job
from afina.study.precision import choose_precision

__all__ = ["carry_out_job", "choose_precision_for"]

_ = (torch, transformers, afina)


def carry_out_job(job: Job, send: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Carry out one run while holding its folder, so that an orphan of a killed study cannot write beside us."""
    keep_freed_memory()
    with locked(job.folder, wait_seconds=10.0):
        return carry_out(job, send)


def choose_precision_for(argument: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """`choose_precision` with its settings in one mapping."""
    keep_freed_memory()
    return choose_precision(**argument)

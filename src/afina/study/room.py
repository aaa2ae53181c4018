"""Count how many members a cohort may have: as many as memory has room for, by what they train."""

from collections.abc import Sequence

import psutil
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.shapes import read_shape, shape_backbone
from afina.errors import AfinaError
from afina.study.events import Observer
from afina.study.job import Job
from afina.tasks.base import restore

__all__ = ["STATE_BYTES", "members_that_fit"]

STATE_BYTES = 16
"""A number that is trained: its value, gradient and AdamW's two moments, in float32."""
_SHARE = 0.25
"""Share of the free memory that the states of all members may take; most is for the model and the passes."""


def members_that_fit(jobs: Sequence[Job], send: Observer, room: float | None = None) -> list[int]:
    """Return how many of these runs, in their order, make the first cohort, the second, ..., none with states over `room`.

    It is in bytes, a share of the free memory if not given. A run that cannot be counts as nothing: it fails with its reason.
    """
    if room is None:
        room = _SHARE * _free_bytes(jobs[0].device)
    bytes_by_cell: dict[str, int] = {}
    counts, taken = [0], 0
    for job in jobs:
        if job.run.cell not in bytes_by_cell:
            bytes_by_cell[job.run.cell] = _state_bytes(job)
        size = bytes_by_cell[job.run.cell]
        if counts[-1] and taken + size > room:
            counts, taken = [*counts, 0], 0
        counts[-1], taken = counts[-1] + 1, taken + size
    return counts


def _state_bytes(job: Job) -> int:
    task, run = restore(job.task), job.run
    shape = read_shape(run.model, trust_remote_code=job.config.trust_remote_code)
    whole = shape_backbone(shape, speaks=task.speaks, tags=task.tags)
    try:
        adapter = build_adapter(run.method, whole, task.outputs, seed=0)
    except AfinaError:
        return 0
    return STATE_BYTES * sum(value.numel() for value in adapter.trainable(whole).values())


def _free_bytes(device: str) -> float:
    return float(torch.cuda.mem_get_info()[0] if device != "cpu" else psutil.virtual_memory().available)

"""Count how many members a cohort may have: as many as memory has room for, by what they train."""

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.load import Backbone
from afina.backbone.shapes import read_shape, shape_backbone
from afina.errors import AfinaError
from afina.methods.base import Method
from afina.optimisers.base import Trained
from afina.study.events import Observer
from afina.study.job import Job
from afina.tasks.base import restore
from afina.train.optimiser import steps_by

__all__ = ["KeptBytes", "kept_bytes", "members_that_fit"]

_SHARE = 0.25
"""Share of the free memory that the states of all members may take; most is for the model and the passes."""


@dataclass(frozen=True)
class KeptBytes:
    """Bytes of what a run trains, in float32: its values, their gradients, and what its optimiser keeps and computes with."""

    values: int = 0
    gradients: int = 0
    moments: int = 0
    step: int = 0
    """Bytes of a step while it computes, when what the backward pass needed is gone."""

    @property
    def state(self) -> int:
        """Return what is there all the time, or nearly."""
        return self.values + self.gradients + self.moments


def kept_bytes(method: Method, adapter: Adapter, backbone: Backbone, device: str) -> KeptBytes:
    """Return what a run of an adapter keeps; a backbone on `meta` will do.

    Raises `UsageError` where the method's optimiser can do nothing with what it trains.
    """
    kind = steps_by(method, device)
    trained = Trained(adapter.trainable(backbone), adapter.layers(backbone), device=device)
    kind.check(method.name, trained)
    bytes_ = kind.gradient_bytes(trained), kind.state_bytes(trained), kind.step_bytes(trained)
    return KeptBytes(4 * trained.numbers(), *bytes_)


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
        return kept_bytes(run.method, adapter, whole, job.device).state
    except AfinaError:
        return 0


def _free_bytes(device: str) -> float:
    return float(torch.cuda.mem_get_info()[0] if device != "cpu" else psutil.virtual_memory().available)

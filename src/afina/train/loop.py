"""The training loop: one pass of the backbone for the rows of every member, one optimiser step for each member.

It knows no method, no model and no task, and never asks the device a question; measuring, checkpoints and evaluation
are callbacks around it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attach import Attached
from afina.data.batching import Tokens, epoch_batches
from afina.methods.adapter import Adapter
from afina.methods.base import Schedule
from afina.tasks.base import Task
from afina.train.evaluate import member_rows
from afina.train.optimiser import Optimiser

__all__ = ["Callbacks", "Member", "Position", "train"]


@dataclass
class Member:
    """One adapter in training, with what is its own: optimiser, schedule, task and summed loss."""

    adapter: Adapter
    task: Task
    optimiser: Optimiser
    schedule: Schedule | None
    loss_sum: Tensor
    """Loss over the rows of this epoch so far, float64, on the device."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        value = self.task.loss(logits, labels, self.adapter.method.loss_weights())
        self.loss_sum += value.detach()
        return value

    def step(self, step: int) -> None:
        if (penalty := self.adapter.penalty()) is not None:
            penalty.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step(step)
        if self.schedule is not None:
            self.schedule.after_step(step)
        self.optimiser.clear()


@dataclass
class Position:
    """How far a run has come, and what its steps took; all of it goes into a checkpoint."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Sum of the steps alone: no set-up, data loading, evaluation or checkpoint."""
    step_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Callbacks:
    """What happens between steps; neither is timed."""

    after_step: Callable[[], None]
    after_epoch: Callable[[], None]


def train(
    attached: Attached,
    members: list[Member],
    tokens: Tokens,
    position: Position,
    callbacks: Callbacks,
    *,
    epochs: int,
    batch_size: int,
    micro_batch_size: int | None,
    seed: int,
) -> None:
    """Train all members on the same batches from `position` to the end of the last epoch."""
    backbone = attached.backbone
    micro = micro_batch_size or batch_size
    while position.epoch < epochs:
        batches = epoch_batches(tokens.lengths, batch_size, seed=seed, epoch=position.epoch)
        attached.train(True)
        for rows in batches[position.batch :]:
            started = perf_counter()
            for start in range(0, len(rows), micro):
                part = rows[start : start + micro]
                batch = attached.batch(tokens, np.tile(part, len(members)))
                slices = member_rows(len(members), len(part))
                outputs = attached(batch.inputs, member_rows(len(members), len(part) * tokens.choices))
                losses = [
                    member.loss(logits, batch.labels[own])
                    for member, logits, own in zip(members, outputs, slices, strict=True)
                ]
                # Each member's loss is a sum over rows, divided once: micro-batches cannot change the gradient.
                torch.stack(losses).sum().div(len(rows)).backward()  # type: ignore[no-untyped-call]
                position.tokens += batch.tokens // len(members)
            for member in members:
                member.step(position.step + 1)
            position.step_seconds.append(perf_counter() - started)
            position.seconds += position.step_seconds[-1]
            position.step, position.batch, position.rows = (
                position.step + 1,
                position.batch + 1,
                position.rows + len(rows),
            )
            callbacks.after_step()
        if backbone.device.type == "cuda":
            # Steps were only queued: what is left of their work belongs to their time.
            waited = perf_counter()
            torch.cuda.synchronize()
            position.seconds += perf_counter() - waited
        position.epoch, position.batch = position.epoch + 1, 0
        callbacks.after_epoch()

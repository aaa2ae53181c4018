"""The training loop: one pass of the backbone for the rows of many members, one optimiser step for each member.

It knows no method, no model and no task, and never asks the device a question; measuring, checkpoints and evaluation
are callbacks around it. One run alone is a cohort of one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from afina.adapters.adapter import Adapter
from afina.backbone.load import Backbone
from afina.data.batching import Tokens, epoch_batches
from afina.methods.base import Schedule
from afina.tasks.base import Task
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes

__all__ = ["Callbacks", "Clock", "Member", "Position", "gradients", "train"]


@dataclass
class Position:
    """How far a member has come."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    rows: int = 0
    tokens: int = 0
    terms: int = 0
    """Of this epoch's summed loss."""


@dataclass
class Clock:
    """What the steps took, of all members together: no set-up, data loading, evaluation or checkpoint."""

    seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)


@dataclass
class Member:
    """One adapter in training, with all that is its own: data, order, optimiser, schedule, task and summed loss."""

    adapter: Adapter
    task: Task
    tokens: Tokens
    seed: int
    """Of the order of its batches."""
    epochs: int
    batch_size: int
    optimiser: Optimiser
    schedule: Schedule | None
    loss_sum: Tensor
    """Loss over the rows of this epoch so far, not yet divided, float64, on the device."""
    position: Position = field(default_factory=Position)
    left: bool = False
    """Out of the cohort before its last epoch: it diverged, or stopped early."""
    _order: tuple[int, list[np.ndarray]] = (-1, [])

    @property
    def training(self) -> bool:
        return not self.left and self.position.epoch < self.epochs

    def batches(self) -> list[np.ndarray]:
        """Return the rows of each batch of the epoch that it is in."""
        epoch = self.position.epoch
        if self._order[0] != epoch:
            self._order = epoch, epoch_batches(self.tokens.lengths, self.batch_size, seed=self.seed, epoch=epoch)
        return self._order[1]

    @property
    def at_end(self) -> bool:
        """Whether the epoch has no batch left."""
        return self.position.batch == len(self.batches())

    @property
    def batch_tokens(self) -> int:
        """Tokens of the batch that comes next, padding included."""
        rows = self.batches()[self.position.batch]
        sequences = self.tokens.sequences(rows)
        return len(sequences) * int(self.tokens.lengths_of(sequences).max())

    def loss(self, logits: Tensor, labels: Tensor, of: int) -> Tensor:
        """Return the loss of a part of a batch whose loss has `of` terms: micro-batches cannot change the gradient."""
        value = self.task.loss(logits, labels, self.adapter.method.loss_weights())
        self.loss_sum += value.detach()
        return value / of

    def mean_loss(self) -> float:
        """Return the loss of this epoch so far; on a GPU this waits for it."""
        return float(self.loss_sum) / max(1, self.position.terms)

    def begin_epoch(self) -> None:
        """Count the loss anew."""
        self.loss_sum.zero_()
        self.position.terms = 0

    def step(self) -> None:
        """Take the optimiser's step."""
        position, rows = self.position, self.batches()[self.position.batch]
        if (penalty := self.adapter.penalty()) is not None:
            penalty.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step(position.step + 1)
        if self.schedule is not None:
            self.schedule.after_step(position.step + 1)
        self.optimiser.clear()
        position.step, position.batch = position.step + 1, position.batch + 1
        position.rows, position.terms = position.rows + len(rows), position.terms + int(self.tokens.trained[rows].sum())


@dataclass(frozen=True)
class Callbacks:
    """What happens between steps; neither is timed. The second is told the members whose epoch ended."""

    after_step: Callable[[], None]
    after_epoch: Callable[[list[Member]], None]


def train(
    passes: Passes, members: Sequence[Member], clock: Clock, callbacks: Callbacks, *, micro_batch_size: int | None,
    steps: int | None = None,
) -> None:  # fmt: skip
    """Train all members from where they are to the end of their last epochs, or for so many steps, on their own batches.

    Those that others are ahead of catch up first: at the same step seeds come to batches of about the same width.
    """
    while (steps is None or steps > 0) and (training := [member for member in members if member.training]):
        # After a kill between a step and its epoch's end there may be members with no batch left; the others wait for that.
        stepping = [] if any(member.at_end for member in training) else training
        if stepping:
            least = min(member.position.step for member in stepping)
            stepping = [member for member in stepping if member.position.step == least]
            steps = None if steps is None else steps - 1
            started = perf_counter()
            for group in passes.groups(stepping, lambda member: member.batch_tokens):
                gradients(passes, group, micro_batch_size)
                # Now, not after the last group: gradients that stay scatter over the memory that the next pass is to have.
                for member in group:
                    member.step()
            clock.step_seconds.append(perf_counter() - started)
            clock.seconds += clock.step_seconds[-1]
            callbacks.after_step()
        if ended := [member for member in training if member.at_end]:
            clock.seconds += _wait(passes.backbone)
            for member in ended:
                member.position.epoch, member.position.batch = member.position.epoch + 1, 0
            callbacks.after_epoch(ended)


def gradients(passes: Passes, group: Sequence[Member], micro_batch_size: int | None) -> None:
    """Add the gradients of one batch of each member of a group, which go through the backbone together."""
    batches = [member.batches()[member.position.batch] for member in group]
    whole = max(len(rows) for rows in batches)
    attached = passes.attached([member.adapter for member in group], training=True)
    for start in range(0, whole, micro := micro_batch_size or whole):
        pieces = [(member.tokens, rows[start : start + micro]) for member, rows in zip(group, batches, strict=True)]
        batch = attached.batch(pieces, packing=passes.packing)
        outputs = attached(batch.inputs, batch.slices)
        own = zip(group, outputs, batch.labels, batches, batch.tokens, strict=True)
        losses: list[Tensor] = []
        for member, logits, labels, rows, tokens in own:
            if len(labels):
                losses.append(member.loss(logits, labels, max(1, int(member.tokens.trained[rows].sum()))))
                member.position.tokens += tokens
        # One member's loss says nothing of another's adapter: the gradient of the sum is each one's own.
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]


def _wait(backbone: Backbone) -> float:
    """Seconds that work queued on a GPU still takes: it belongs to the steps that queued it."""
    if backbone.device.type != "cuda":
        return 0.0
    started = perf_counter()
    torch.cuda.synchronize()
    return perf_counter() - started

"""Train many members at once: one pass of the backbone for the rows of all, one optimiser step for each.

The loop knows no method, no model and no task, and never waits for the device; measuring, checkpoints and evaluation are
callbacks around it. A single run is a cohort of one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from afina.adapters.adapter import Adapter
from afina.backbone.head import Hidden
from afina.backbone.load import Backbone
from afina.backbone.team import Team
from afina.data.tokens.batching import balanced_batches, epoch_batches
from afina.data.tokens.tokens import Tokens
from afina.distil.signal import Said
from afina.distil.teaching import Teaching
from afina.methods.base import Schedule
from afina.tasks.base import Task
from afina.train.cached import cached_gradients
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes

__all__ = ["Callbacks", "Clock", "Member", "Position", "gradients", "train"]


@dataclass
class Position:
    """Counts how far a member has come: epochs done, batches of this epoch, optimiser steps, rows, tokens."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    rows: int = 0
    tokens: int = 0
    terms: int = 0
    """Number of terms in this epoch's summed loss, by which it is divided."""


@dataclass
class Clock:
    """Adds up the seconds of training steps, of all members together; set-up, evaluation and checkpoints do not count."""

    seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    evaluate_seconds: float = 0.0
    """Those of evaluations, by themselves."""


@dataclass
class Member:
    """Holds one adapter in training, with its data, batch order, optimiser, schedule, task and summed loss."""

    adapter: Adapter
    task: Task
    tokens: Tokens
    seed: int
    """Seed of the order of batches."""
    epochs: int
    batch_size: int
    optimiser: Optimiser
    schedule: Schedule | None
    loss_sum: Tensor
    """Sum of the loss over this epoch's rows so far: float64, on the device, not yet divided."""
    position: Position = field(default_factory=Position)
    left: bool = False
    """True when it left the cohort before its last epoch, because it diverged or stopped early."""
    beside: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameters of the task's loss itself, by name (`Task.trained_beside`)."""
    teaching: Teaching | None = None
    """A teacher's part in the loss, where it has one."""
    weights: np.ndarray | None = None
    """Factor of each row's loss (N,), where rows do not all count the same."""
    cells: np.ndarray | None = None
    """Cell of each row (N,), -1 for none, where batches are to have as many rows of each."""
    _order: tuple[int, list[np.ndarray]] = (-1, [])

    @property
    def training(self) -> bool:
        return not self.left and self.position.epoch < self.epochs

    def batches(self) -> list[np.ndarray]:
        """Return the row numbers of each batch of the present epoch."""
        epoch = self.position.epoch
        # Made once an epoch: the order is a matter of seed and epoch alone, so that a run that goes on has the same.
        if self._order[0] != epoch:
            lengths, size = self.tokens.lengths, self.batch_size
            self._order = (
                epoch,
                (
                    epoch_batches(lengths, size, seed=self.seed, epoch=epoch)
                    if self.cells is None
                    else balanced_batches(lengths, self.cells, size, seed=self.seed, epoch=epoch)
                ),
            )
        return self._order[1]

    @property
    def at_end(self) -> bool:
        """Say whether the epoch has no batch left."""
        return self.position.batch == len(self.batches())

    @property
    def batch_tokens(self) -> int:
        """Return the number of tokens in the next batch, padding included."""
        rows = self.batches()[self.position.batch]
        sequences = self.tokens.sequences(rows)
        # With its padding: that is what the pass computes with.
        return len(sequences) * int(self.tokens.lengths_of(sequences).max())

    def loss(
        self, logits: Tensor, labels: Tensor, of: int, seen: tuple[Hidden, np.ndarray] | None = None, *,
        counts: bool = True,
    ) -> Tensor:  # fmt: skip
        """Return a part's share of a batch's loss of `of` terms, so that micro-batches do not change the gradient.

        Where a teacher teaches, `seen` are the states that the head saw, and the rows' sequences as they stand. Of rows that
        do not count, since another process has them, the share is 0.
        """
        of_task = {**self.adapter.method.loss_weights(), **self.beside}
        if self.weights is None or seen is None:
            value = self.task.loss(logits, labels, of_task)
        else:
            # Rows that weigh the same at once: a loss is a sum over rows, whatever the task.
            each = self.weights[seen[1]]
            same = [(weight, np.flatnonzero(each == weight)) for weight in np.unique(each)]
            parts = [weight * self.task.loss(logits[rows], labels[rows], of_task) for weight, rows in same]
            value = torch.stack(parts).sum()
        if self.teaching is not None and seen is not None:
            hidden, order = seen
            value = self.teaching.loss(value, Said(self.task, self.adapter.head, hidden, logits, labels), order)
        # On the device, and looked at only when an epoch ends.
        self.loss_sum += value.detach() if counts else 0.0
        return value / of if counts else 0.0 * value

    def mean_loss(self) -> float:
        """Return the mean loss of this epoch so far; on a GPU this waits for the device."""
        return float(self.loss_sum) / max(1, self.position.terms)

    def begin_epoch(self) -> None:
        """Set the summed loss back to zero."""
        self.loss_sum.zero_()
        self.position.terms = 0

    def step(self) -> None:
        """Take one optimiser step with the gradients that are there, and move on to the next batch."""
        position, rows = self.position, self.batches()[self.position.batch]
        # A penalty depends on the weights and no row: it is added once a step, however many micro-batches it has.
        if (penalty := self.adapter.penalty()) is not None:
            penalty.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step(position.step + 1)
        # Behind the step, since a method may choose ranks by the gradients that this step has used.
        if self.schedule is not None:
            self.schedule.after_step(position.step + 1)
        self.optimiser.clear()
        position.step, position.batch = position.step + 1, position.batch + 1
        position.rows, position.terms = position.rows + len(rows), position.terms + int(self.tokens.trained[rows].sum())


@dataclass(frozen=True)
class Callbacks:
    """Says what to do between steps, outside the timed part; `after_epoch` is given the members whose epoch ended."""

    after_step: Callable[[], None]
    after_epoch: Callable[[list[Member]], None]


def train(
    passes: Passes, members: Sequence[Member], clock: Clock, callbacks: Callbacks, *, micro_batch_size: int | None,
    steps: int | None = None,
) -> None:  # fmt: skip
    """Train each member on its own batches, from its position to the end of its last epoch or for at most `steps` steps.

    Members that are behind catch up first, because at the same step the batches of all seeds are about equally wide.
    """
    while (steps is None or steps > 0) and (training := [member for member in members if member.training]):
        # A run killed between a step and the end of its epoch resumes with no batch left: that epoch is ended first.
        stepping = [] if any(member.at_end for member in training) else training
        if stepping:
            least = min(member.position.step for member in stepping)
            # Members that are ahead wait: at one step all take the same part in a pass.
            stepping = [member for member in stepping if member.position.step == least]
            steps = None if steps is None else steps - 1
            started = perf_counter()
            for group in passes.groups(stepping, lambda member: member.batch_tokens):
                gradients(passes, group, micro_batch_size)

                # At once, not after the last group: gradients kept longer would fragment the memory for the next pass.
                for member in group:
                    member.step()
            clock.step_seconds.append(perf_counter() - started)
            clock.seconds += clock.step_seconds[-1]
            callbacks.after_step()
        if ended := [member for member in training if member.at_end]:
            # What a GPU has still to do belongs to the steps, not to the evaluation that follows.
            clock.seconds += _wait(passes.backbone)
            for member in ended:
                member.position.epoch, member.position.batch = member.position.epoch + 1, 0
            callbacks.after_epoch(ended)


def gradients(passes: Passes, group: Sequence[Member], micro_batch_size: int | None) -> None:
    """Add the gradients of one batch of each member of a group; their rows go through the backbone together."""
    batches = [member.batches()[member.position.batch] for member in group]
    whole = max(len(rows) for rows in batches)
    attached, team = passes.attached([member.adapter for member in group], training=True), passes.backbone.team
    # Behind the batch what is counted is added up over processes, where there are several.
    several = group if team.size > 1 else ()
    before = [(member, member.loss_sum.clone(), member.position.tokens) for member in several]

    # A loss that compares rows is one of the whole batch, and the sum of its parts' losses would be another.
    if micro_batch_size is not None and micro_batch_size < whole and any(member.task.compares for member in group):
        cached_gradients(attached, group, batches, micro_batch_size)
        return

    # Micro-batches cut every member's batch at the same places; a member with fewer rows has empty pieces at the end.
    for start in range(0, whole, micro := micro_batch_size or whole):
        parts = [rows[start : start + micro] for rows in batches]
        pieces = [(member.tokens, team.share(rows)) for member, rows in zip(group, parts, strict=True)]
        batch = attached.batch(pieces, packing=passes.packing)
        whose = zip(group, parts, batches, strict=True)
        answers = zip(attached.seen(batch), batch.order, batch.labels, batch.tokens, strict=True)
        losses: list[Tensor] = []
        for (member, part, rows), ((hidden, logits), order, labels, tokens) in zip(whose, answers, strict=True):
            # Divided by the terms of the whole batch, not of this piece: the sum over pieces is then the batch's mean,
            # whatever the micro-batch size.
            if len(labels):
                of = max(1, int(member.tokens.trained[rows].sum()))
                counts = team.counts(part)
                losses.append(member.loss(logits, labels, of, (hidden, order), counts=counts))
                member.position.tokens += tokens if counts else 0

        # No member's loss depends on another's adapter, so the gradient of the sum is the gradient of each.
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    for member, loss_sum, read in before:
        _add_up(team, member, loss_sum, read)


def _add_up(team: Team, member: Member, loss_sum: Tensor, tokens: int) -> None:
    """Make a member's gradients, summed loss and count of tokens what they are over all processes.

    The loss was `loss_sum` before this batch, and the count `tokens`.
    """
    of_batch = member.loss_sum - loss_sum
    read = torch.tensor(member.position.tokens - tokens)
    team.add_up(member.optimiser.parameters, [of_batch, read])
    member.loss_sum.copy_(loss_sum + of_batch)
    member.position.tokens = tokens + int(read)


def _wait(backbone: Backbone) -> float:
    """Wait for the work queued on a GPU and return the seconds: they belong to the steps that queued it."""
    if backbone.device.type != "cuda":
        return 0.0
    started = perf_counter()
    torch.cuda.synchronize()
    return perf_counter() - started

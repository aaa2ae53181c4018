"""Measure what a run costs alone by its first steps: in a cohort nothing shows whose time is spent.

A step's time goes by the width of its batch, and is more where a width is met for the first time (a processor's matrix
library prepares code for it). Both are fitted to the first steps of the run, taken alone in a process that does nothing
else; an epoch's time is the sum over its own batches. These steps are not lost: the run goes on from them in its cohort.
Memory is read as in any run, over these steps; the last of them come after some evaluation, as a next epoch's would.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone
from afina.data.tokens.batching import epoch_batches, evaluation_batches, padded_width
from afina.data.tokens.tokens import Tokens
from afina.measure.energy import EnergyMeter
from afina.measure.memory import MemoryMonitor, current_resident_bytes
from afina.ops.allocator import give_back_freed_memory
from afina.ops.dropout import DropoutSource
from afina.study.carry_out import watched
from afina.study.cohort_plan import Costs
from afina.study.events import Observer, Profile
from afina.study.job import Job
from afina.study.running import Running, load_data, start_running
from afina.train.checkpoint import write_checkpoint
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, Member, Position, gradients, train
from afina.train.passes import Passes

__all__ = ["batch_widths", "finish_queued", "fitted", "profile_run", "seconds_until"]

_STEPS = 64
_AFTERWARDS = 24
"""The last of these steps are taken after some evaluation, as those of a next epoch are."""

_MOST_EVALUATED = 6


def profile_run(job: Job, send: Observer, state_file: Path | None = None) -> Costs:
    """Return the seconds until the end of each epoch, the seconds of a median step, and the memory report of a run alone.

    The run's state after the steps is written to `state_file`. Raises what the run itself would raise before its first step.
    """
    method, data, config = job.run.method, load_data([job])[job.run.dataset], job.config
    with watched(job, method, data.task, min(0.1, config.sample_seconds)) as (monitor, backbone):
        run = start_running(job, method, backbone, data)

        # Batches of all epochs are known beforehand: seeds decide them, and a step's time follows from its batch's
        # width.
        by_epoch = [batch_widths(backbone, run.member, epoch) for epoch in range(config.epochs)]
        steps = _first_steps(job, backbone, run, len(by_epoch[0]), monitor, send)
        if state_file is not None and len(by_epoch[0]) > 1:  # one step would be a whole epoch, and nobody evaluated it
            state = {"position": asdict(run.member.position), "seconds": steps.seconds, "originals": job.originals}
            write_checkpoint(state_file, run.tensors(), state)

    widths, count = by_epoch[0], len(steps.times)
    warm, first = fitted(widths[:count], np.array(steps.times))
    until = seconds_until(by_epoch, count, steps.preparing + steps.seconds, warm, first)
    report = monitor.report()
    if job.device == "cpu" and report["peak_memory_bytes"] is not None:
        # A width that was not met leaves as much behind as those that were.
        before = steps.before

        # A CPU's matrix library keeps prepared code for each width that it met.
        unmet = len(set(np.concatenate(by_epoch)) - set(widths[:count]))
        grown = max(0, steps.resident[before - 1] - steps.resident[0]) / max(1, len(set(widths[:before])) - 1)
        report["peak_memory_bytes"] += int(unmet * grown) + (steps.left if config.epochs > 1 else 0)
    return Costs.made(
        seconds_by_epoch=until, step_seconds=float(np.median(warm[widths])),
        tokens=data.splits["train"].read,
        energy_joules=None if steps.joules is None else steps.joules / steps.seconds * until[0], memory_report=report,
    )  # fmt: skip


@dataclass
class _Steps:
    """Holds what a run's first steps took."""

    times: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    """Memory of the process after each, in bytes."""
    before: int = 0
    """Steps that were taken before some evaluation."""
    preparing: float = 0.0
    """Seconds that all rows take below the lowest branch."""
    left: int = 0
    """Bytes that a whole evaluation would leave behind, beyond what some of it did."""
    joules: float | None = None

    @property
    def seconds(self) -> float:
        return float(sum(self.times))


def _first_steps(
    job: Job, backbone: Backbone, run: Running, batches: int, monitor: MemoryMonitor, send: Observer
) -> _Steps:
    """Take the first steps of a run, the last of them after some evaluation."""
    config, member, steps = job.config, run.member, _Steps()

    # At least one step is left over, as the last of an epoch ends in an evaluation, which is no part of a step's cost.
    count = min(_STEPS, max(1, batches - 1))
    steps.before = count - min(_AFTERWARDS, count // 2)
    energy, started = EnergyMeter(job.device), 0.0

    def after_step() -> None:
        nonlocal started
        finish_queued(backbone)
        steps.times.append(perf_counter() - started)
        steps.resident.append(current_resident_bytes())
        send(Profile(done=len(steps.times), steps=count))
        started = perf_counter()

    def take_steps(number: int) -> None:
        nonlocal started
        energy.start()
        started = perf_counter()
        callbacks = Callbacks(after_step, lambda ended: None)
        train(passes, [member], Clock(), callbacks, micro_batch_size=config.micro_batch_size, steps=number)
        energy.stop()

    source, packing = DropoutSource(job.run.seed), config.packing == "auto"
    with Passes(backbone, source, checkpointing=config.gradient_checkpointing, packing=packing) as passes:
        torch.manual_seed(job.run.seed)
        with monitor.phase("train"):
            steps.preparing = _preparing_seconds(passes, member, count)
        with monitor.phase("train"):
            take_steps(steps.before)
        give_back_freed_memory()

        with monitor.phase("evaluate"):
            attached = passes.attached([run.adapter], training=False)
            size = config.evaluation_batch_size
            steps.left = sum(_evaluate_some(attached, run.data.rows(split), size) for split in ("train", "test"))

        with monitor.phase("train"):
            # An epoch begins with the longest batch, beside what an evaluation left behind.
            _gradients_of_the_longest(passes, member, config.micro_batch_size)
            take_steps(count - steps.before)
    steps.joules = energy.joules
    return steps


def batch_widths(backbone: Backbone, member: Member, epoch: int = 0) -> np.ndarray:
    """Return the width of each batch of an epoch, as the collator will make it."""
    tokens: Tokens = member.tokens
    batches = epoch_batches(tokens.lengths, member.batch_size, seed=member.seed, epoch=epoch)
    lengths = tokens.lengths
    return np.array([padded_width(int(lengths[rows].max()), backbone.context) for rows in batches])


def _preparing_seconds(passes: Passes, member: Member, count: int) -> float:
    """Prepare the rows of the first batches; return the seconds that all rows take below the lowest branch."""
    tokens, rows = member.tokens, np.concatenate(member.batches()[:count])
    started = perf_counter()
    passes.prepare([member], lambda member: member.tokens, rows)
    seconds = perf_counter() - started
    return seconds * tokens.read / int(tokens.lengths_of(tokens.sequences(rows)).sum())


def _evaluate_some(attached: Attachment, tokens: Tokens, batch_size: int) -> int:
    """Evaluate a few batches of the shapes that an evaluation of these rows meets, the largest among them.

    Return the bytes that those of the other shapes would leave behind: code, as much as these do.
    """
    most = attached.backbone.context
    shapes = {
        (len(rows), padded_width(int(tokens.lengths[rows].max()), most)): rows
        for rows in evaluation_batches(tokens.lengths, batch_size)
    }
    batches = list(shapes.values())  # by rising length
    places = np.unique(np.linspace(0, len(batches) - 1, _MOST_EVALUATED).round().astype(int))
    resident: list[int] = []
    for place in places:
        predict_logits(attached, tokens.take(batches[place]), batch_size=batch_size)
        give_back_freed_memory()
        resident.append(current_resident_bytes())
    grown = max(0, resident[-1] - resident[0]) / max(1, len(resident) - 1)
    return int(grown * (len(batches) - len(places)))


def _gradients_of_the_longest(passes: Passes, member: Member, micro_batch_size: int | None) -> None:
    """Compute the gradients of the longest batch and forget them: the member stays as it is."""
    position, loss = member.position, member.loss_sum.clone()
    member.position = Position()
    gradients(passes, [member], micro_batch_size)
    member.optimiser.clear()
    member.position = position
    member.loss_sum.copy_(loss)


def finish_queued(backbone: Backbone) -> None:
    """Wait for what is queued on a GPU."""
    if backbone.device.type == "cuda":
        torch.cuda.synchronize()


def seconds_until(
    by_epoch: Sequence[np.ndarray], count: int, taken: float, warm: np.ndarray, first: float
) -> list[float]:
    """Return the seconds until the end of each epoch, of whose batches these are the widths.

    The first `count` steps have `taken` so long; of the others, `warm` has a step's seconds by width, and the first meeting
    of a width adds `first`.
    """
    met, seconds, until = set(by_epoch[0][:count]), taken, list[float]()
    for widths in (by_epoch[0][count:], *by_epoch[1:]):
        seconds += float(warm[widths].sum()) + first * len(set(widths) - met)
        met |= set(widths)
        until.append(seconds)
    return until


def fitted(widths: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the seconds of a step by width, from 0 to beyond all, and what the first meeting of a width adds.

    By least squares, so that a sum over many steps is what their mean says: a quadratic of the width, or less where few
    widths were met. The first step of all, which also starts the process's threads, is left out if there are others.
    """
    # The first batch of a width is slower: libraries prepare themselves for it.
    met = np.array([width not in widths[:place] for place, width in enumerate(widths)])
    counted = slice(1 if len(widths) > 1 else 0, None)

    # Attention is quadratic in the width, all else linear.
    degree = min(2, len(np.unique(widths[counted])) - 1)
    scale = widths.max()

    # Only where some width came twice can its first meeting be told from the width itself.
    again = not met[counted].all()
    columns = [(widths[counted] / scale) ** power for power in range(degree + 1)]
    columns += [met[counted].astype(float)] if again and met[counted].any() else []
    coefficients = np.linalg.lstsq(np.stack(columns, axis=1), seconds[counted], rcond=None)[0]
    every = np.arange(2 * scale + 1) / scale
    warm = sum(coefficients[power] * every**power for power in range(degree + 1))
    first = max(0.0, float(coefficients[-1])) if len(columns) > degree + 1 else 0.0

    # A fitted curve may fall below zero beside the widths that were met; no step takes less than half of the shortest.
    return np.maximum(warm, seconds.min() / 2), first

"""What a run costs alone, from its first steps: for runs that train in a cohort, where nothing shows whose time it is.

A step's time goes by the width of its batch, and is more where a width is met for the first time (a processor's matrix
library prepares code for it). Both are fitted to the first steps of the run, taken alone in a process that does nothing
else; an epoch's time is the sum over its own batches. These steps are not lost: the run goes on from them in its cohort.
Memory is read as in any run, over these steps; the last of them come after some evaluation, as a next epoch's would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone
from afina.data.batching import Tokens, epoch_batches, evaluation_batches, padded_width
from afina.errors import AfinaError
from afina.measure.energy import EnergyMeter
from afina.measure.memory import current_resident_bytes
from afina.ops.allocator import give_back_freed_memory
from afina.ops.dropout import DropoutSource
from afina.study.carry_out import watched
from afina.study.cohort_plan import Costs
from afina.study.events import Observer, Profile, Together
from afina.study.job import Job
from afina.study.room import STATE_BYTES
from afina.study.running import Data, load_data, start_running
from afina.train.checkpoint import write_checkpoint
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, Member, Position, gradients, train
from afina.train.passes import Passes

__all__ = ["choose_together", "fitted", "profile_run", "seconds_until"]

_STEPS = 64
_AFTERWARDS = 24
"""Of these, how many are taken after some evaluation."""
_WARM = 2
_MOST_TOGETHER = {"cpu": 8, "cuda": 64}
"""On a CPU more gain nothing (benchmarks/README.md)."""
_MOST_EVALUATED = 6
_GAIN = 1.03
"""What more members in a pass have to gain to be worth their memory."""
_MORE_TOKENS = 1.25
"""What a CPU's pass may have, in times the longest batch of one run: a step's own memory is but a part of a process's."""


def profile_run(job: Job, send: Observer, kept: Path | None = None) -> Costs:
    """Return the seconds until the end of each epoch, the seconds of a median step, and the memory report of a run alone.

    The run's state after the steps is written to `kept`. Raises what the run itself would raise before its first step.
    """
    method, data, config = job.run.method, load_data([job])[job.run.dataset], job.config
    tokens = data.splits["train"]
    energy = EnergyMeter(job.device)
    with watched(job, method, data.task, min(0.1, config.sample_seconds)) as (monitor, backbone):
        run = start_running(job, method, backbone, data)
        by_epoch = [_widths(backbone, run.member, epoch) for epoch in range(config.epochs)]
        widths = by_epoch[0]
        count = min(_STEPS, max(1, len(widths) - 1))
        before = count - min(_AFTERWARDS, count // 2)
        settings = {"checkpointing": config.gradient_checkpointing, "packing": config.packing == "auto"}
        times: list[float] = []
        resident: list[int] = []
        started = 0.0

        def after_step() -> None:
            nonlocal started
            _finish(backbone)
            times.append(perf_counter() - started)
            resident.append(current_resident_bytes())
            send(Profile(done=len(times), steps=count))
            started = perf_counter()

        def take_steps(number: int) -> None:
            nonlocal started
            energy.start()
            started = perf_counter()
            callbacks, micro = Callbacks(after_step, lambda ended: None), config.micro_batch_size
            train(passes, [run.member], Clock(), callbacks, micro_batch_size=micro, steps=number)
            energy.stop()

        with Passes(backbone, DropoutSource(job.run.seed), **settings) as passes:
            torch.manual_seed(job.run.seed)
            with monitor.phase("train"):
                preparing = _preparing_seconds(passes, run.member, count)
            with monitor.phase("train"):
                take_steps(before)
            give_back_freed_memory()
            with monitor.phase("evaluate"):
                attached = passes.attached([run.adapter], training=False)
                size = config.evaluation_batch_size
                left = sum(_evaluate_some(attached, data.rows(split), size) for split in ("train", "test"))
            with monitor.phase("train"):
                # An epoch begins with the longest batch, beside what an evaluation left behind.
                _gradients_of_the_longest(passes, run.member, config.micro_batch_size)
                take_steps(count - before)
            taken = float(sum(times))
            if kept is not None and len(widths) > 1:  # one step would be a whole epoch, and nobody evaluated it
                write_checkpoint(kept, run.tensors(), {"position": asdict(run.member.position), "seconds": taken})
    warm, first = fitted(widths[:count], np.array(times))
    until = seconds_until(by_epoch, count, preparing + taken, warm, first)
    report = monitor.report()
    if job.device == "cpu" and report["peak_memory_bytes"] is not None:
        # A width that was not met leaves as much behind as those that were.
        unmet = len(set(np.concatenate(by_epoch)) - set(widths[:count]))
        grown = max(0, resident[before - 1] - resident[0]) / max(1, len(set(widths[:before])) - 1)
        report["peak_memory_bytes"] += int(unmet * grown) + (left if config.epochs > 1 else 0)
    return Costs.made(
        seconds_by_epoch=until, step_seconds=float(np.median(warm[widths])), tokens=int(tokens.offsets[-1]),
        energy_joules=None if energy.joules is None else energy.joules / taken * until[0], memory_report=report,
    )  # fmt: skip


def choose_together(jobs: Sequence[Job], send: Observer) -> dict[str, Any]:
    """Return how many of these jobs' members should go through the backbone together, with the evidence.

    It is the fewest with whom a step of the same members, at their data's median width, takes about the least; `alike` is
    whether those of each method by themselves are as fast. On a CPU as many are tried as may go together at that width: no
    more tokens than `most_tokens`, a little over those of the longest batch of one run. On a GPU that is the caller's to
    say, from `load_bytes`, the model's, `state_bytes`, what all members keep, and `step_bytes`, what the longest step of one
    takes. Raises the first member's error where none can be.
    """
    first = jobs[0]
    data = load_data(jobs)
    task = data[first.run.dataset].task
    seconds: dict[int, float] = {}
    with watched(first, first.run.method, task, min(0.1, first.config.sample_seconds)) as (monitor, backbone):
        members, trained = _members(jobs, backbone, data)
        one_each = {id(member.tokens): member for member in members}
        typical = {tokens: _Typical.of(backbone, member) for tokens, member in one_each.items()}
        longest = max(own.longest_tokens for own in typical.values())
        most_tokens = int(_MORE_TOKENS * longest)
        with Passes(backbone, DropoutSource(first.run.seed), packing=first.config.packing == "auto") as passes:
            # Those that may go together.
            may = max(passes.groups(members, lambda member: typical[id(member.tokens)].tokens), key=len)
            most = min(len(may), _MOST_TOGETHER[backbone.device.type])
            median = max(typical[id(member.tokens)].tokens for member in may)
            if first.device == "cpu":
                most = min(most, max(1, most_tokens // median))
            # The same members in passes of every size: methods differ in what a step takes.
            sample = may[:most]
            places = [typical[id(member.tokens)].place for member in sample]

            def timed() -> float:
                times = [_step_seconds(passes, sample, places, first.config.micro_batch_size) for _ in range(1 + _WARM)]
                return float(np.median(times[1:])) / len(sample)

            for size in sorted({*(1 << power for power in range(most.bit_length())), most}):
                send(Together(members=size))
                passes.most = size
                try:
                    with monitor.phase(str(size)):
                        seconds[size] = timed()
                except torch.OutOfMemoryError:  # a GPU's, which no more members will fit in either
                    if not seconds:
                        raise
                    for member in sample:
                        member.optimiser.clear()
                    torch.cuda.empty_cache()
                    break
            # All are timed, and not each until one gains nothing: in a slow moment of the machine that would be for good.
            least = min(seconds.values())
            together = passes.most = min(size for size, own in seconds.items() if own <= _GAIN * least)
            mixed, passes.alike, apart = passes.groups(sample), True, seconds[together]
            if passes.groups(sample) != mixed:
                with monitor.phase("apart"):
                    apart = timed()
    memory = monitor.report()["memory"]
    loaded = memory["load"]["peak_bytes"] or 0
    return {
        "together": together,
        "alike": apart <= seconds[together],
        "member_step_seconds": {**{str(key): value for key, value in seconds.items()}, "alike": apart},
        "load_bytes": loaded,
        "state_bytes": STATE_BYTES * trained,
        "step_bytes": max(0, (memory["1"]["peak_bytes"] or 0) - loaded) * longest // median,
        "longest_batch_tokens": longest,
        "most_tokens": most_tokens,
    }


@dataclass(frozen=True)
class _Typical:
    """Of the batches of a data set's first epoch: the place of one of median width, its tokens, and those of the longest."""

    place: int
    tokens: int
    longest_tokens: int

    @classmethod
    def of(cls, backbone: Backbone, member: Member) -> "_Typical":
        widths = _widths(backbone, member)
        place, rows = int(np.argsort(widths)[len(widths) // 2]), member.batch_size * member.tokens.choices
        return cls(place, rows * int(widths[place]), rows * int(widths.max()))


def _members(jobs: Sequence[Job], backbone: Backbone, data: Mapping[int, Data]) -> tuple[list[Member], int]:
    """Return fresh members for the jobs that can be, and how many numbers they train."""
    members: list[Member] = []
    trained, errors = 0, list[str]()
    for job in jobs:
        try:
            run = start_running(job, job.run.method, backbone, data[job.run.dataset])
        except AfinaError as error:  # the run will say so
            errors.append(str(error))
            continue
        members.append(run.member)
        trained += sum(value.numel() for value in run.trainable.values())
    if not members:
        raise AfinaError(errors[0])
    return members, trained


def _widths(backbone: Backbone, member: Member, epoch: int = 0) -> np.ndarray:
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
    return seconds * int(tokens.offsets[-1]) / int(tokens.lengths_of(tokens.sequences(rows)).sum())


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


def _step_seconds(
    passes: Passes, members: Sequence[Member], places: Sequence[int], micro_batch_size: int | None
) -> float:
    """Take one whole step, each member on its batch at a place of the first epoch, and return its seconds.

    The members are not to be kept.
    """
    for member, place in zip(members, places, strict=True):
        member.position = Position(batch=place)
    started = perf_counter()
    callbacks = Callbacks(lambda: None, lambda ended: None)
    train(passes, members, Clock(), callbacks, micro_batch_size=micro_batch_size, steps=1)
    _finish(passes.backbone)
    return perf_counter() - started


def _finish(backbone: Backbone) -> None:
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
    met = np.array([width not in widths[:place] for place, width in enumerate(widths)])
    own = slice(1 if len(widths) > 1 else 0, None)
    degree = min(2, len(np.unique(widths[own])) - 1)
    scale = widths.max()
    again = not met[own].all()
    columns = [(widths[own] / scale) ** power for power in range(degree + 1)]
    columns += [met[own].astype(float)] if again and met[own].any() else []
    found = np.linalg.lstsq(np.stack(columns, axis=1), seconds[own], rcond=None)[0]
    every = np.arange(2 * scale + 1) / scale
    warm = sum(found[power] * every**power for power in range(degree + 1))
    first = max(0.0, float(found[-1])) if len(columns) > degree + 1 else 0.0
    return np.maximum(warm, seconds.min() / 2), first

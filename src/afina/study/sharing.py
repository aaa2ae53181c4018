"""Choose how a cohort's members share passes: the fewest at once with whom a step takes about the least."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from afina.backbone.load import Backbone
from afina.errors import AfinaError
from afina.measure.memory import MemoryMonitor
from afina.measure.timing import Stopwatch
from afina.ops.dropout import DropoutSource
from afina.study.carry_out import watched
from afina.study.cohort_plan import TimedSharing
from afina.study.events import Observer, Together
from afina.study.job import Job
from afina.study.profile import batch_widths, finish_queued
from afina.study.room import kept_bytes
from afina.study.running import Data, load_data, start_running
from afina.train.loop import Callbacks, Clock, Member, Position, train
from afina.train.passes import Passes

__all__ = ["choose_together"]

_TURNS = 2
"""Times that each number of members has its turn, so that a slow moment of the machine does not fall on one of them alone."""
_MOST_TOGETHER = {"cpu": 8, "cuda": 64}
"""The most runs of one cohort, by device; on a CPU more gain nothing (benchmarks/README.md)."""
_GAIN = 1.03
"""More members in a pass have to be faster by this factor to be worth their memory."""
_MORE_TOKENS = 1.25
"""Most tokens of a pass on a CPU, in times the longest batch of one run: a step's own memory is but a part of a process's."""


def choose_together(jobs: Sequence[Job], send: Observer) -> TimedSharing:
    """Return how many of these jobs' members should go through the backbone together, with the evidence.

    All take steps at their data's median width. On a CPU as many are tried as may go together at that width, with no more
    tokens than a little over those of the longest batch of one run. Raises the first member's error where none can be.
    """
    first = jobs[0]
    data = load_data(jobs)
    task = data[first.run.dataset].task
    with watched(first, first.run.method, task, min(0.1, first.config.sample_seconds)) as (monitor, backbone):
        members, state_bytes = _members(jobs, backbone, data)
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

            # Each member is timed on its own batch of median width, the same one in passes of every size.
            places = [typical[id(member.tokens)].place for member in sample]

            def timed() -> float:
                # The first step attaches the adapters, and may meet shapes for the first time.
                steps = [_step_seconds(passes, sample, places, first.config.micro_batch_size) for _ in range(2)]
                return steps[-1] / len(sample)

            seconds = _seconds_by_size(passes, sample, timed, monitor, send)

            # All are timed, and not each until one gains nothing: in a slow moment of the machine that would be for good.
            least = min(seconds.values())
            together = passes.most = min(size for size, own in seconds.items() if own <= _GAIN * least)
            mixed, passes.alike, apart = passes.groups(sample), True, seconds[together]

            # Timed only where grouping by method would make other passes than they are.
            if passes.groups(sample) != mixed:
                with monitor.phase("apart"):
                    apart = min(timed() for _ in range(_TURNS))

    memory = monitor.report()["memory"]
    loaded = memory["load"]["peak_bytes"] or 0
    return TimedSharing(
        together=together, most_tokens=most_tokens, alike=apart <= seconds[together],
        member_step_seconds={**{str(key): value for key, value in seconds.items()}, "alike": apart},
        load_bytes=loaded, state_bytes=state_bytes,
        step_bytes=max(0, (memory["1"]["peak_bytes"] or 0) - loaded) * longest // median, longest_batch_tokens=longest,
    )  # fmt: skip


def _seconds_by_size(
    passes: Passes, sample: Sequence[Member], timed: Callable[[], float], monitor: MemoryMonitor, send: Observer
) -> dict[int, float]:
    """Time the members in passes of every power of two of them, and all, or as many as a GPU has room for, in turns."""
    seconds: dict[int, float] = {}
    sizes = sorted({*(1 << power for power in range(len(sample).bit_length())), len(sample)})
    for size in sizes * _TURNS:
        if size > max(sizes):
            continue
        send(Together(members=size))
        passes.most = size
        try:
            with monitor.phase(str(size)):
                seconds[size] = min(seconds.get(size, inf), timed())
        except torch.OutOfMemoryError:  # a GPU's, which no more members will fit in either
            if size == 1:
                raise
            for member in sample:
                member.optimiser.clear()
            torch.cuda.empty_cache()
            seconds = {fits: own for fits, own in seconds.items() if fits < size}
            sizes = list(seconds)
    return seconds


@dataclass(frozen=True)
class _Typical:
    """Describes a batch of median width: its place in the first epoch, its tokens, and those of the longest batch."""

    place: int
    tokens: int
    longest_tokens: int

    @classmethod
    def of(cls, backbone: Backbone, member: Member) -> "_Typical":
        widths = batch_widths(backbone, member)
        place, rows = int(np.argsort(widths)[len(widths) // 2]), member.batch_size * member.tokens.choices
        return cls(place, rows * int(widths[place]), rows * int(widths.max()))


def _members(jobs: Sequence[Job], backbone: Backbone, data: Mapping[int, Data]) -> tuple[list[Member], int]:
    """Return fresh members for the jobs that can be, and the bytes of what they train and keep."""
    members: list[Member] = []
    state_bytes, errors = 0, list[str]()
    for job in jobs:
        try:
            run = start_running(job, job.run.method, backbone, data[job.run.dataset])
        except AfinaError as error:  # the run will say so
            errors.append(str(error))
            continue
        members.append(run.member)
        state_bytes += kept_bytes(job.run.method, run.adapter, backbone, job.device).state
    if not members:
        raise AfinaError(errors[0])
    return members, state_bytes


def _step_seconds(
    passes: Passes, members: Sequence[Member], places: Sequence[int], micro_batch_size: int | None
) -> float:
    """Take one whole step, each member on its batch at a place of the first epoch, and return its seconds.

    The members are not to be kept.
    """
    for member, place in zip(members, places, strict=True):
        member.position = Position(batch=place)
    watch = Stopwatch(str(passes.backbone.device))
    callbacks = Callbacks(lambda: None, lambda ended: None)
    train(passes, members, Clock(), callbacks, micro_batch_size=micro_batch_size, steps=1)
    finish_queued(passes.backbone)
    return watch.seconds()

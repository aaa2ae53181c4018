"""What a run costs alone, from some of its steps: for runs that train in a cohort, where nothing shows whose time it is.

A step's time goes by the width of its batch. Of the widths that an epoch meets, all or sixteen are stepped through,
the longest first, each once cold (a processor's matrix library prepares code for a width when it first meets it) and
three times warm, in mixed order; an epoch's time is the sum over its batches, and the first epoch has every width's first
meeting on top. Before the last turn batches of several shapes are evaluated, as between epochs.
Memory is read as in any run, from a process of its own that has done nothing else.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch

from afina.backbone.attach import Attached
from afina.backbone.load import Backbone
from afina.data.batching import Tokens, epoch_batches, evaluation_batches, load_tokens, padded_width
from afina.measure.energy import EnergyMeter
from afina.measure.memory import current_resident_bytes
from afina.ops.allocator import give_back_freed_memory
from afina.ops.dropout import DropoutSource
from afina.study.carry_out import watched
from afina.study.job import Job, Send
from afina.study.running import new_member
from afina.tasks.base import load_task
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, Member, Position, train
from afina.train.passes import Passes

__all__ = ["choose_together", "profile_run"]

_MOST_WIDTHS = 16
_WARM = 3
_MOST_TOGETHER = 8
_MOST_PREPARED = 1000
_MOST_EVALUATED = 6
_GAIN = 1.07
"""What more members in a pass have to gain to be worth their memory."""


def profile_run(job: Job, send: Send) -> dict[str, Any]:
    """Return the seconds until the end of each epoch, the seconds of a median step, and the memory report of a run alone.

    Raises what the run itself would raise before its first step.
    """
    method, task, splits = job.run.make_method(), load_task(job.task), load_tokens(job.tokens)
    config, tokens = job.config, splits["train"]
    energy = EnergyMeter(job.device)
    with watched(job, method, task, min(0.1, config.sample_seconds)) as (monitor, backbone):
        member, _ = new_member(job, method, backbone, task, tokens)
        widths = _widths(backbone, member)
        chosen = _chosen(widths)
        seen = tokens if job.train_evaluation_rows is None else tokens.take(job.train_evaluation_rows)
        resident: list[int] = []
        times = np.zeros((1 + _WARM, len(chosen)))
        order = np.random.default_rng(0)
        settings = {"checkpointing": config.gradient_checkpointing, "packing": config.packing == "auto"}
        with Passes(backbone, DropoutSource(job.run.seed), **settings) as passes:
            torch.manual_seed(job.run.seed)
            with monitor.phase("train"):
                preparing = _preparing_seconds(passes, member, chosen)
            for turn in range(1 + _WARM):
                if turn == _WARM:
                    # An epoch after the first trains beside what an evaluation left behind.
                    give_back_freed_memory()
                    with monitor.phase("evaluate"):
                        attached = passes.attached([member.adapter], training=False)
                        for split in (seen, splits["test"]):
                            _evaluate_some(attached, split, config.evaluation_batch_size)
                    give_back_freed_memory()
                with monitor.phase("train"):
                    energy.start()
                    # A batch of another width before each, as in a run: what is at hand for one is gone for the next.
                    for place in range(len(chosen)) if turn == 0 else order.permutation(len(chosen)):
                        times[turn, place] = _step_seconds(passes, [member], chosen[place], config.micro_batch_size)
                        if turn == 0:
                            resident.append(current_resident_bytes())
                    energy.stop()
                send({"kind": "profile", "done": turn + 1, "steps": 1 + _WARM})
    warm = np.median(times[1:], axis=0)
    epoch, meeting = _epoch(widths, chosen, times[0], warm)
    report = monitor.report()
    unseen = len(np.unique(widths)) - len(chosen)
    if unseen > 0 and job.device == "cpu" and report["peak_memory_bytes"] is not None:
        each = max(0.0, (resident[-1] - resident[1]) / (len(resident) - 2))
        report["peak_memory_bytes"] = int(report["peak_memory_bytes"] + unseen * each)
    return {
        "seconds_by_epoch": [preparing + meeting + epoch * number for number in range(1, config.epochs + 1)],
        "step_seconds": float(np.median(np.interp(widths, widths[chosen][::-1], warm[::-1]))),
        "tokens": int(tokens.offsets[-1]),
        "energy_joules": None
        if energy.joules is None
        else energy.joules / float(times.sum()) * (preparing + meeting + epoch),
        "memory_report": report,
    }


def choose_together(jobs: Sequence[Job], send: Send) -> dict[str, Any]:
    """Return how many of these jobs' members should go through the backbone together, with the evidence.

    It is the fewest with whom a member's share of a step, at the data's median width, is about the least. Memory is the
    caller's to mind: `load_bytes` is the model's, `step_bytes` what a step of the first member alone takes on top at the
    longest width, `longest_batch_tokens` that step's tokens, padding included.
    """
    first = jobs[0]
    task, tokens = load_task(first.task), load_tokens(first.tokens)["train"]
    seconds: dict[int, float] = {}
    with watched(first, first.run.make_method(), task, min(0.1, first.config.sample_seconds)) as (monitor, backbone):
        members = [new_member(job, job.run.make_method(), backbone, task, tokens)[0] for job in jobs]
        widths = _widths(backbone, members[0])
        index = int(np.argsort(widths)[len(widths) // 2])
        with Passes(backbone, DropoutSource(first.run.seed), packing=first.config.packing == "auto") as passes:
            most = max(passes.groups(members), key=len)  # those that may go together
            count = 1
            while count <= min(len(most), _MOST_TOGETHER):
                send({"kind": "together", "members": count})
                with monitor.phase(str(count)):
                    times = [
                        _step_seconds(passes, most[:count], index, first.config.micro_batch_size)
                        for _ in range(1 + _WARM)
                    ]
                seconds[count] = float(np.median(times[1:])) / count
                count *= 2
    # All are timed, and not each until one gains nothing: a slow moment of the machine would keep members apart for good.
    together = min(count for count, own in seconds.items() if own <= _GAIN * min(seconds.values()))
    memory = monitor.report()["memory"]
    loaded = memory["load"]["peak_bytes"] or 0
    return {
        "together": together,
        "member_step_seconds": {str(key): value for key, value in seconds.items()},
        "load_bytes": loaded,
        "step_bytes": max(0, (memory["1"]["peak_bytes"] or 0) - loaded) * int(widths.max()) // int(widths[index]),
        "longest_batch_tokens": int(widths.max()) * members[0].batch_size * tokens.choices,
    }


def _widths(backbone: Backbone, member: Member) -> np.ndarray:
    """Return the width of each batch of the first epoch, as the collator will make it."""
    tokens: Tokens = member.tokens
    batches = epoch_batches(tokens.lengths, member.batch_size, seed=member.seed, epoch=0)
    lengths = tokens.lengths
    return np.array([padded_width(int(lengths[rows].max()), backbone.context) for rows in batches])


def _preparing_seconds(passes: Passes, member: Member, chosen: Sequence[int]) -> float:
    """Return the seconds that all rows take below the lowest branch, before the first step, from many of them."""
    tokens = member.tokens
    others = np.random.default_rng(0).permutation(len(tokens))[:_MOST_PREPARED]
    rows = np.unique(np.concatenate([others, *(member.batches()[index] for index in chosen)]))
    started = perf_counter()
    passes.prepare([member], lambda member: member.tokens, rows)
    seconds = perf_counter() - started
    return seconds * int(tokens.offsets[-1]) / int(tokens.lengths_of(tokens.sequences(rows)).sum())


def _chosen(widths: np.ndarray) -> list[int]:
    """Return one batch each of at most sixteen widths, the longest first."""
    found, first = np.unique(widths, return_index=True)
    places = np.unique(np.linspace(0, len(found) - 1, min(len(found), _MOST_WIDTHS)).round().astype(int))
    return [int(first[place]) for place in places[::-1]]


def _evaluate_some(attached: Attached, tokens: Tokens, batch_size: int) -> None:
    """Evaluate a few batches of the shapes that an evaluation of these rows meets, the largest among them."""
    shapes = {(len(rows), tokens.lengths[rows].max()): rows for rows in evaluation_batches(tokens.lengths, batch_size)}
    batches = list(shapes.values())  # by rising length
    for place in np.unique(np.linspace(0, len(batches) - 1, _MOST_EVALUATED).round().astype(int)):
        predict_logits(attached, tokens.take(batches[place]), batch_size=batch_size)


def _step_seconds(passes: Passes, members: Sequence[Member], index: int, micro_batch_size: int | None) -> float:
    """Take one whole step on a batch of the first epoch and return its seconds; the members are not to be kept."""
    for member in members:
        member.position = Position(batch=index)
        member.left = False

    def stop() -> None:
        for member in members:
            member.left = True

    clock = Clock()
    train(passes, members, clock, Callbacks(stop, lambda ended: None), micro_batch_size=micro_batch_size)
    if passes.backbone.device.type == "cuda":
        torch.cuda.synchronize()
    return clock.seconds


def _epoch(widths: np.ndarray, chosen: Sequence[int], cold: np.ndarray, warm: np.ndarray) -> tuple[float, float]:
    """Return the seconds of an epoch, and those of meeting every width for the first time."""
    known = widths[list(chosen)][::-1]
    first = np.maximum(0.0, cold - warm)[::-1]
    return (
        float(np.interp(widths, known, warm[::-1]).sum()),
        float(np.interp(np.unique(widths), known, first).sum()),
    )

"""Compute a run's figures on a machine that is not here: memory by its rehearsal, time by what the rehearsal computed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from afina.adapters.adapter import build_adapter
from afina.backbone.quantise import packed, stored_precision
from afina.backbone.shapes import shape_backbone
from afina.backbone.storage.base import elsewhere, imitated, worth_trying
from afina.config import StudyConfig
from afina.data.tokens.batching import epoch_batches, padded_width
from afina.measure.caching import Comings
from afina.measure.storages import Work
from afina.precision import EXACT
from afina.study.devices.card_memory import memory_on_card
from afina.study.devices.device import Device
from afina.study.devices.work import added, narrowed, parts_of
from afina.study.needs import Always, Likely, MemoryNeeds, memory_of
from afina.study.plan import Run
from afina.study.rehearsal import BACKWARD, BELOW, EVALUATION, FORWARD, Rehearsed
from afina.study.sizes import Sizes
from afina.study.staging import rehearsed_run
from afina.train.passes import lowest_layer

__all__ = ["Computed", "Figures", "computed", "imitated_there", "precision_there"]

_MOST_ROWS = 20_000
"""Rows of an epoch whose widths are looked at; more have few other ones."""
_STEP_BYTES = 28
"""Bytes that an optimiser's step reads and writes of each number: value, gradient and two moments, in float32."""
_STEP_CALLS = 4
"""Its calls for each tensor."""
_READ_AGAIN = 4.5
"""Bytes that are read and written to dequantise a number for a product."""


@dataclass(frozen=True)
class Figures:
    """Holds what one run takes on a machine; times are None where nothing is known of its speed."""

    memory: MemoryNeeds
    operations: float
    """Multiplications and additions of a step's products."""
    step_seconds: Likely | None = None
    train_seconds: Likely | None = None
    evaluate_seconds: Likely | None = None


@dataclass(frozen=True)
class Computed:
    """Holds what a run computes, whatever the machine is."""

    memory: MemoryNeeds
    step: Work
    steps: int
    before: Work
    """The work before the first step, once."""
    evaluated: Work
    """The work of all its evaluations."""

    def on(self, device: Device) -> Figures:
        """Return its figures on a machine of the kind that it was computed for."""
        operations = self.step.operations
        if device.speed is None:
            return Figures(self.memory, operations)
        step, before = device.speed.seconds(self.step), device.speed.seconds(self.before)
        train = Likely(*(self.steps * one + once for one, once in zip(_ends(step), _ends(before), strict=True)))
        return Figures(self.memory, operations, step, train, device.speed.seconds(self.evaluated))


def _ends(likely: Likely) -> tuple[float, float, float]:
    return likely.low, likely.value, likely.high


def precision_there(config: StudyConfig, shape: Any, device: Device) -> str:
    """Return what `precision: auto` is taken to be on a machine: a narrower one where it computes in that."""
    if config.precision != "auto":
        return config.precision
    if (stored := stored_precision(shape)) is not None:
        return stored
    with elsewhere(device.bfloat16):
        return next((kind.name for kind in worth_trying(device.kind)), EXACT)


def imitated_there(device: Device) -> list[str]:
    """Return the precisions that a machine has no arithmetic of its own for."""
    with elsewhere(device.bfloat16):
        return imitated(device.kind)


def computed(
    run: Run, config: StudyConfig, shape: Any, sizes: Sizes, device: Device, precision: str,
    rehearse: Callable[..., tuple[Rehearsed, Always]] = rehearsed_run,
) -> Computed:  # fmt: skip
    """Return what a run takes and computes, by `rehearse`; raises `AfinaError` for one that cannot be."""
    free, events = run.method.gradient_free, Comings()
    less, times = _two_micro_batches(config)
    with elsewhere(device.bfloat16):
        rehearsed, made = rehearse(run, less, shape, sizes, device=device.kind, precision=precision, observer=events)
    if device.kind == "cpu":
        memory = _from_tensors(memory_of(rehearsed, made, trains=not free, on_cpu=True), rehearsed, made)
    else:
        memory = memory_on_card(rehearsed, made, events.events, trains=not free)
    work = {part: added((own, 1.0 if part == EVALUATION else times)) for part, own in rehearsed.work.items()}
    return _with_work(run, config, shape, sizes, precision, replace(rehearsed, work=work), made, memory)


def _from_tensors(memory: MemoryNeeds, rehearsed: Rehearsed, made: Always) -> MemoryNeeds:
    """Return what a run takes of a computer's memory from its tensors alone on: what lies beside them may be less there.

    So a run that is refused has no room, whatever the machine's libraries keep.
    """
    always = made.weights + made.values + made.kept_states  # moments are rehearsed with the passes

    def beginning(likely: Likely, *parts: str) -> Likely:
        return replace(likely, low=min(likely.low, always + rehearsed.peak(*parts)))

    return replace(
        memory, train=beginning(memory.train, FORWARD, BACKWARD), evaluate=beginning(memory.evaluate, EVALUATION)
    )  # fmt: skip


def _two_micro_batches(config: StudyConfig) -> tuple[StudyConfig, float]:
    """Return a study of whose batches two micro-batches are left, where they have more, and in how many parts they were.

    The second meets the gradients of the first, and those that follow are like it.
    """
    rows = _micro(config)
    if config.batch_size <= 2 * rows:
        return config, 1.0
    return config.model_copy(update={"batch_size": 2 * rows}), config.batch_size / (2 * rows)


def _with_work(
    run: Run, config: StudyConfig, shape: Any, sizes: Sizes, precision: str, rehearsed: Rehearsed, made: Always,
    memory: MemoryNeeds,
) -> Computed:  # fmt: skip
    method = run.method
    whole = shape_backbone(shape, speaks=sizes.speaks, tags=sizes.tags)
    adapter = build_adapter(method, whole, sizes.classes, seed=0)
    layers, most = whole.anatomy.layer_count, min(config.length_of(config.dataset[run.dataset]), sizes.longest)
    train_rows, test_rows = sizes.train_rows, sizes.test_rows

    # Of an evaluation's longest batch to rows of mean length.
    longest = max(rehearsed.evaluations, key=lambda batch: batch.tokens)
    at_once = longest.rows / (sizes.sequences if sizes.speaks else 1)
    row = narrowed(longest.work[EVALUATION], min(1.0, sizes.tokens / longest.width))
    lower = 0.0 if method.owns_backbone or _has_no_trunk(whole) else min(lowest_layer(adapter), layers) / layers
    once = bool(made.kept_states)  # what the layers below make of a row is computed once
    seen = min(train_rows, config.train_evaluation_limit or train_rows)
    if method.gradient_free:
        passed = (train_rows + test_rows + 2 * sizes.beside) / at_once
        return Computed(memory, Work(), 0, Work(), added((row, passed)))
    passed = (test_rows + seen + 2 * sizes.beside) / at_once
    times = (1 - lower) * config.evaluations + lower if once else config.evaluations
    step = narrowed(
        parts_of(rehearsed.work, BELOW, FORWARD, BACKWARD), min(1.0, _mean_width(sizes, config, most) / most)
    )
    if once:
        step = added((step, 1.0), (row, -lower * config.batch_size / at_once))
    trainable = adapter.trainable(whole).values()
    numbers = sum(value.numel() for value in trainable)
    beside = Work(Counter(), _STEP_BYTES * numbers, _STEP_CALLS * len(trainable))
    if packed(precision) is not None:
        # Plain weights would take two bytes a number, these half of one to one.
        quantised = max(0.0, 2 * whole.parameter_count - made.weights) / 1.5
        passes = (3 if config.gradient_checkpointing else 2) * -(-config.batch_size // _micro(config))
        beside.moved_bytes += round(_READ_AGAIN * quantised * passes)
    return Computed(
        memory, added((step, 1.0), (beside, 1.0)), -(-train_rows // config.batch_size) * config.epochs,
        added((row, lower * train_rows / at_once)) if once else Work(), added((row, passed * times)),
    )  # fmt: skip


def _has_no_trunk(whole: Any) -> bool:
    """Return whether a model has no layers below which something could be kept: an encoder with a decoder, say."""
    return bool(whole.anatomy.row.further) or not whole.anatomy.layer_count


def _micro(config: StudyConfig) -> int:
    return min(config.micro_batch_size or config.batch_size, config.batch_size)


def _mean_width(sizes: Sizes, config: StudyConfig, most: int) -> float:
    """Return the mean width of an epoch's batches, padding included."""
    if sizes.lengths is None:
        return min(sizes.tokens, most)
    count = min(sizes.train_rows, _MOST_ROWS)
    drawn = np.minimum(sizes.lengths, most)
    if len(drawn) < count:
        drawn = np.random.default_rng(0).choice(drawn, count)
    batches = epoch_batches(drawn[:count], config.batch_size, seed=config.seeds[0], epoch=0)
    return float(np.mean([padded_width(int(drawn[rows].max()), 1 << 30) for rows in batches]))

"""Time a run on a GPU: one and two layers of the model's shape take steps, and a straight line goes on from there."""

from dataclasses import dataclass
from typing import Any

import torch

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.inputs import random_inputs
from afina.backbone.load import Backbone
from afina.backbone.shapes import shape_backbone
from afina.backbone.storage.base import STORAGES
from afina.config import StudyConfig
from afina.data.tokens.tokens import IGNORED
from afina.errors import AfinaError
from afina.measure.timing import Stopwatch, lower_quartile
from afina.methods.base import Method
from afina.ops.dropout import DropoutSource
from afina.optimisers.base import make_optimiser
from afina.study.needs import Likely
from afina.study.plan import Run
from afina.study.sizes import Sizes
from afina.study.time_needs import TimeNeeds
from afina.train.optimiser import By, Optimiser, steps_by
from afina.train.passes import lowest_layer

__all__ = ["TimedStep", "measured_depth", "timed_layers"]

_STEPS = 5
_STEP_OPERATIONS = 1e11
"""Operations of a timed step, at most; of larger ones fewer rows are timed, and their time is scaled."""
_WIDE = 2.0
"""The factor of the range either way: no run on a GPU was held against it yet."""


@dataclass(frozen=True)
class TimedStep:
    """Says what a step is timed with."""

    rows: int
    length: int
    device: str
    precision: str
    checkpointing: bool = False


@dataclass(frozen=True)
class _Depth:
    step_seconds: float
    forward_seconds: float


def timed_layers(
    run: Run,
    config: StudyConfig,
    shape: Any,
    sizes: Sizes,
    device: str,
    precision: str,
    whole: Backbone,
    adapter: Adapter,
) -> TimeNeeds:
    """Return the time of a run by timed layers; `whole` is the whole model's shape, with its adapter."""
    method = run.method
    rows, inner = config.micro_batch_size or config.batch_size, method.in_every_layer()
    length = int(min(config.length_of(config.dataset[run.dataset]), max(4, round(sizes.tokens))))
    timed = TimedStep(rows, length, device, precision, config.gradient_checkpointing)
    one, two = (measured_depth(shape, n, inner, sizes, timed) for n in (1, 2))
    layers = whole.anatomy.layer_count

    # No gradient goes below the lowest layer that has a branch; a head has none. A decoder's layers come after its encoder's.
    changed = bool(adapter.placed()) or method.owns_backbone
    above = layers if changed and whole.anatomy.row.further else max(0, layers - lowest_layer(adapter))
    step = _follow(one.step_seconds, two.step_seconds, above) * config.batch_size / rows
    forward = _follow(one.forward_seconds, two.forward_seconds, layers) / rows
    lower = (layers - above) * max(0.0, two.forward_seconds - one.forward_seconds) / rows
    steps = -(-sizes.train_rows // config.batch_size)
    if method.gradient_free:
        train, evaluate = (forward * sizes.evaluated(rows) for rows in (sizes.train_rows, sizes.test_rows))
        step = 0.0
    else:
        once = bool(whole.trunk_layers)  # what the layers below make of a row is computed once
        step += 0.0 if once else lower * config.batch_size
        train = step * steps * config.epochs + (lower * sizes.train_rows if once else 0.0)
        upper = max(0.0, forward - lower)
        seen = min(sizes.train_rows, config.train_evaluation_limit or sizes.train_rows)
        evaluated = sizes.evaluated(sizes.test_rows) + sizes.evaluated(seen)
        evaluate = evaluated * (upper * config.evaluations + lower * (1 if once else config.evaluations))
    training, evaluating = (Likely(float(own) / _WIDE, float(own), float(own) * _WIDE) for own in (train, evaluate))
    return TimeNeeds(training, evaluating, step)


def _follow(one: float, two: float, layers: int) -> float:
    """Follow the line from the costs of one and two layers to `layers` of them; with none the rest of the model is left."""
    return max(0.0, one - (two - one)) if layers == 0 else max(one, one + (two - one) * (layers - 1))


def _shallow(
    shape: Any, layers: int, method: Method, sizes: Sizes, device: str, precision: str
) -> tuple[Backbone, Adapter]:
    """Build the shape with few layers and random weights, as a run would load it, and the method's adapter for it."""
    owned = method.owns_backbone
    dtype = torch.float32 if owned else STORAGES[precision].compute(device)
    backbone = shape_backbone(
        shape, layers=layers, device=device, dtype=dtype, speaks=sizes.speaks, tags=sizes.tags, precision=precision,
        runs_on=device,
    )  # fmt: skip
    if owned:
        backbone.model.requires_grad_(True)
        backbone.autocast = STORAGES[precision].autocast()
    return backbone, build_adapter(method, backbone, sizes.classes, seed=0)


def _random_loss(attached: Attachment, shape: Any, rows: int, length: int, sizes: Sizes) -> torch.Tensor:
    device = attached.backbone.device
    inputs = random_inputs(shape, rows * sizes.sequences, length, device)
    targets: torch.Tensor | None = None
    if sizes.speaks:  # an answer of one token, or as many as are trained, at the end
        trained = max(1, min(length - 1, round(sizes.trained * length)))
        targets = torch.full_like(inputs["input_ids"], IGNORED)
        targets[:, -1 - trained : -1] = inputs["input_ids"][:, -trained:]
    logits = attached(inputs, targets=targets)[0]
    labels = torch.zeros(rows if sizes.speaks or sizes.tags else len(logits), dtype=torch.long, device=device)
    if sizes.trained:
        return logits[:, 0].sum() / logits[:, 1].sum()
    if sizes.tags:
        logits, labels = logits.flatten(0, 1), labels.repeat_interleave(length)
    return torch.nn.functional.cross_entropy(logits[..., 0] if sizes.speaks else logits, labels)


def measured_depth(shape: Any, layers: int, method: Method, sizes: Sizes, step: TimedStep) -> _Depth:
    """Measure the time of a training step and of a forward pass, the lower quartile of some."""
    rows, length, device = step.rows, step.length, step.device
    backbone, adapter = _shallow(shape, layers, method, sizes, device, step.precision)

    # Two operations a weight and token forward, four backward; embeddings are looked up.
    operations = 6 * sum(v.numel() for n, v in backbone.model.named_parameters() if "embed" not in n) * rows * length
    # A large model's step would take minutes here: fewer rows are timed, as time is linear in them.
    timed = max(1, min(rows, int(rows * _STEP_OPERATIONS / operations))) if device == "cpu" else rows
    trainable = adapter.trainable(backbone)
    if not trainable and not method.gradient_free:
        raise AfinaError(f"{method.name} has nothing to train: a text's vector has no head.")
    optimiser = None if method.gradient_free else _timed_optimiser(method, adapter, backbone)
    steps, forwards, updates = [], [], []
    with Attachment(backbone, [adapter], DropoutSource(0), checkpointing=step.checkpointing) as attached:
        for turn in range(_STEPS + 1):
            attached.train(False)
            watch = Stopwatch(device)
            with torch.inference_mode():
                _random_loss(attached, shape, timed, length, sizes)
            forwards.append(_passed(watch, device))
            if optimiser is None:
                continue
            attached.train(True)
            watch = Stopwatch(device)
            _random_loss(attached, shape, timed, length, sizes).backward()  # type: ignore[no-untyped-call]
            passed = _passed(watch, device)
            optimiser.step(turn + 1)
            optimiser.clear()

            # The optimiser's share does not grow with the rows.
            updates.append(_passed(watch, device) - passed)
            steps.append(passed * rows / timed + updates[-1])

    # The first turn is left out: it meets the width for the first time. What an optimiser does in its first step alone
    # comes again.
    seconds = lower_quartile(steps[1:]) if steps else 0.0
    if optimiser is not None and (every := optimiser.kind.every):
        seconds += max(0.0, updates[0] - lower_quartile(updates[1:])) / optimiser.kind.settings()[every]
    return _Depth(seconds, lower_quartile(forwards[1:]) * rows / timed)


def _timed_optimiser(method: Method, adapter: Adapter, backbone: Backbone) -> Optimiser:
    """Return the method's optimiser; AdamW over all for one that takes turns, whose steps differ."""
    kind, layers = steps_by(method, backbone.device.type), adapter.layers(backbone)
    kind = make_optimiser("adamw") if kind.by_turns else kind
    return Optimiser(adapter.trainable(backbone), learning_rate=1e-9, total_steps=100, by=By(kind, layers))


def _passed(watch: Stopwatch, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return watch.seconds()

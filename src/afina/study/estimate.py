"""Predict each run's memory by a rehearsal, and its time from real steps of one and two layers, scaled to all.

The memory is that of a step and an evaluation of the longest rows, taken without numbers (`rehearsal.py`). A step's time
grows by the same amount with every layer: so the model's own shape with one layer and with two, random weights, is trained
for a few steps here and now at the data's mean length, and the line through both is followed to the full depth. No weights
are loaded, no network is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.inputs import random_inputs
from afina.backbone.load import Backbone
from afina.backbone.quantise import stored_precision
from afina.backbone.shapes import read_shape, shape_backbone
from afina.backbone.storage.base import STORAGES, worth_trying
from afina.config import StudyConfig
from afina.data.tokens.batching import steps_per_epoch
from afina.data.tokens.tokens import IGNORED
from afina.errors import AfinaError
from afina.measure.timing import Stopwatch, lower_quartile
from afina.methods.base import Method, probing_method
from afina.ops.dropout import DropoutSource
from afina.optimisers.base import make_optimiser
from afina.precision import EXACT
from afina.study.needs import MemoryNeeds, memory_of, memory_of_words
from afina.study.plan import Run, expand
from afina.study.room import KeptBytes, kept_bytes
from afina.study.sizes import Sizes, sizes_of
from afina.study.staging import rehearsed_run
from afina.train.optimiser import By, Optimiser, steps_by
from afina.train.passes import lowest_layer

__all__ = ["CostEstimate", "Sizes", "estimate_study"]

_STEPS = 5
_STEP_OPERATIONS = 1e11
"""Operations of a timed step, at most; of larger ones fewer rows are timed, and their time is scaled."""
_TWO_CLASSES = Sizes(0, 0, 0.0, 0, 2, "")


@dataclass(frozen=True)
class CostEstimate:
    """Predicted cost of one run."""

    run: Run
    trainable_parameters: int
    total_parameters: int
    step_seconds: float
    train_seconds: float
    evaluate_seconds: float
    memory: MemoryNeeds
    disk_bytes: float

    @property
    def peak_memory_bytes(self) -> float:
        """Return the most memory of training, as a result has it: as likely too little as too much."""
        return self.memory.train.value


@dataclass(frozen=True)
class _Step:
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


def estimate_study(
    config: StudyConfig, *, tell: Callable[[str], None] = lambda what: None
) -> tuple[list[CostEstimate], list[tuple[Run, str]]]:
    """Return an estimate for each run of a study, and the runs that could not be with the reason.

    Seeds of one cell share one estimate. Raises `UsageError` for a model or data set that is nowhere.
    """
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    shapes = {model: read_shape(model, trust_remote_code=config.trust_remote_code) for model in config.model}
    cells = [(model, index, spec) for model in config.model for index, spec in enumerate(config.dataset)]
    sizes = {(model, index): sizes_of(config, spec, model) for model, index, spec in cells}
    precisions = {model: _precision(config, shape, device, tell) for model, shape in shapes.items()}
    done: dict[tuple[str, int, str], CostEstimate] = {}
    failed: list[tuple[Run, str]] = []
    estimates = []
    for bare in expand(config):
        size = sizes[bare.model, bare.dataset]
        steps = steps_per_epoch(size.train_rows, config.batch_size) * config.epochs
        run = bare.with_rate(steps=steps, width=shapes[bare.model].hidden_size, speaks=size.speaks)
        key = (run.model, run.dataset, run.label)
        try:
            if key not in done:
                tell(f"{run.label} on {run.dataset_name}, {Path(run.model).name}")
                precision = run.method.precision_on(precisions[run.model])
                done[key] = (
                    _estimate(run, config, shapes[run.model], size, device, precision)
                    if run.method.reads_model
                    else _of_words(run, size)
                )
        except AfinaError as error:
            failed.append((run, str(error)))
            continue
        estimates.append(CostEstimate(**{**vars(done[key]), "run": run}))
    return estimates, failed


def _estimate(run: Run, config: StudyConfig, shape: Any, sizes: Sizes, device: str, precision: str) -> CostEstimate:
    method = run.method
    whole = shape_backbone(shape, speaks=sizes.speaks, tags=sizes.tags)
    adapter = build_adapter(method, whole, sizes.classes, seed=0)
    weights = whole.parameter_count
    trainable = sum(value.numel() for value in adapter.trainable(whole).values())
    beside = KeptBytes() if method.gradient_free else kept_bytes(method, adapter, whole, device)
    rehearsed, standing = rehearsed_run(run, config, shape, sizes, device=device, precision=precision)
    memory = memory_of(rehearsed, standing, trains=not method.gradient_free, on_cpu=device == "cpu")
    rows, inner = config.micro_batch_size or config.batch_size, method.in_every_layer()
    length = int(min(config.length_of(config.dataset[run.dataset]), max(4, round(sizes.tokens))))
    timed = _Step(rows, length, device, precision, config.gradient_checkpointing)
    one, two = (_measure(shape, n, inner, sizes, timed) for n in (1, 2))
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
    tokens = (sizes.train_rows + sizes.test_rows) * sizes.tokens
    return CostEstimate(
        run=run, trainable_parameters=trainable, total_parameters=weights + _numel(adapter), step_seconds=step,
        train_seconds=float(train), evaluate_seconds=float(evaluate),
        memory=memory,
        # The adapter, a checkpoint while it runs (weights and moments), predictions, and the data's tokens.
        disk_bytes=4 * _kept(config) * trainable + beside.moments + sizes.test_rows * (24 + 4 * sizes.classes) + 4 * tokens,
    )  # fmt: skip


def _kept(config: StudyConfig) -> int:
    """Return how often a run's parameters are on the disk: adapter, checkpoint, and what `afina inspect` looks at."""
    return 2 + (config.keep_checkpoints + 1 if config.keep_checkpoints else 0)


def _of_words(run: Run, sizes: Sizes) -> CostEstimate:
    """Return the costs of a run that looks at words: no model is loaded, and they are counted in seconds."""
    tokens = (sizes.train_rows + sizes.test_rows) * sizes.tokens
    return CostEstimate(
        run=run, trainable_parameters=0, total_parameters=0, step_seconds=0.0, train_seconds=0.0, evaluate_seconds=0.0,
        memory=memory_of_words(), disk_bytes=4 * tokens,
    )  # fmt: skip


def _dtype(precision: str, device: str) -> torch.dtype:
    """Return the type of number that a precision computes in."""
    return STORAGES[precision].compute(device)


def _numel(adapter: Adapter) -> int:
    return sum(value.numel() for value in adapter.parameters())


def _follow(one: float, two: float, layers: int) -> float:
    """Follow the line from the costs of one and two layers to `layers` of them; with none the rest of the model is left."""
    return max(0.0, one - (two - one)) if layers == 0 else max(one, one + (two - one) * (layers - 1))


def _precision(config: StudyConfig, shape: Any, device: str, tell: Callable[[str], None]) -> str:
    """Return what `precision: auto` will choose, by timing two layers."""
    if config.precision != "auto":
        return config.precision
    if (stored := stored_precision(shape)) is not None:
        return stored
    if not (tried := worth_trying(device)):
        return EXACT
    tell("precision")
    method = probing_method(rank=1)
    seconds = {
        precision: _measure(
            shape, 2, method, _TWO_CLASSES, _Step(config.batch_size, 32, device, precision)
        ).step_seconds
        for precision in (EXACT, *(kind.name for kind in tried))
    }
    return min(reversed(seconds), key=lambda precision: seconds[precision])  # of equals not the exact one


def _shallow(
    shape: Any, layers: int, method: Method, sizes: Sizes, device: str, precision: str
) -> tuple[Backbone, Adapter]:
    """Build the shape with few layers and random weights, as a run would load it, and the method's adapter for it."""
    owned = method.owns_backbone
    dtype = torch.float32 if owned else _dtype(precision, device)
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


def _measure(shape: Any, layers: int, method: Method, sizes: Sizes, step: _Step) -> _Depth:
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

"""What each run will cost, before it starts: time and memory from real steps of one and two layers, scaled to all.

A step's time and the tensors that autograd keeps for its backward pass grow by the same amount with every layer. So the
model's own shape with one layer and with two, random weights, is trained for a few steps here and now, and the line
through both is followed to the full depth. No weights are loaded and no network is needed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from afina.backbone.anatomy import read_anatomy
from afina.backbone.attach import Attached
from afina.backbone.load import Backbone, load_tokenizer
from afina.backbone.shapes import bare_model, read_shape
from afina.config import DatasetSpec, StudyConfig
from afina.data.presets import PRESETS
from afina.data.sources import Rows, load_text_dataset
from afina.errors import AfinaError, UsageError
from afina.methods.adapter import Adapter, build_adapter
from afina.methods.base import Method
from afina.ops.dropout import DropoutSource
from afina.study.plan import Run, expand
from afina.train.optimiser import Optimiser

__all__ = ["Estimate", "Sizes", "estimate_study"]

_STEPS = 4
_RUNTIME_BYTES = 200_000_000
"""What a process takes beside weights and activations: code that is loaded with the first step, and the allocator's
slack; the median of what the demo's runs took beyond the sum (docs/plan.md)."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Sizes:
    """Rows and mean tokens a row of a data set, and its classes."""

    train_rows: int
    test_rows: int
    tokens: float
    classes: int
    source: str


@dataclass(frozen=True)
class Estimate:
    """Predicted cost of one run."""

    run: Run
    trainable_parameters: int
    total_parameters: int
    step_seconds: float
    train_seconds: float
    evaluate_seconds: float
    peak_memory_bytes: float
    disk_bytes: float


@dataclass(frozen=True)
class _Depth:
    step_seconds: float
    forward_seconds: float
    saved_bytes: float


def estimate_study(
    config: StudyConfig, *, tick: Callable[[str], None] = lambda what: None
) -> tuple[list[Estimate], list[tuple[Run, str]]]:
    """Return an estimate for each run of a study, and the runs that could not be with the reason.

    Seeds of one cell share one estimate. Raises `UsageError` for a model or data set that is nowhere.
    """
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    precision = "fp32" if config.precision == "auto" else config.precision
    shapes = {model: read_shape(model, trust_remote_code=config.trust_remote_code) for model in config.model}
    sizes = {
        (model, index): _sizes(config, spec, model)
        for model in config.model
        for index, spec in enumerate(config.dataset)
    }
    done: dict[tuple[str, int, str], Estimate] = {}
    failed: list[tuple[Run, str]] = []
    estimates = []
    for run in expand(config):
        key = (run.model, run.dataset, run.label)
        try:
            if key not in done:
                tick(f"{run.label} on {run.dataset_name}, {Path(run.model).name}")
                done[key] = _estimate(run, config, shapes[run.model], sizes[run.model, run.dataset], device, precision)
        except AfinaError as error:
            failed.append((run, str(error)))
            continue
        estimates.append(Estimate(**{**vars(done[key]), "run": run}))
    return estimates, failed


def _estimate(run: Run, config: StudyConfig, shape: Any, sizes: Sizes, device: str, precision: str) -> Estimate:
    method = run.make_method()
    bare = bare_model(shape)
    whole = Backbone(run.model, bare, None, shape, read_anatomy(bare, shape))
    adapter = build_adapter(method, whole, sizes.classes, seed=0)
    weights = sum(value.numel() for value in bare.parameters())
    trainable = sum(value.numel() for value in adapter.trainable(whole).values())
    length = int(min(config.max_length, max(4, round(sizes.tokens))))
    rows = config.micro_batch_size or config.batch_size
    one, two = (_measure(shape, n, method, sizes.classes, rows, length, device, precision) for n in (1, 2))
    layers = whole.anatomy.layer_count
    step = _follow(one.step_seconds, two.step_seconds, layers) * config.batch_size / rows
    forward = _follow(one.forward_seconds, two.forward_seconds, layers) / rows
    saved = _follow(one.saved_bytes, two.saved_bytes, layers)
    own_bytes = 4 if method.owns_backbone else _DTYPES[precision].itemsize
    state = 0 if method.gradient_free else 16 * trainable - (4 * weights if method.owns_backbone else 0)
    evaluated = sizes.test_rows + min(sizes.train_rows, config.train_evaluation_limit or sizes.train_rows)
    if method.gradient_free:
        train, evaluate, step, saved = forward * sizes.train_rows, forward * sizes.test_rows, 0.0, 0.0
    else:
        train = step * np.ceil(sizes.train_rows / config.batch_size) * config.epochs
        evaluate = forward * evaluated * config.epochs
    tokens = (sizes.train_rows + sizes.test_rows) * sizes.tokens
    return Estimate(
        run=run, trainable_parameters=trainable, total_parameters=weights + _numel(adapter), step_seconds=step,
        train_seconds=float(train), evaluate_seconds=float(evaluate),
        peak_memory_bytes=weights * own_bytes + state + saved + _RUNTIME_BYTES,
        # The adapter, a checkpoint while it runs (weights and two moments), predictions, and the data's tokens.
        disk_bytes=4 * trainable * 4 + sizes.test_rows * (24 + 4 * sizes.classes) + 4 * tokens,
    )  # fmt: skip


def _numel(adapter: Adapter) -> int:
    return sum(value.numel() for value in adapter.parameters())


def _follow(one: float, two: float, layers: int) -> float:
    return max(one, one + (two - one) * (layers - 1))


def _measure(
    shape: Any, layers: int, method: Method, classes: int, rows: int, length: int, device: str, precision: str
) -> _Depth:
    """Median time of a training step and of a forward pass, and the bytes kept for the backward pass."""
    own = method.owns_backbone
    model = bare_model(shape, layers=layers, device=device, dtype=torch.float32 if own else _DTYPES[precision])
    backbone = Backbone("", model, None, model.config, read_anatomy(model, model.config))
    if own:
        model.requires_grad_(True)
        backbone.autocast = _DTYPES[precision] if precision != "fp32" else None
    adapter = build_adapter(method, backbone, classes, seed=0)
    optimiser = Optimiser(adapter.trainable(backbone), learning_rate=1e-9, total_steps=100)
    inputs = {"input_ids": torch.randint(10, shape.vocab_size - 1, (rows, length), device=device)}
    labels = torch.zeros(rows, dtype=torch.long, device=device)
    steps, forwards, saved = [], [], 0.0
    with Attached(backbone, [adapter], DropoutSource(0)) as attached:
        for turn in range(_STEPS + 1):
            attached.train(False)
            started = _now(device)
            with torch.inference_mode():
                attached(inputs)
            forwards.append(_now(device) - started)
            if method.gradient_free:
                continue
            attached.train(True)
            with _SavedBytes(backbone, adapter) as count:
                if turn:
                    count.stop()
                started = _now(device)
                loss = torch.nn.functional.cross_entropy(attached(inputs)[0][:, :classes], labels * 0)
                loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step(turn + 1)
            optimiser.clear()
            steps.append(_now(device) - started)
            saved = max(saved, count.bytes)
    return _Depth(float(np.median(steps[1:])) if steps else 0.0, float(np.median(forwards[1:])), saved)


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter()


class _SavedBytes:
    """Counts the bytes that autograd keeps for the backward pass, weights aside, every storage once."""

    def __init__(self, backbone: Backbone, adapter: Adapter) -> None:
        values = [*backbone.model.parameters(), *adapter.parameters()]
        self._seen = {value.untyped_storage().data_ptr() for value in values}
        self._hooks: Any = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self._counting, self.bytes = True, 0

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if self._counting and storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor

    def stop(self) -> None:
        self._counting = False

    def __enter__(self) -> "_SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)


def _sizes(config: StudyConfig, spec: DatasetSpec, model: str) -> Sizes:
    if spec.path in PRESETS:
        preset = PRESETS[spec.path]
        sizes = Sizes(
            preset.rows["train"], preset.rows["test"], preset.tokens, len(preset.label_names), "published size"
        )
        return _limited(sizes, config)
    data = load_text_dataset(spec, task=config.task, train_limit=config.train_limit, test_limit=config.test_limit)
    tokens, source = _mean_tokens(data.train, model, config)
    return Sizes(len(data.train), len(data.test), tokens, len(data.label_names or [0]), source)


def _limited(sizes: Sizes, config: StudyConfig) -> Sizes:
    limits: Mapping[str, int] = {
        "train_rows": min(sizes.train_rows, config.train_limit or sizes.train_rows),
        "test_rows": min(sizes.test_rows, config.test_limit or sizes.test_rows),
    }
    return Sizes(**{**vars(sizes), **limits})


def _mean_tokens(rows: Rows, model: str, config: StudyConfig) -> tuple[float, str]:
    sample = rows.take(np.arange(0, len(rows), max(1, len(rows) // 500)))
    try:
        from afina.data.batching import tokenize

        tokenizer, longest = load_tokenizer(model)
        return float(tokenize(tokenizer, sample, min(config.max_length, longest)).lengths.mean()), "500 rows tokenised"
    except UsageError:
        words = [len(f"{a} {b}".split()) for a, b in zip(sample.text, sample.text_pair or sample.text, strict=True)]
        halve = 1 if sample.text_pair else 2
        return 1.35 * float(np.mean(words)) / halve + 2, "words counted"

"""Estimate what every run of a study costs: by rehearsals without weights, and by how fast this machine is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.quantise import stored_precision
from afina.backbone.shapes import shape_backbone
from afina.backbone.storage.base import worth_trying
from afina.config import StudyConfig
from afina.data.tokens.batching import steps_per_epoch
from afina.errors import AfinaError
from afina.measure.calibration import Machine
from afina.methods.base import probing_method
from afina.precision import EXACT
from afina.study.devices.cells import Cells
from afina.study.needs import Likely, MemoryNeeds, memory_of, memory_of_words
from afina.study.plan import Run, expand
from afina.study.remembered import FinishedHere, cell_of, remember_planned
from afina.study.room import KeptBytes, kept_bytes
from afina.study.sizes import Sizes
from afina.study.time_needs import TimeNeeds, time_of
from afina.study.timed_layers import TimedStep, measured_depth, timed_layers

__all__ = ["CostEstimate", "Sizes", "device_of", "estimate_study"]

_NOTHING = Likely(0.0, 0.0, 0.0)
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
    time: TimeNeeds
    disk_bytes: float
    corrected_by: int = 0
    """Finished runs of this machine by which memory and time were corrected."""

    @property
    def peak_memory_bytes(self) -> float:
        """Return the most memory of training, as a result has it: as likely too little as too much."""
        return self.memory.train.value


def estimate_study(
    config: StudyConfig, *, cells: Cells | None = None, tell: Callable[[str], None] = lambda what: None
) -> tuple[list[CostEstimate], list[tuple[Run, str]]]:
    """Return an estimate for each run of a study, and the runs that could not be with the reason.

    Seeds of one cell share one estimate; `cells` keeps what was looked at. Raises `UsageError` for a model or data set that
    is nowhere.
    """
    cells = Cells(config) if cells is None else cells
    cells.look_at_all()
    device = device_of(config)
    precisions = {model: _precision(config, cells.shape(model), device, tell) for model in config.model}
    machine, remembered = Machine.known(), FinishedHere.read()
    done: dict[tuple[str, int, str], CostEstimate] = {}
    failed: list[tuple[Run, str]] = []
    estimates = []
    for bare in expand(config):
        size = cells.sizes(bare.model, bare.dataset)
        steps = steps_per_epoch(size.train_rows, config.batch_size) * config.epochs
        run = bare.with_rate(steps=steps, width=cells.shape(bare.model).hidden_size, speaks=size.speaks)
        key = (run.model, run.dataset, run.label)
        try:
            if key not in done:
                tell(f"{run.label} on {run.dataset_name}, {Path(run.model).name}")
                precision = run.method.precision_on(precisions[run.model])
                done[key] = (
                    _estimate(run, cells, device, precision, machine, remembered)
                    if run.method.reads_model
                    else _of_words(run, size)
                )
        except AfinaError as error:
            failed.append((run, str(error)))
            continue
        estimates.append(CostEstimate(**{**vars(done[key]), "run": run}))
    return estimates, failed


def device_of(config: StudyConfig) -> str:
    """Return the kind of device that a study's runs are on here."""
    return config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")


def _estimate(
    run: Run, cells: Cells, device: str, precision: str, machine: Machine, remembered: FinishedHere
) -> CostEstimate:
    config, method = cells.config, run.method
    shape, sizes = cells.shape(run.model), cells.sizes(run.model, run.dataset)
    whole = shape_backbone(shape, speaks=sizes.speaks, tags=sizes.tags)
    adapter = build_adapter(method, whole, sizes.classes, seed=0)
    weights = whole.parameter_count
    trainable = sum(value.numel() for value in adapter.trainable(whole).values())
    beside = KeptBytes() if method.gradient_free else kept_bytes(method, adapter, whole, device)
    rehearsed, standing = cells.rehearsed(run, config, shape, sizes, device=device, precision=precision)
    memory = memory_of(rehearsed, standing, trains=not method.gradient_free, on_cpu=device == "cpu")
    most = min(config.length_of(config.dataset[run.dataset]), sizes.longest)
    if device == "cpu":
        time = time_of(rehearsed, standing, sizes, config, most, machine, trains=not method.gradient_free)
        remember_planned(cell_of(config, run, precision), sizes.train_rows, memory, time)
        memory, time = remembered.corrected(memory, time)
    else:
        time = timed_layers(run, config, shape, sizes, device, precision, whole, adapter)
    tokens = (sizes.train_rows + sizes.test_rows) * sizes.tokens
    return CostEstimate(
        run=run, trainable_parameters=trainable, total_parameters=weights + _numel(adapter), step_seconds=time.step_seconds,
        train_seconds=time.train.value, evaluate_seconds=time.evaluate.value, memory=memory, time=time,
        # The adapter, a checkpoint while it runs (weights and moments), predictions, and the data's tokens.
        disk_bytes=4 * _kept(config) * trainable + beside.moments + sizes.test_rows * (24 + 4 * sizes.classes) + 4 * tokens,
        corrected_by=remembered.runs if device == "cpu" else 0,
    )  # fmt: skip


def _kept(config: StudyConfig) -> int:
    """Return how often a run's parameters are on the disk: adapter, checkpoint, and what `afina inspect` looks at."""
    return 2 + (config.keep_checkpoints + 1 if config.keep_checkpoints else 0)


def _of_words(run: Run, sizes: Sizes) -> CostEstimate:
    """Return the costs of a run that looks at words: no model is loaded, and they are counted in seconds."""
    tokens = (sizes.train_rows + sizes.test_rows) * sizes.tokens
    return CostEstimate(
        run=run, trainable_parameters=0, total_parameters=0, step_seconds=0.0, train_seconds=0.0, evaluate_seconds=0.0,
        memory=memory_of_words(), time=TimeNeeds(_NOTHING, _NOTHING, 0.0), disk_bytes=4 * tokens,
    )  # fmt: skip


def _numel(adapter: Adapter) -> int:
    return sum(value.numel() for value in adapter.parameters())


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
        precision: measured_depth(
            shape, 2, method, _TWO_CLASSES, TimedStep(config.batch_size, 32, device, precision)
        ).step_seconds
        for precision in (EXACT, *(kind.name for kind in tried))
    }
    return min(reversed(seconds), key=lambda precision: seconds[precision])  # of equals not the exact one

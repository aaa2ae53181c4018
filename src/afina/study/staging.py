"""Set the scene of a run for its rehearsal: the model's shape, the adapter, and the rows of the worst batch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.load import Backbone
from afina.backbone.quantise import is_quantised, keeps_input, weight_bytes, weight_shape
from afina.backbone.shapes import shape_backbone
from afina.backbone.storage.base import STORAGES, other_machine
from afina.config import StudyConfig
from afina.data.tokens.tokens import Tokens
from afina.errors import AfinaError
from afina.ops.frozen_linear import copied_bytes
from afina.study.batches import batch_below, epoch_widths, evaluated_batches, evaluated_shapes, train_batches
from afina.study.needs import Always
from afina.study.plan import Run
from afina.study.rehearsal import Rehearsed, Scene, rehearse
from afina.study.room import KeptBytes, kept_bytes
from afina.study.sizes import Sizes
from afina.study.stand_ins import AnyTask
from afina.train.passes import lowest_layer

__all__ = ["rehearsed_run", "scene_of", "standing_of"]


def rehearsed_run(
    run: Run, config: StudyConfig, shape: Any, sizes: Sizes, *, device: str, precision: str,
    observer: Callable[[int, int], None] = lambda name, size: None,
) -> tuple[Rehearsed, Always]:  # fmt: skip
    """Return what the parts of a run take, by a rehearsal, and what is there during all of it.

    Raises `AfinaError` for a method that has nothing to train, and for an optimiser that can do nothing with it.
    """
    scene = scene_of(run, config, shape, sizes, device=device, precision=precision)
    free = run.method.gradient_free
    trained = KeptBytes() if free else kept_bytes(run.method, scene.adapter, scene.backbone, device)
    standing, keeping = standing_of(
        run, config, shape, sizes, trained, scene.adapter, device=device, precision=precision
    )
    try:
        staged = _as_on_cpu(scene, run, config, shape, sizes, standing) if device == "cpu" else scene
        most = min(config.length_of(config.dataset[run.dataset]), sizes.longest)
        below = batch_below(sizes, config, shape, most) if standing.kept_states else None
        staged = replace(staged, kept_inputs=keeping, below=below)
        return rehearse(staged, observer), standing
    except (
        RuntimeError
    ) as error:  # torch's fake tensors do not know every operation, and none whose size numbers decide
        reason = str(error).strip().partition("\n")[0]
        raise AfinaError(
            f"what {run.method.name} takes cannot be counted without numbers ({reason}); a run may work all the same."
        ) from error


def _as_on_cpu(scene: Scene, run: Run, config: StudyConfig, shape: Any, sizes: Sizes, standing: Always) -> Scene:
    """Return a scene with what fills a process's heap: more batches, copies of weights, what the optimiser keeps."""
    most = min(config.length_of(config.dataset[run.dataset]), sizes.longest)
    models = [scene.backbone.model] if sizes.trained else scene.backbone.linear_models
    return replace(
        scene, train=train_batches(sizes, config, shape, most), test=evaluated_batches(sizes, config, shape, most),
        copied=models if standing.copies else (), moments=standing.moments, step=standing.step, widths=standing.widths,
        evaluated_shapes=standing.evaluated_widths, epochs=config.epochs,
    )  # fmt: skip


def scene_of(
    run: Run, config: StudyConfig, shape: Any, sizes: Sizes, *, device: str, precision: str
) -> Scene:  # fmt: skip
    """Return what is rehearsed of a run; raises `AfinaError` for a method that has nothing to train."""
    method = run.method
    owned = method.owns_backbone
    plain = STORAGES[precision].compute(device)
    backbone = shape_backbone(shape, dtype=torch.float32 if owned else plain, speaks=sizes.speaks, tags=sizes.tags)
    if owned:
        backbone.model.requires_grad_(True)
        backbone.autocast = STORAGES[precision].autocast()
    adapter = build_adapter(method, backbone, sizes.classes, seed=0)
    if not adapter.trainable(backbone) and not method.gradient_free:
        raise AfinaError(f"{method.name} has nothing to train: a text's vector has no head.")
    most = min(config.length_of(config.dataset[run.dataset]), sizes.longest)
    task = sizes.task or AnyTask(tags=sizes.tags, chooses=sizes.speaks, writes=sizes.trained > 0)
    return Scene(
        backbone, adapter, task, train_batches(sizes, config, shape, most)[:1],
        [max(evaluated_batches(sizes, config, shape, most), key=_padded)], micro_batch_size=config.micro_batch_size,
        checkpointing=config.gradient_checkpointing, packing=config.packing == "auto", trains=not method.gradient_free,
        kind=device.partition(":")[0],
    )  # fmt: skip


def _padded(rows: Tokens) -> int:
    """Return the tokens of a batch, padding included: the last one may have the longest rows and be small."""
    return len(rows) * int(rows.lengths.max())


def standing_of(
    run: Run, config: StudyConfig, shape: Any, sizes: Sizes, trained: KeptBytes, adapter: Adapter, *, device: str,
    precision: str,
) -> tuple[Always, list[str]]:  # fmt: skip
    """Return what is there during all of a run, and its layers that keep their input for the backward pass."""
    method, on_cpu = run.method, device == "cpu"
    dtype = torch.float32 if method.owns_backbone else STORAGES[precision].compute(device)
    plain = shape_backbone(
        shape, dtype=dtype, speaks=sizes.speaks, tags=sizes.tags, precision=precision, runs_on=device
    )
    base = plain.model
    # What is written goes through the language head without a copy.
    multiplied = [base] if sizes.trained else plain.linear_models
    quantised = [own for own in base.modules() if is_quantised(own)]
    most = min(config.length_of(config.dataset[run.dataset]), sizes.longest)
    weights, computes = weight_bytes(base), (method.owns_backbone and STORAGES[precision].autocast()) or dtype
    copied = multiplied if on_cpu and not method.owns_backbone else []
    return Always(
        weights=weights, copies=copied_bytes(*copied, bfloat16=other_machine()),
        # Of a method that trains the weights themselves, these are the weights.
        values=trained.values - (4 * plain.parameter_count if method.owns_backbone else 0), moments=trained.moments,
        gradients=trained.gradients, step=trained.step, dequantised=_largest(quantised) * dtype.itemsize,
        kept_states=_states_below(run, config, sizes, adapter, plain, dtype), load=weights + _file_bytes(shape, plain),
        goes_through=bool(adapter.placed()) or method.owns_backbone,
        computes_in="float32" if computes == torch.float32 else "bfloat16",
        widths=len(np.unique(epoch_widths(sizes, config, most)[0])),
        evaluated_widths=len(
            {(int(rows), int(width)) for own, _ in evaluated_shapes(sizes, config, most).values() for rows, width in own}
        ),
    ), [name for name, own in base.named_modules() if keeps_input(own)]  # fmt: skip


def _file_bytes(shape: Any, backbone: Backbone) -> int:
    """Return the bytes of a model's file, whose type its configuration names."""
    stored = getattr(shape, "dtype", None)
    return backbone.parameter_count * (stored.itemsize if isinstance(stored, torch.dtype) else 4)


def _largest(layers: list[nn.Module]) -> int:
    return max((torch.Size(weight_shape(own)).numel() for own in layers), default=0)


def _states_below(
    run: Run, config: StudyConfig, sizes: Sizes, adapter: Adapter, backbone: Backbone, dtype: torch.dtype
) -> int:
    """Return the bytes of what layers below every branch make of all rows, which is computed once and kept."""
    below = 0 if run.method.gradient_free else min(lowest_layer(adapter), backbone.trunk_layers)
    if not below:
        return 0
    # With no layer above, a head that looks at the first token needs no other.
    first = below == backbone.trunk_layers and adapter.head.first_token_only
    seen = min(sizes.train_rows, config.train_evaluation_limit or sizes.train_rows)
    rows = sizes.train_rows + sizes.test_rows + (seen if seen < sizes.train_rows else 0)
    return int(rows * (1 if first else sizes.tokens) * sizes.sequences) * backbone.anatomy.width * dtype.itemsize

"""Open a merged folder in mlx-lm, so that what it computes is held beside the adapter."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from afina.backbone.load import read_config
from afina.errors import AfinaError, UsageError
from afina.export.target import unmergeable
from afina.predictor.load import Told

__all__ = ["foresee_mlx", "load_mlx"]


def foresee_mlx(adapter: Told) -> None:
    """Raise `UsageError` for an adapter that mlx-lm could not run, as far as its folder says."""
    from mlx_lm.utils import MODEL_REMAPPING

    if adapter.method.gradient_free or not adapter.writes:
        raise UsageError(
            f"{adapter.folder} writes no text, which is what mlx-lm is run for; --to mlx is for adapters that write."
        )
    # By the module that mlx-lm would import, without importing it.
    kind = read_config(adapter.record.model).model_type
    if find_spec(f"mlx_lm.models.{MODEL_REMAPPING.get(kind, kind)}") is None:
        raise UsageError(f"mlx-lm has no {kind} model: export it --to merged, or --to gguf where llama.cpp has it.")
    if not adapter.method.mergeable and adapter.form.name == "afina":
        raise unmergeable(adapter.record.method, "merged", "mlx")


class _Given(NamedTuple):
    """Holds what a model gave, under the name by which a comparison asks for it."""

    logits: Tensor


class _Config(NamedTuple):
    is_encoder_decoder: bool = False


class _Opened:
    """Stands for transformers' model in a comparison: the same call, computed by MLX."""

    config = _Config()

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, input_ids: Tensor, **given: Any) -> _Given:
        import mlx.core as mx

        # Padding would be read as text.
        if (mask := given.get("attention_mask")) is not None and not bool(mask.all()):
            raise AfinaError("mlx-lm reads one text at a time here, without padding.")
        logits = self._model(mx.array(input_ids.numpy())).astype(mx.float32)
        return _Given(torch.from_numpy(np.array(logits)))


def load_mlx(folder: Path) -> _Opened:
    """Return a merged folder's model as mlx-lm loads it; raises `AfinaError` for one that it does not take."""
    import mlx_lm

    try:
        model, *_ = mlx_lm.load(str(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise AfinaError(f"mlx-lm does not open what was exported ({error}). Please report this.") from error
    return _Opened(model)

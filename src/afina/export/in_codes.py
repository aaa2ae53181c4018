"""Write a merged model in the codes of its base: what an adapter learned goes into the zeros, and no code changes.

A weight (code - zero) * scale with d added is (code - (zero - d / scale)) * scale, where d is one number for an output and
the inputs that share its zero: what LoRA with `pool` learns (QA-LoRA, `methods/pooled.py`). Such zeros are no whole numbers.
GPTQ's and AWQ's files have no room for them and HQQ's do, so that these are written.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.backbone.load import load_backbone, model_class, read_config, stored_at
from afina.backbone.storage.base import STORAGES
from afina.backbone.storage.coded import Coded
from afina.backbone.tensor_file import system_errors
from afina.backbone.weights import bare_of, read_weights
from afina.errors import UsageError
from afina.export.chat import with_template
from afina.export.merge import merged_model
from afina.ops.coded_linear import CodedLinear, Codes
from afina.predictor.predictor import Predictor

__all__ = ["check_fits_codes", "load_in_codes", "merge_in_codes"]


def check_fits_codes(tested: Predictor) -> None:
    """Raise `UsageError` for an adapter that its base's codes cannot take, naming the first layer."""
    layers = _coded(tested.backbone.model)
    if not layers:
        raise UsageError(
            "--onto codes is for an adapter whose base is stored in codes; this one's is in "
            f"{tested.record.precision}, which has no zeros to take what was learned."
        )
    for path, layer in layers.items():
        if layer.conv or layer.grouping() is None:
            raise UsageError(
                f"--onto codes: the codes of {path} have no groups of neighbouring inputs, which HQQ's files want."
            )
    for path, layer in layers.items():
        _change(tested, path, layer)


def merge_in_codes(loaded: Predictor, folder: Path) -> None:
    """Write model, tokenizer and configuration to `folder`, the base's codes and scales as they are.

    Raises `UsageError` for an adapter that codes cannot take.
    """
    name = loaded.record.model
    base = load_backbone(
        name, precision=stored_at(name), compute=torch.float32, speaks=loaded.task.speaks, tags=loaded.task.tags
    )
    model = merged_model(loaded)
    prefix = "" if loaded.task.embeds else bare_of(model)[0]
    state: dict[str, Tensor] = model.state_dict()
    form = next(kind for kind in STORAGES.values() if issubclass(kind, Coded) and kind.fractional)
    sizes: dict[str, tuple[int, int]] = {}
    for path, layer in _coded(base.model).items():
        codes, key = _merged(loaded, path, layer), f"{prefix}{path}"
        del state[f"{key}.weight"]
        try:
            tensors = form.written(codes)
        except ValueError as error:
            raise UsageError(f"--onto codes: {path} cannot be written in HQQ's codes: {error}.") from None
        state |= {f"{key}.{part}": value for part, value in tensors.items()}
        sizes[key] = codes.bits, codes.codes.shape[1] // codes.scales.shape[1]
    try:
        settings = form.configuration_of(sizes)
    except ValueError as error:
        raise UsageError(f"--onto codes: {error}, of which HQQ's files have no word.") from None
    dtype = base.config.dtype if isinstance(base.config.dtype, torch.dtype) else torch.float16
    with system_errors(folder):
        model.save_pretrained(folder, state_dict={key: _narrow(key, value, dtype) for key, value in state.items()})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"quantization_config": settings}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if loaded.tokenizer is not None:
        with_template(loaded.tokenizer, loaded.task).save_pretrained(folder)


def load_in_codes(tested: Predictor, folder: Path) -> tuple[Any, Any]:
    """Load what was written as a model of transformers, its weights those that the codes in the files stand for."""
    from transformers import AutoModel, AutoTokenizer

    config, task = read_config(str(folder)), tested.task
    kind = AutoModel if task.embeds else model_class(config, speaks=task.speaks, tags=task.tags)
    settings = {"dtype": torch.float32, "config": config}
    model = read_weights(str(folder), str(folder), kind, settings, speaks=task.speaks, keep_pooler=True).model
    return model.eval(), AutoTokenizer.from_pretrained(folder) if any(folder.glob("tokenizer*")) else None


def _coded(model: Any) -> dict[str, CodedLinear]:
    return {path: module for path, module in model.named_modules() if isinstance(module, CodedLinear)}


def _change(loaded: Predictor, path: str, layer: CodedLinear) -> Tensor | None:
    """Return what an adapter adds to a layer's weight, (D_out, groups), None for nothing."""
    size, change = layer.grouping(), None
    assert size is not None, "layers without groups are refused before"
    for site, branch in loaded.adapter.placed():
        if site.module != path:
            continue
        added = branch.by_groups(size)
        if added is None:
            raise UsageError(
                f"--onto codes: what {loaded.record.method} adds to {path} differs between inputs that share a zero, so "
                f"that the codes cannot take it; train with pool: {size} (QA-LoRA), or merge --onto dequantised."
            )
        change = change if change is not None else torch.zeros(layer.out_features, added.shape[1])
        change[slice(None) if site.part is None else slice(*site.part)] += added.detach().float().cpu()
    return change


def _merged(loaded: Predictor, path: str, layer: CodedLinear) -> Codes:
    """Return a layer's codes with zeros that what is added has gone into."""
    codes, change = layer.codes(), _change(loaded, path, layer)
    if change is None:
        return codes
    if not bool(codes.scales.all()):
        raise UsageError(f"--onto codes: {path} has a scale of 0, by which no zero changes anything.")
    # In float64: what is added is small beside the zero that it goes into.
    return replace(codes, zeros=(codes.zeros.double() - change.double() / codes.scales.double()).float())


def _narrow(key: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor in the base's own type where it loses nothing by that; zeros stay in float32, whatever they are."""
    if value.dtype != torch.float32 or key.endswith(".zero"):
        return value.contiguous()
    narrow = value.to(dtype)
    return (narrow if torch.equal(narrow.float(), value) else value).contiguous()

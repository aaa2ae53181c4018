"""Folders that `PeftModel.from_pretrained` loads."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.adapters.adapter import peft_config, stored_tensors, task_type, write_record
from afina.adapters.merged import fold_into
from afina.backbone.quantise import full_weight
from afina.errors import AfinaError, UsageError
from afina.export.merge import plain_head
from afina.methods.base import registry
from afina.methods.peft_form import PeftFile
from afina.train.load import LoadedAdapter

__all__ = ["LowRankLoss", "as_lora", "write_peft"]


def write_peft(loaded: LoadedAdapter, folder: Path) -> None:
    """Write the adapter in PEFT's format; raises `UsageError` where PEFT has no word for it."""
    _write_tokenizer(loaded, folder)
    if files := loaded.format.peft_files(loaded.folder):
        for name in files:
            shutil.copy(loaded.folder / name, folder / name)
        return
    _refuse_classical(loaded)
    form = loaded.method.peft
    if form is not None:
        placed = loaded.adapter.placed()
        made = form.converted(loaded.method.name, placed, loaded.backbone, tags=loaded.task.tags)
        if made is not None:
            _write_converted(folder, made, loaded)
            return
    config = peft_config(loaded.adapter, loaded.backbone, loaded.record)
    if form is None or config["peft_type"] != form.peft_type:
        known = ", ".join(name for name, cls in registry().items() if cls.peft is not None)
        raise UsageError(
            f"PEFT has no {loaded.record.method}{'' if form is None else f' {form.beyond}'} (it has {known}); "
            "--to merged and --to lora are other ways out where the method allows them."
        )
    _write(folder, stored_tensors(loaded.adapter, loaded.backbone), config, loaded)
    # PEFT does not mind the file beside its own, and here it keeps label names and limits.
    task = dict(loaded.record.task)
    if task["name"] == "regression":
        task |= {"mean": 0.0, "deviation": 1.0}  # the head that was written gives numbers in their own unit
    record = replace(loaded.record, task=task, settings=loaded.method.stored().settings())
    write_record(folder, json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")), record)


def _write_converted(folder: Path, made: PeftFile, loaded: LoadedAdapter) -> None:
    """Write what a method's form makes of an adapter whose own files are in another."""
    from safetensors.torch import save_file

    tensors, config = dict(made.tensors), dict(made.config)
    if made.head_root is not None:
        head = {f"{made.head_root}{name}": value for name, value in plain_head(loaded).named_parameters()}
        tensors = {**head, **tensors}
        config["modules_to_save"] = loaded.adapter.head.saved_modules
    save_file(
        {name: value.detach().float().cpu().contiguous() for name, value in tensors.items()},
        folder / "adapter_model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    config = {
        "peft_type": made.peft_type, "task_type": task_type(loaded.backbone), "inference_mode": True,
        "base_model_name_or_path": loaded.record.model, **config,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


class LowRankLoss(dict[str, float]):
    """Of each module, the share of the change (Frobenius norm) that a low rank leaves out."""


def as_lora(loaded: LoadedAdapter, folder: Path, rank: int) -> LowRankLoss:
    """Write the adapter's changes of weights as a LoRA of at most `rank`, by truncated SVD; return what is left out.

    Raises `UsageError` for a method that changes no matrix.
    """
    _refuse_classical(loaded)
    language = getattr(loaded.adapter.head, "language", None)
    if loaded.task.embeds or (language is not None and language is not loaded.backbone.language):
        what = "has no head" if loaded.task.embeds else "brought a language head of its own"
        raise UsageError(f"{loaded.folder} {what}, which --to lora does not write; export it --to merged or --to peft.")
    _write_tokenizer(loaded, folder)
    modules = dict(loaded.backbone.model.named_modules())
    places = {site.module: site.transposed for site, _ in loaded.adapter.placed()}
    try:
        before = {name: _weight_and_bias(modules[name], transposed) for name, transposed in places.items()}
        for site, branch in loaded.adapter.placed():
            fold_into(modules[site.module], site, branch)
    except (AfinaError, AttributeError):  # no equal layer, or not at a layer with a weight at all
        raise UsageError(f"{loaded.record.method} has no low-rank form: what it adds depends on each input.") from None
    root, loss = f"base_model.model.{loaded.backbone.prefix}", LowRankLoss()
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for name, (weight, bias) in before.items():
        after, new_bias = _weight_and_bias(modules[name], places[name])
        if weight.ndim != 2 or isinstance(modules[name], torch.nn.Embedding) or (bias is None) != (new_bias is None):
            raise UsageError(f"{loaded.record.method} changes {name}, which is not a matrix with a low-rank form.")
        b, a, loss[name] = _factors(after - weight, rank)
        ranks[name] = len(a)
        tensors |= {f"{root}{name}.lora_A.weight": a, f"{root}{name}.lora_B.weight": b}
        if bias is not None and new_bias is not None and not torch.equal(bias, new_bias):
            tensors[f"{root}{name}.base_layer.bias"] = new_bias
    if not any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name):
        raise UsageError(f"{loaded.record.method} changes no matrix; there is nothing for a LoRA to hold.")
    biased = any(name.endswith("base_layer.bias") for name in tensors)
    if biased:
        # PEFT trains either all of the adapted layers' biases or none.
        for name in before:
            if (own := modules[name].bias) is not None:
                tensors[f"{root}{name}.base_layer.bias"] = own.detach().float()
    config: dict[str, Any] = {
        "peft_type": "LORA", "task_type": task_type(loaded.backbone), "base_model_name_or_path": loaded.record.model,
        "inference_mode": True, "r": max(ranks.values()), "lora_alpha": max(ranks.values()), "rank_pattern": ranks,
        "alpha_pattern": ranks, "bias": "lora_only" if biased else "none", "lora_dropout": 0.0,
        "fan_in_fan_out": any(places.values()),
        "target_modules": [f"{loaded.backbone.prefix}{name}" for name in before],
    }  # fmt: skip
    _write(folder, tensors, config, loaded)
    return loss


def _write_tokenizer(loaded: LoadedAdapter, folder: Path) -> None:
    """Write the tokenizer that the adapter brought, if any: its tokens are what it was trained with."""
    if loaded.tokenizer is not loaded.backbone.tokenizer:
        loaded.tokenizer.save_pretrained(folder)


def _refuse_classical(loaded: LoadedAdapter) -> None:
    if not hasattr(loaded, "adapter") or loaded.method.owns_backbone:
        raise UsageError(f"{loaded.record.method} is no adapter beside a frozen model; export it --to merged.")


def _weight_and_bias(module: torch.nn.Module, transposed: bool) -> tuple[Tensor, Tensor | None]:
    weight, bias = full_weight(module).float(), getattr(module, "bias", None)
    return (weight.T if transposed else weight).clone(), None if bias is None else bias.detach().float().clone()


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """B (out, r) and A (r, in) of a change, r as small as loses nothing and at most `rank`, and the share that is lost."""
    u, s, v = torch.linalg.svd(change.double(), full_matrices=False)
    needed = int((s > 1e-6 * s[0]).sum()) if s[0] > 0 else 1
    kept = max(1, min(rank, needed))
    root = s[:kept].sqrt()
    whole = float(s.norm())
    lost = float(s[kept:].norm()) / whole if whole > 0 else 0.0
    return (u[:, :kept] * root).float().contiguous(), (root[:, None] * v[:kept]).float().contiguous(), lost


def _write(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], loaded: LoadedAdapter) -> None:
    from safetensors.torch import save_file

    plain = plain_head(loaded)
    head = dict(plain.named_parameters())
    own = {name: value for name, value in tensors.items() if name.removeprefix("base_model.model.") not in head}
    own |= {f"base_model.model.{name}": value for name, value in head.items()}
    save_file(
        {name: value.detach().float().cpu().contiguous() for name, value in own.items()},
        folder / "adapter_model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    text = json.dumps({**config, "modules_to_save": plain.saved_modules}, indent=2) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")

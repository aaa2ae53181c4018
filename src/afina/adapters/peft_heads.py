"""Read the heads in files of PEFT's, the task's and the language head, with the adapters on them folded in."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.given_branches import start_branches, take_head
from afina.adapters.peft_branches import OwnTokens, Replaced
from afina.adapters.peft_modules import PeftReading
from afina.adapters.peft_parts import PeftParts
from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch, Placed
from afina.backbone.head import Head
from afina.backbone.language_head import LanguageHead
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError

__all__ = ["language_head", "task_head"]


def task_head(parts: PeftParts, reading: PeftReading) -> tuple[Head, tuple[str, ...]]:
    """Return the head and its label names: the file's weights, what they leave of the base's, adapters on them folded.

    Raises `AfinaError` where there is no head, and `UsageError` for an adapter on it that is not read.
    """
    backbone, folder = reading.backbone, reading.folder

    # What the file does not hold of the head is the base's: PEFT saves only what was trained.
    tensors = {**backbone.pretrained_head, **parts.head}
    outputs = _outputs(tensors, folder)
    head = backbone.new_head(outputs)
    take_head(head, tensors, folder)
    for name, values in parts.beside_head.items():
        module = head.get_submodule(name)
        if not isinstance(module, nn.Linear):
            raise UsageError(
                f"{folder} adapts '{name}' of the head, which is a {type(module).__name__}; it is not read."
            )
        place = reading.place(_linear_site(name, module), module, name)
        _folded(module, reading.branches(place, values), backbone, name)
    return head, _labels(backbone.config, outputs, folder)


def _linear_site(name: str, module: Any) -> Site:
    width, width_in = module.weight.shape
    biased = module.bias is not None
    return Site(
        name=name, module=name, role="outer", kind="linear", layer=None, width_in=width_in, width=width, biased=biased
    )


class _Alone(nn.Module):
    """Is found under any path: it stands for the model that a module is part of."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]

    def get_submodule(self, target: str) -> nn.Module:
        return self._module[0]


def _folded(module: Any, branches: Iterable[Placed], backbone: Backbone, name: str) -> None:
    """Fold branches into a linear module's weight and bias, in order; they may change its number of outputs."""
    for branch in branches:
        site = _linear_site(name, module)
        start_branches([(site, branch.to(module.weight.device))], backbone, _Alone(module))
        with torch.no_grad():
            weight, bias = branch.fold(module.weight.detach().float(), module.bias)
        dtype = module.weight.dtype
        module.weight = nn.Parameter(weight.to(dtype), requires_grad=module.weight.requires_grad)
        module.bias = None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=False)


def language_head(
    parts: PeftParts, reading: PeftReading, made: Mapping[str, tuple[Site, Placed]]
) -> LanguageHead | None:
    """Return the adapter's own language head, or None where it is the base's; `made` are the branches in the bare model.

    One that shares the embeddings' weight shares tokens that are trained alone, and an embedding that PEFT saved as its base.
    """
    backbone, folder, language = reading.backbone, reading.folder, reading.backbone.language
    assert language is not None
    base: Any = language.linear
    name = "lm_head"
    (embedding,) = backbone.anatomy.of_kind("embedding")
    tied = backbone.model.get_submodule(embedding.module).get_parameter("weight") is base.weight
    shared = [branch for site, branch in made.values() if site.module == embedding.module and tied]
    if parts.language:
        branches = reading.branches(reading.place(_linear_site(name, base), base, name), parts.language)
        if tokens := [own for own in shared if isinstance(own, OwnTokens)]:
            if not all(isinstance(own, Branch) and own.adds for own in branches):
                raise UsageError(
                    f"{folder} trains tokens of '{embedding.module}', which the language head shares, and the head itself "
                    "otherwise than by LoRA, which together are not read."
                )
            branches = [*tokens, *branches]  # PEFT's LoRA stands around the head with those tokens
    else:
        has_base = "base_layer.weight" in parts.body.get(embedding.module, {})
        branches = [own for own in shared if isinstance(own, OwnTokens) or (has_base and isinstance(own, Replaced))]
    if not branches:
        return None

    # On the meta device, as its weights are put in place right after: a vocabulary's matrix is not drawn first.
    untied: Any = nn.Linear(base.weight.shape[1], base.weight.shape[0], bias=False, device="meta")
    untied.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=False)
    untied.bias = None if base.bias is None else nn.Parameter(base.bias.detach().clone(), requires_grad=False)
    _folded(untied, branches, backbone, name)

    # The embedding that PEFT saved may have more words than the base: their bias is zero.
    more = len(untied.weight) - len(base.weight)
    bias = language.bias if language.bias is None or more <= 0 else nn.functional.pad(language.bias, (0, more))
    return replace(language, linear=untied, bias=bias if bias is None else bias[: len(untied.weight)])


def _outputs(head: Mapping[str, Tensor], folder: Path) -> int:
    last = [
        value for name, value in head.items() if name.endswith("weight") and "dense" not in name and "norm" not in name
    ]
    last = [value for value in last if value.ndim == 2 and value.shape[0] != value.shape[1]] or last
    if not last:
        raise AfinaError(
            f"{folder} has no classification head, and neither has its model; it was trained for another task."
        )
    return min(len(value) for value in last)


def _labels(config: Any, outputs: int, folder: Path) -> tuple[str, ...]:
    names = getattr(config, "id2label", None) or {}
    if len(names) != outputs:
        return tuple(f"LABEL_{index}" for index in range(outputs))
    labels = tuple(str(names[index]) for index in sorted(names))
    if len(set(labels)) < outputs:
        twice = next(name for name in labels if labels.count(name) > 1)
        raise UsageError(
            f"{folder}: its base model's id2label calls two labels '{twice}'; name them apart in config.json."
        )
    return labels

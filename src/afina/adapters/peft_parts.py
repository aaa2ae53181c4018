"""Sort the tensors of a file of PEFT's by where they belong: in the bare model, its head, its language head, or nowhere."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from afina.adapters.peft_modules import PeftReading, endings_of
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError

__all__ = ["EMBEDS", "PeftParts", "divide"]

EMBEDS = "FEATURE_EXTRACTION"
"""PEFT's type of task for adapters of a bare model, without a head."""

Grouped = dict[str, dict[str, Tensor]]
"""Tensors by module and kind."""


@dataclass
class PeftParts:
    """Holds a file's tensors by where they belong."""

    head: dict[str, Tensor] = field(default_factory=dict)
    """Those of the head, by its own names."""
    beside_head: Grouped = field(default_factory=lambda: defaultdict(dict))
    """Adapters on modules of the head."""
    language: dict[str, Tensor] = field(default_factory=dict)
    """Tensors of the language head, by kind."""
    body: Grouped = field(default_factory=lambda: defaultdict(dict))
    """The rest, by module of the bare model."""
    loose: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that stand at no module, by name."""


def divide(tensors: Mapping[str, Tensor], reading: PeftReading, root: str) -> PeftParts:
    """Take a file's tensors apart; `root` is what stands before the bare model's modules.

    Raises `AfinaError` for a tensor that has no place in the model, and `UsageError` for one of a kind that is not read.
    """
    backbone = reading.backbone
    head = backbone.new_head(2)
    head_names = {name for name, _ in head.named_parameters()}
    head_modules = {name for name, _ in head.named_modules()}
    there = {name for name, _ in backbone.model.named_modules()}
    endings = endings_of(reading.forms)
    loose = {name for form in reading.forms for name in (*form.loose, *form.together.values())}
    unread = tuple(ending for form in reading.forms for ending in form.unread)
    parts = PeftParts()
    for key, value in tensors.items():
        if key in loose:
            parts.loose[key] = value
            continue

        # PEFT keeps the module's first weights beside those that were trained; these are the base's.
        if ".original_module." in key or (unread and key.endswith(unread)):
            continue
        name = key.removeprefix("base_model.").removeprefix("model.")
        if ".modules_to_save." in name:
            # With all biases PEFT writes those of saved modules twice.
            name = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
            if key.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".") in tensors:
                continue
        module, kind = _module_and_kind(name, endings)
        if module == "lm_head" and backbone.language is not None:
            parts.language[kind] = value
        elif name in head_names:
            parts.head[name] = value
        elif module in head_modules and kind in endings:
            parts.beside_head[module][kind] = value
        elif name.startswith(root) and module.removeprefix(root) in there:
            parts.body[module.removeprefix(root)][kind] = value
        else:
            raise _stranger(reading.folder, backbone, name, module, root)
    return parts


def _stranger(folder: Path, backbone: Backbone, name: str, module: str, root: str) -> AfinaError:
    """Return what to say of a tensor that has no place: the base is another, or the kind of adapter is not read."""
    there = {own for own, _ in backbone.model.named_modules()}
    if root and not module.startswith(root) and module in there:
        return UsageError(
            f"{folder} adapts the bare {backbone.name}: it has no task head and is an embedding adapter; set task_type to "
            f"{EMBEDS} in its adapter_config.json to have embeddings of it."
        )
    inside = module.removeprefix(root)
    while inside and inside not in there:
        inside = inside.rpartition(".")[0]
    beyond = module.removeprefix(root).removeprefix(inside).lstrip(".")

    # A number would be a layer, or an expert, that this model has not.
    if inside and not any(part.isdigit() for part in beyond.split(".")) and (not root or name.startswith(root)):
        rest = name.removeprefix(root).removeprefix(inside).lstrip(".")
        return UsageError(
            f"{folder} fits {backbone.name}, but has '{rest}' at '{inside}', a kind of adapter that is not read."
        )
    return AfinaError(
        f"{folder} adapts '{module}', which {backbone.name} does not have: it was trained on another base model."
    )


def _module_and_kind(name: str, endings: Sequence[str]) -> tuple[str, str]:
    for kind in endings:
        if name.endswith(f".{kind}"):
            return name.removesuffix(f".{kind}"), kind
    module, _, parameter = name.rpartition(".")
    return module, parameter

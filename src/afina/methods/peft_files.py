"""Adapters that Hugging Face PEFT trained and saved, read into branches of Afina's own.

What is where is taken from the tensors' names, not from `target_modules`, which may be a list, a pattern or a word:
every adapted module is named by its tensors.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site, module_site
from afina.backbone.branch import Branch, Frozen, Placed
from afina.backbone.heads import Head
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError, nearest
from afina.methods.adalora import Triplets
from afina.methods.adapter import Adapter, AdapterRecord, read_tensors
from afina.methods.base import Method
from afina.methods.bitfit import AddBias
from afina.methods.dora import MagnitudeDirection
from afina.methods.ia3 import ScaleInput, ScaleOutput
from afina.methods.lora import LowRank
from afina.methods.norms import OwnNorm
from afina.methods.prefix import KeysAndValues
from afina.methods.prompt import SoftPrompt

__all__ = ["Given", "peft_speaks", "read_peft", "read_peft_record", "take_head"]

Needed = dict[str, tuple[Tensor, tuple[int, ...]]]
"""Tensors of a file by name, each with the shape that the model asks of it."""

_READ = ("LORA", "ADALORA", "IA3", "LN_TUNING", "PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
_KINDS = (
    "lora_A.weight", "lora_B.weight", "lora_magnitude_vector", "lora_magnitude_vector.weight", "lora_embedding_A",
    "lora_embedding_B", "lora_A", "lora_B", "lora_E", "ia3_l", "ln_tuning_layers.weight",
    "ln_tuning_layers.bias", "base_layer.bias",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Given(Method):
    """A method whose branches are there already: what another program trained."""

    name = "peft"
    made: Mapping[str, Placed] = field(default_factory=dict)

    def branch(self, site: Site) -> Placed:
        return self.made[site.name]


class EmbeddingLowRank(Branch):
    """LoRA on an embedding: y + scale * (columns of A for the words)^T B^T."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Parameter(a), nn.Parameter(b), scale

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        change = nn.functional.embedding(x, self.a.T) @ self.b.T
        return y + (self.scale * change).to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight + self.scale * (self.b @ self.a).T.to(weight.dtype), bias


class Replaced(Branch):
    """A module with weights of its own (PEFT's `modules_to_save`)."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(weights)
        self.own = nn.ParameterList(weights.values())
        self._module: list[nn.Module] = []  # in a list, or it would be registered as this branch's own

    def start(self, frozen: Frozen) -> None:
        self._module = [frozen.module]

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        weights = {name: value.to(y.dtype) for name, value in zip(self.names, self.own, strict=True)}
        # Not through __call__, whose hooks would come back here.
        result: Tensor = torch.func.functional_call(_Bare(self._module[0]), _prefixed(weights), (x,))
        return result

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        own = dict(zip(self.names, self.own, strict=True))
        return own["weight"].to(weight.dtype), own.get("bias", bias)


class _Bare(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return type(self.module).forward(self.module, x)


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in weights.items()}


def read_peft_record(folder: Path) -> AdapterRecord:
    """Read what PEFT's adapter_config.json says; raises `UsageError` for a folder without one or an unknown type."""
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config.get("peft_type")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder} is no adapter: it has neither afina.json nor adapter_config.json.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise AfinaError(f"{path} is damaged ({type(error).__name__}: {error}).") from None
    if kind is None:
        raise UsageError(f"{folder} is no PEFT adapter: its adapter_config.json has no peft_type.")
    if kind not in _READ:
        raise UsageError(f"{folder}: adapters of PEFT's type {kind} are not read{nearest(kind, _READ)}")
    pickled = [file.name for file in folder.glob("adapter_model.*") if file.suffix != ".safetensors"]
    if pickled and not (folder / "adapter_model.safetensors").exists():
        raise UsageError(f"{folder} has only pickled weights ({pickled[0]}), which can run code; save safetensors.")
    base = config.get("base_model_name_or_path") or "(unnamed)"
    return AdapterRecord(
        model=str(base), method=f"peft:{kind}", settings=config, task={}, max_length=1 << 30, precision="fp32", seed=0
    )


def peft_speaks(record: AdapterRecord) -> bool:
    """Whether an adapter was trained on a language model."""
    return record.settings.get("task_type") in ("CAUSAL_LM", "SEQ_2_SEQ_LM")


def read_peft(folder: Path, backbone: Backbone, record: AdapterRecord) -> tuple[Adapter, tuple[str, ...]]:
    """Return the adapter and its label names; raises `AfinaError` for a file that does not fit the model."""
    tensors = read_tensors(folder / "adapter_model.safetensors")
    head, body = _divide(tensors, backbone, folder)
    own_head = {**backbone.pretrained_head, **head}
    outputs = 2 if backbone.language is not None else _outputs(own_head, folder)
    made: dict[str, tuple[Site, Placed]] = {}
    if "prompt_embeddings" in tensors:
        virtual = tensors["prompt_embeddings"].float()
        read = _prefix if record.settings["peft_type"] == "PREFIX_TUNING" else _prompt
        made |= {site.name: (site, branch) for site, branch in read(virtual, backbone, folder)}
    grouped: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, value in body.items():
        module, kind = _module_and_kind(name, backbone)
        grouped[module][kind] = value
    there = dict(backbone.model.named_modules())
    for module, values in grouped.items():
        if module not in there:
            raise AfinaError(f"{folder} adapts '{module}', which {backbone.name} does not have: it is another model's.")
        site = module_site(backbone.model, backbone.anatomy, module)
        for index, (owned, branch) in enumerate(_branches(site, values, backbone, record.settings)):
            _check(folder, backbone, site, owned)
            key = site.name if index == 0 else f"{site.name}:{index}"
            made[key] = (replace(site, name=key), branch)
    adapter = Adapter(
        Given(made={key: branch for key, (_, branch) in made.items()}), [site for site, _ in made.values()],
        backbone.new_head(outputs),
    ).to(backbone.device)  # fmt: skip
    with torch.no_grad():
        for site, branch in adapter.placed():
            values = {key: value.clone() for key, value in branch.named_parameters()}
            branch.start(Frozen(backbone.model, backbone.anatomy, site))
            for key, parameter in branch.named_parameters():
                parameter.copy_(values[key])  # `start` makes a fresh branch's weights; these are trained
    take_head(adapter.head, own_head, folder)
    return adapter, _labels(backbone.config, outputs)


def take_head(head: Head, stored: Mapping[str, Tensor], folder: Path) -> None:
    """Copy a stored head's tensors into a head; raises `AfinaError` for one that is missing or has another shape."""
    with torch.no_grad():
        for key, parameter in head.named_parameters():
            if key not in stored:
                raise AfinaError(f"{folder} lacks '{key}' of the classification head.")
            if parameter.shape != stored[key].shape:
                raise AfinaError(
                    f"{folder}: '{key}' is {tuple(stored[key].shape)}, the model needs {tuple(parameter.shape)}."
                )
            parameter.copy_(stored[key])


def _prompt(virtual: Tensor, backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
    (site,) = backbone.anatomy.of_kind("embedding")
    if virtual.shape[1] != site.width:
        raise AfinaError(
            f"{folder}: its prompt is {virtual.shape[1]} wide and {backbone.name}'s embeddings {site.width}."
        )
    branch = SoftPrompt(site, length=len(virtual), from_vocabulary=False, seen=True)
    return [(site, _filled(branch, embedding=virtual))]


def _prefix(virtual: Tensor, backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
    """PEFT's (length, layers * 2 * heads * head width): layer by layer, keys before values."""
    if not backbone.anatomy.row.causal:
        raise UsageError(f"{folder}: a prefix of PEFT moves the text's positions, which only decoders allow here.")
    sites = backbone.anatomy.of_kind("attention")
    width = 2 * sites[0].heads * sites[0].width
    if virtual.shape[1] != width * len(sites):
        raise AfinaError(
            f"{folder}: its prefix is {virtual.shape[1]} wide and {backbone.name} needs {width * len(sites)}; it was trained "
            "on another base model."
        )
    branches = [KeysAndValues(site, length=len(virtual), hidden=None, moves=True) for site in sites]
    layers = virtual.view(len(virtual), len(sites), width).unbind(1)
    return [(site, _filled(branch, embedding=own)) for site, branch, own in zip(sites, branches, layers, strict=True)]


def _divide(
    tensors: Mapping[str, Tensor], backbone: Backbone, folder: Path
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a file's tensors into the head's, by the head's own names, and those inside the bare model."""
    head_names = {name for name, _ in backbone.new_head(2).named_parameters()}
    head: dict[str, Tensor] = {}
    body: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key == "prompt_embeddings":
            continue
        name = key.removeprefix("base_model.").removeprefix("model.")
        if ".original_module." in name:
            continue
        if ".modules_to_save." in name:
            # With all biases PEFT writes those of saved modules twice.
            name = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
            if key.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".") in tensors:
                continue
        if name in head_names:
            head[name] = value
        elif name.startswith(backbone.prefix):
            body[name.removeprefix(backbone.prefix)] = value
        elif name.removeprefix("modules_to_save.").split(".")[0] not in {part.split(".")[0] for part in head_names}:
            raise AfinaError(f"{folder}: '{key}' is no part of {backbone.name}; it is another model's adapter.")
    return head, body


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


def _labels(config: Any, outputs: int) -> tuple[str, ...]:
    names = getattr(config, "id2label", None) or {}
    if len(names) == outputs:
        return tuple(str(names[index]) for index in sorted(names))
    return tuple(f"LABEL_{index}" for index in range(outputs))


def _module_and_kind(name: str, backbone: Backbone) -> tuple[str, str]:
    for kind in _KINDS:
        if name.endswith(f".{kind}"):
            return name.removesuffix(f".{kind}"), kind
    module, _, parameter = name.rpartition(".")
    return module, parameter


def _branches(
    site: Site, values: dict[str, Tensor], backbone: Backbone, config: Mapping[str, Any]
) -> list[tuple[Needed, Placed]]:
    """Make the branches of one module, each with its tensors and the shapes that the module asks of them."""
    found: list[tuple[Needed, Placed]] = []
    values = dict(values)
    a = values.pop("lora_A.weight", None)
    a = values.pop("lora_A", None) if a is None else a
    if a is not None:
        b = values.pop("lora_B.weight", None)
        b = values.pop("lora_B") if b is None else b
        found.append(_low_rank(site, a, b, values, backbone.prefix, config))
    if (a := values.pop("lora_embedding_A", None)) is not None:
        b = values.pop("lora_embedding_B")
        words = backbone.model.get_submodule(site.module).get_parameter("weight").shape[0]
        needed: Needed = {"A": (a, (len(a), words)), "B": (b, (site.width, len(a)))}
        found.append((needed, EmbeddingLowRank(a.float(), b.float(), _scale(site, len(a), backbone.prefix, config))))
    if (scale := values.pop("ia3_l", None)) is not None:
        kind = ScaleInput(site.width_in) if scale.shape[0] == 1 else ScaleOutput(site.width)
        found.append(({"ia3_l": (scale, tuple(kind.scale.shape))}, _filled(kind, scale=scale)))
    norm = {key: values.pop(f"ln_tuning_layers.{key}", None) for key in ("weight", "bias")}
    if norm["weight"] is not None:
        own = {key: value for key, value in norm.items() if value is not None}
        found.append(({key: (value, (site.width,)) for key, value in own.items()}, _filled(OwnNorm(site), **own)))
    bias = values.pop("base_layer.bias", None)
    if bias is None and set(values) == {"bias"}:
        bias = values.pop("bias")
    if bias is not None:
        base = backbone.model.get_submodule(site.module).get_parameter("bias")
        needed = {"bias": (bias, tuple(base.shape))}
        change = bias.float() - base.detach().float().to(bias.device) if bias.shape == base.shape else bias
        found.append((needed, _filled(AddBias(len(base)), bias=change)))
    if values:
        shapes = {key: tuple(backbone.model.get_submodule(site.module).get_parameter(key).shape) for key in values}
        branch = Replaced({key: value.float() for key, value in values.items()})
        found.append(({key: (value, shapes[key]) for key, value in values.items()}, branch))
    return found


def _low_rank(
    site: Site, a: Tensor, b: Tensor, values: dict[str, Tensor], prefix: str, config: Mapping[str, Any]
) -> tuple[Needed, Placed]:
    rank = len(a)
    needed: Needed = {"lora_A": (a, (rank, site.width_in)), "lora_B": (b, (site.width, rank))}
    if (e := values.pop("lora_E", None)) is not None:
        # By the rank at the start, however many are left; 1e-5 is PEFT's guard against none.
        scale = config["lora_alpha"] / (config["init_r"] + 1e-5)
        triplets = Triplets(site, rank=rank, scale=scale, dropout=0.0, orthogonality=0.0)
        return needed, _filled(triplets, q=a, l=e, p=b) if _fits(needed) else triplets
    scale = _scale(site, rank, prefix, config)
    magnitude = values.pop("lora_magnitude_vector", None)
    magnitude = values.pop("lora_magnitude_vector.weight", None) if magnitude is None else magnitude
    if magnitude is not None:
        needed["magnitude"] = (magnitude.flatten(), (site.width,))
        branch: LowRank = MagnitudeDirection(site, rank=rank, scale=scale, dropout=0.0)
        return needed, _filled(branch, a=a, b=b, magnitude=magnitude.flatten()) if _fits(needed) else branch
    branch = LowRank(site, rank=rank, scale=scale, dropout=0.0)
    return needed, _filled(branch, a=a, b=b) if _fits(needed) else branch


def _scale(site: Site, rank: int, prefix: str, config: Mapping[str, Any]) -> float:
    """alpha / rank or alpha / sqrt(rank), where a pattern that ends this module's path may give it another alpha."""
    alpha = config["lora_alpha"]
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", f"{prefix}{site.module}"):
            alpha = value
            break
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _fits(needed: Needed) -> bool:
    return all(tuple(value.shape) == shape for value, shape in needed.values())


def _filled(branch: Placed, **values: Tensor) -> Placed:
    with torch.no_grad():
        for name, value in values.items():
            parameter = branch.get_parameter(name)
            if parameter.shape == value.shape:
                parameter.copy_(value)
    return branch


def _check(folder: Path, backbone: Backbone, site: Site, needed: Needed) -> None:
    for name, (value, shape) in needed.items():
        if tuple(value.shape) != shape:
            raise AfinaError(
                f"{folder}: '{site.module}' has {name} of {tuple(value.shape)} and {backbone.name} needs {shape}; "
                "it was trained on another base model."
            )

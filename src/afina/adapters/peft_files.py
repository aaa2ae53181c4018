"""Adapters that Hugging Face PEFT trained and saved, read into branches of Afina's own.

What is where is taken from the tensors' names, not from `target_modules`, which may be a list, a pattern or a word: every
adapted module is named by its tensors. What PEFT's configuration may say beside them is in `peft_keys.py`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter, AdapterRecord, read_tensors
from afina.adapters.peft_branches import OwnTokens, Replaced
from afina.adapters.peft_keys import read_peft_config
from afina.adapters.peft_modules import KINDS, Place, branches_at
from afina.adapters.record_file import check_model_name
from afina.backbone.anatomy import Site, module_site
from afina.backbone.branch import Frozen, Placed
from afina.backbone.heads import Head
from afina.backbone.language import AnswerHead, LanguageHead
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError
from afina.methods.base import Method
from afina.methods.lora import LowRank
from afina.methods.prefix import KeysAndValues
from afina.methods.prompt import SoftPrompt

__all__ = ["EMBEDS", "Given", "check_revision", "read_peft", "read_peft_record", "take_head"]

EMBEDS = "FEATURE_EXTRACTION"
"""PEFT's type of task for adapters of a bare model, without a head."""

_WEIGHTS = "adapter_model.safetensors"
_TRAINING_ONLY = (".lora_velora_embed",)
"""What PEFT keeps for its backward pass."""
Grouped = dict[str, dict[str, Tensor]]
"""Tensors by module and kind."""


@dataclass(frozen=True, kw_only=True)
class Given(Method):
    """A method whose branches are there already: what another program trained."""

    name = "peft"
    made: Mapping[str, Placed] = field(default_factory=dict)

    def branch(self, site: Site) -> Placed:
        return self.made[site.name]


@dataclass
class _Parts:
    """A file's tensors by where they belong."""

    head: dict[str, Tensor] = field(default_factory=dict)
    """Those of the head, by its own names."""
    beside_head: Grouped = field(default_factory=lambda: defaultdict(dict))
    """Adapters on modules of the head."""
    language: dict[str, Tensor] = field(default_factory=dict)
    """What belongs to the language head, by kind."""
    body: Grouped = field(default_factory=lambda: defaultdict(dict))
    """The rest, by module of the bare model."""


def read_peft_record(folder: Path) -> AdapterRecord:
    """Read what PEFT's adapter_config.json says; raises `UsageError` for a folder without one, and where it is not read."""
    try:
        config = read_peft_config(folder)
    except FileNotFoundError:
        raise UsageError(f"{folder} is no adapter: it has neither afina.json nor adapter_config.json.") from None
    pickled = [file.name for file in folder.glob("adapter_model.*") if file.suffix != ".safetensors"]
    if pickled and not (folder / _WEIGHTS).exists():
        raise UsageError(f"{folder} has only pickled weights ({pickled[0]}), which can run code; save safetensors.")
    if name := config.get("base_model_name_or_path"):
        check_model_name(folder / "adapter_config.json", name)
    return AdapterRecord(
        model=config.get("base_model_name_or_path") or "(unnamed)", method=f"peft:{config['peft_type']}", settings=config,
        task={}, max_length=1 << 30, precision="fp32", seed=0,
    )  # fmt: skip


def read_peft(folder: Path, backbone: Backbone, record: AdapterRecord) -> tuple[Adapter, tuple[str, ...]]:
    """Return the adapter and its label names, none where the model speaks or has no head.

    Raises `AfinaError` for a file that does not fit the model, and `UsageError` for what is not read.
    """
    tensors = read_tensors(folder / _WEIGHTS)
    speaks, embeds = backbone.language is not None, record.settings.get("task_type") == EMBEDS
    root = "" if embeds else backbone.prefix
    parts = _divide(tensors, backbone, folder, root)
    made: dict[str, tuple[Site, Placed]] = {}
    if "prompt_embeddings" in tensors:
        virtual = tensors["prompt_embeddings"].float()
        read = _prefix if record.settings["peft_type"] == "PREFIX_TUNING" else _prompt
        if speaks and backbone.anatomy.row.further:
            raise UsageError(f"{folder}: PEFT puts its prompt before the decoder's text too, which is not done here.")
        made |= {site.name: (site, branch) for site, branch in read(virtual, backbone, folder)}
    place = _places(folder, backbone, record.settings)
    there = dict(backbone.model.named_modules())
    for module, values in parts.body.items():
        if any(own.ndim > 2 for own in there[module].parameters(recurse=False)):
            raise UsageError(
                f"{folder} changes '{root}{module}', a {type(there[module]).__name__}, of which nothing is read: only "
                "layers, norms and embeddings are; train it without that one (bias: none)."
            )
        site = _site_of(backbone, module)
        branches = branches_at(place(site, there[module], f"{root}{module}"), values)
        for own, its in _shared(backbone, site, branches, there, folder):
            for index, branch in enumerate(its):
                key = own.name if index == 0 else f"{own.name}:{index}"
                made[key] = (replace(own, name=key), branch)
    head, names = Head(backbone.config, 0), tuple[str, ...]()
    if not embeds:
        head, names = (backbone.new_head(1), ()) if speaks else _head(parts, backbone, folder, place)
    if backbone.language is not None:
        language = _language(parts, backbone, folder, made, place)
        head = head if language is None else AnswerHead(language, backbone.config, 1)
    adapter = Adapter(
        Given(made={key: branch for key, (_, branch) in made.items()}), [site for site, _ in made.values()], head
    ).to(backbone.device)  # fmt: skip
    _start(adapter.placed(), backbone, backbone.model)
    return adapter, names


def _shared(
    backbone: Backbone, site: Site, branches: list[Placed], there: Mapping[str, nn.Module], folder: Path
) -> list[tuple[Site, list[Placed]]]:
    """Return branches at their site and, of an embedding whose weight others share, tokens of their own at those too."""
    module: Any = there[site.module]
    if not isinstance(module, nn.Embedding):
        return [(site, branches)]
    twins = [
        name for name, own in there.items()
        if own is not module and isinstance(own, nn.Embedding) and own.weight is module.weight
    ]  # fmt: skip
    tokens = [branch for branch in branches if isinstance(branch, OwnTokens)]
    if twins and "." not in site.module and len(tokens) < len(branches):
        raise UsageError(
            f"{folder} adapts '{site.module}', which {backbone.name} never calls ({twins[0]} has its weight), so that "
            "PEFT's adapter there does nothing; adapt that one."
        )
    copies = [[OwnTokens(own.indices, own.vectors.detach().clone()) for own in tokens] for _ in twins]
    others = [(_site_of(backbone, name), list[Placed](own)) for name, own in zip(twins, copies, strict=True) if own]
    return [(site, branches), *others]


def check_revision(folder: Path, record: AdapterRecord) -> None:
    """Refuse an adapter of a certain revision of a model on the hub, of which the newest would be loaded."""
    revision = record.settings.get("revision")
    if revision not in (None, "", "main") and not Path(record.model).exists():
        raise UsageError(
            f"{folder} was trained on revision {revision} of {record.model}, and the newest would be loaded; download that "
            "one and give its folder by --model."
        )


def take_head(head: Head, stored: Mapping[str, Tensor], folder: Path) -> None:
    """Copy a stored head's tensors into a head; raises `AfinaError` for one that is missing or has another shape."""
    with torch.no_grad():
        for key, parameter in head.named_parameters():
            if key not in stored:
                raise AfinaError(
                    f"{folder} lacks '{key}' of the classification head, and its base model has none that was trained; "
                    "what it was trained with is lost."
                )
            if parameter.shape != stored[key].shape:
                raise AfinaError(
                    f"{folder}: '{key}' is {tuple(stored[key].shape)}, the model needs {tuple(parameter.shape)}."
                )
            parameter.copy_(stored[key])


def _places(folder: Path, backbone: Backbone, config: Mapping[str, Any]) -> Any:
    """Return a function from a site, its module and its path in the whole model to what is to be read there."""

    def place(site: Site, module: nn.Module, path: str) -> Place:
        return Place(folder, backbone.name, backbone.anatomy.model_type, site, module, path, config)

    return place


def _start(placed: Iterable[tuple[Site, Placed]], backbone: Backbone, model: nn.Module) -> None:
    """Let branches read the frozen model; what `start` draws or copies afresh gives way to what was trained."""
    with torch.no_grad():
        for site, branch in placed:
            values = {key: value.clone() for key, value in branch.named_parameters()}
            branch.start(Frozen(model, backbone.anatomy, site))
            for key, parameter in branch.named_parameters():
                parameter.copy_(values[key])


def _site_of(backbone: Backbone, module: str) -> Site:
    """The attention call where the module is one, else the module as a layer."""
    calls = (site for site in backbone.anatomy.of_kind("attention") if site.module == module)
    return next(calls, None) or module_site(backbone.model, backbone.anatomy, module)


def _prompt(virtual: Tensor, backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
    (site,) = backbone.anatomy.of_kind("embedding")
    if virtual.ndim != 2 or virtual.shape[1] != site.width:
        raise AfinaError(
            f"{folder}: its prompt is {tuple(virtual.shape)} and {backbone.name}'s embeddings are {site.width} wide; it was "
            "trained on another base model."
        )
    branch = SoftPrompt(site, length=len(virtual), from_vocabulary=False, seen=True)
    branch.embedding.data.copy_(virtual)
    return [(site, branch)]


def _prefix(virtual: Tensor, backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
    """PEFT's (length, layers * 2 * heads * head width): layer by layer, keys before values."""
    if not backbone.anatomy.row.causal:
        raise UsageError(f"{folder}: a prefix of PEFT moves the text's positions, which only decoders allow here.")
    sites = backbone.anatomy.of_kind("attention")
    width = 2 * sites[0].heads * sites[0].width
    if virtual.ndim != 2 or virtual.shape[1] != width * len(sites):
        raise AfinaError(
            f"{folder}: its prefix is {tuple(virtual.shape)} and {backbone.name} needs {width * len(sites)} numbers a token; "
            "it was trained on another base model."
        )
    branches = [KeysAndValues(site, length=len(virtual), hidden=None, moves=True) for site in sites]
    layers = virtual.view(len(virtual), len(sites), width).unbind(1)
    for branch, own in zip(branches, layers, strict=True):
        branch.embedding.data.copy_(own)
    return list(zip(sites, branches, strict=True))


def _divide(tensors: Mapping[str, Tensor], backbone: Backbone, folder: Path, root: str) -> _Parts:
    """Take a file's tensors apart: the head's by its own names, the language head's, those inside the bare model."""
    head = backbone.new_head(2)
    head_names = {name for name, _ in head.named_parameters()}
    head_modules = {name for name, _ in head.named_modules()}
    there = {name for name, _ in backbone.model.named_modules()}
    parts = _Parts()
    for key, value in tensors.items():
        if key == "prompt_embeddings" or ".original_module." in key or key.endswith(_TRAINING_ONLY):
            continue
        name = key.removeprefix("base_model.").removeprefix("model.")
        if ".modules_to_save." in name:
            # With all biases PEFT writes those of saved modules twice.
            name = name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
            if key.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".") in tensors:
                continue
        module, kind = _module_and_kind(name)
        if module == "lm_head" and backbone.language is not None:
            parts.language[kind] = value
        elif name in head_names:
            parts.head[name] = value
        elif module in head_modules and kind in KINDS:
            parts.beside_head[module][kind] = value
        elif name.startswith(root) and module.removeprefix(root) in there:
            parts.body[module.removeprefix(root)][kind] = value
        else:
            raise _stranger(folder, backbone, name, module, root)
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


def _module_and_kind(name: str) -> tuple[str, str]:
    for kind in sorted(KINDS, key=len, reverse=True):
        if name.endswith(f".{kind}"):
            return name.removesuffix(f".{kind}"), kind
    module, _, parameter = name.rpartition(".")
    return module, parameter


def _head(parts: _Parts, backbone: Backbone, folder: Path, place: Any) -> tuple[Head, tuple[str, ...]]:
    """Return the head and its label names: the file's weights, what they leave of the base's, adapters on them folded."""
    own = {**backbone.pretrained_head, **parts.head}
    outputs = _outputs(own, folder)
    head = backbone.new_head(outputs)
    take_head(head, own, folder)
    for name, values in parts.beside_head.items():
        module = head.get_submodule(name)
        if not isinstance(module, nn.Linear):
            raise UsageError(
                f"{folder} adapts '{name}' of the head, which is a {type(module).__name__}; it is not read."
            )
        _folded(module, branches_at(place(_linear_site(name, module), module, name), values), backbone, name)
    return head, _labels(backbone.config, outputs, folder)


def _linear_site(name: str, module: Any) -> Site:
    width, width_in = module.weight.shape
    biased = module.bias is not None
    return Site(
        name=name, module=name, role="outer", kind="linear", layer=None, width_in=width_in, width=width, biased=biased
    )


class _Alone(nn.Module):
    """A module that is found under any path: it stands for the model that it is part of."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]

    def get_submodule(self, target: str) -> nn.Module:
        return self._module[0]


def _folded(module: Any, branches: Iterable[Placed], backbone: Backbone, name: str) -> None:
    """Fold branches into a linear module's weight and bias, in order; they may change its number of outputs."""
    for branch in branches:
        site = _linear_site(name, module)
        _start([(site, branch.to(module.weight.device))], backbone, _Alone(module))
        with torch.no_grad():
            weight, bias = branch.fold(module.weight.detach().float(), module.bias)
        dtype = module.weight.dtype
        module.weight = nn.Parameter(weight.to(dtype), requires_grad=module.weight.requires_grad)
        module.bias = None if bias is None else nn.Parameter(bias.to(dtype), requires_grad=False)


def _language(
    parts: _Parts, backbone: Backbone, folder: Path, made: Mapping[str, tuple[Site, Placed]], place: Any
) -> LanguageHead | None:
    """Return the adapter's own language head, or None where it is the base's.

    One that shares the embeddings' weight shares tokens that are trained alone, and an embedding that PEFT saved as its base.
    """
    language = backbone.language
    assert language is not None
    base: Any = language.linear
    name = "lm_head"
    (embedding,) = backbone.anatomy.of_kind("embedding")
    tied = backbone.model.get_submodule(embedding.module).get_parameter("weight") is base.weight
    shared = [branch for site, branch in made.values() if site.module == embedding.module and tied]
    if parts.language:
        branches = branches_at(place(_linear_site(name, base), base, name), parts.language)
        if tokens := [own for own in shared if isinstance(own, OwnTokens)]:
            if any(type(own) is not LowRank for own in branches):
                raise UsageError(
                    f"{folder} trains tokens of '{embedding.module}', which the language head shares, and the head itself "
                    "otherwise than by LoRA, which together are not read."
                )
            branches = [*tokens, *branches]  # PEFT's LoRA stands around the head with those tokens
    else:
        kept = "base_layer.weight" in parts.body.get(embedding.module, {})
        branches = [own for own in shared if isinstance(own, OwnTokens) or (kept and isinstance(own, Replaced))]
    if not branches:
        return None
    own: Any = nn.Linear(base.weight.shape[1], base.weight.shape[0], bias=False, device="meta")
    own.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=False)
    own.bias = None if base.bias is None else nn.Parameter(base.bias.detach().clone(), requires_grad=False)
    _folded(own, branches, backbone, name)
    more = len(own.weight) - len(base.weight)
    bias = language.bias if language.bias is None or more <= 0 else nn.functional.pad(language.bias, (0, more))
    return replace(language, linear=own, bias=bias if bias is None else bias[: len(own.weight)])


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
    found = tuple(str(names[index]) for index in sorted(names))
    if len(set(found)) < outputs:
        twice = next(name for name in found if found.count(name) > 1)
        raise UsageError(
            f"{folder}: its base model's id2label calls two labels '{twice}'; name them apart in config.json."
        )
    return found

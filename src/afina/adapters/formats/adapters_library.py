"""Read bottleneck adapters that the `adapters` library (AdapterHub) saved as safetensors into Afina's own branches.

Its folder has adapter_config.json, adapter.safetensors and, with a head, head_config.json and model_head.safetensors. Read
are its `double_seq_bn` (Houlsby), `seq_bn` (Pfeiffer) and `par_bn` (He's parallel) with a head of one of two forms: the
model's own, or the library's "flexible" classification head. Its older weights are pickles, which can run code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor, nn

from afina.adapters.adapter import read_tensors
from afina.adapters.format import AdapterFormat, FolderContents, adapter_format
from afina.adapters.given_branches import given_adapter, label_state, take_head
from afina.adapters.record import AdapterRecord
from afina.adapters.record_file import check_model_name
from afina.backbone.anatomy import Site
from afina.backbone.branch import Placed
from afina.backbone.head import Head, Hidden
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError, shown
from afina.json_files import read_json_object
from afina.methods.bottleneck import Activation, After, BeforeNorm, Beside, Network, Rejoin
from afina.ops.dropout import DropoutSource
from afina.precision import EXACT

__all__ = ["AdaptersLibrary", "FlexibleHead"]

_WEIGHTS = "adapter.safetensors"
_PLAIN = {
    "adapter_residual_before_ln": False, "cross_adapter": False, "inv_adapter": None, "ln_after": False,
    "ln_before": False, "original_ln_after": True, "phm_layer": False, "residual_before_ln": True, "use_gating": False,
}  # fmt: skip
"""The library's options with the values they must have: any other value is a variant that no paper's default has."""
_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu", "tanh": "tanh",
}  # fmt: skip


class _InnerHead(BaseModel):
    """Holds what head_config.json says of a "flexible" head."""

    head_type: str
    activation_function: str | None = None
    use_pooler: bool = False
    label2id: dict[str, int] | None = None


class _HeadConfig(BaseModel):
    """Holds what it says of the model's own head."""

    config: _InnerHead | None = None
    num_labels: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    label2id: dict[str, int] | None = None


class FlexibleHead(Head):
    """Classifies as the library's own head does: the first token (or the pooler's output), then linear layers with tanh."""

    def __init__(self, config: Any, layers: list[tuple[Tensor, Tensor]], *, pooled: bool) -> None:
        super().__init__(config, len(layers[-1][0]))
        self.first_token_only = not pooled
        self._pooled = pooled
        self.layers = nn.ModuleList()
        for weight, bias in layers:
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.load_state_dict({"weight": weight, "bias": bias})
            self.layers.append(layer)

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.pooled if self._pooled and hidden.pooled is not None else hidden.states[:, 0]

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        for layer in self.layers[:-1]:
            pooled = torch.tanh(layer(self.drop(pooled, source)))
        logits: Tensor = self.layers[-1](self.drop(pooled, source))
        return logits


@adapter_format("adapters")
class AdaptersLibrary(AdapterFormat):
    """Reads the library's folders, whose adapter_config.json has a `config` and no `peft_type`."""

    precedence = 1

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        try:
            config = read_json_object(folder / "adapter_config.json")
        except (OSError, AfinaError):  # which whoever reads it then will name
            return False
        return "peft_type" not in config and isinstance(config.get("config"), (dict, str))

    @classmethod
    def record(cls, folder: Path) -> AdapterRecord:
        config = read_json_object(folder / "adapter_config.json")
        if not (folder / _WEIGHTS).exists():
            raise UsageError(
                f"{folder} has no {_WEIGHTS}: the `adapters` library pickles weights, which can run code, unless it is told "
                "save_adapter(..., use_safetensors=True)."
            )
        settings = config["config"]
        # An option that the file leaves out has the library's default, which is the one that is read.
        odd = [key for key, value in _PLAIN.items() if isinstance(settings, dict) and settings.get(key, value) != value]
        if isinstance(settings, str) or "non_linearity" not in settings:
            raise UsageError(
                f"{folder}: of the `adapters` library only bottleneck adapters are read, and this is none."
            )
        if odd:
            raise UsageError(f"{folder}: bottleneck adapters of the `adapters` library with {odd[0]} set are not read.")
        kind, scaling = settings["non_linearity"], settings.get("scaling", 1.0)
        # True is a number to Python, and one of a file's numbers may be without measure.
        number = isinstance(scaling, (int, float)) and not isinstance(scaling, bool) and abs(scaling) < 1e12
        if not isinstance(kind, str) or kind not in _ACTIVATIONS or not number:
            raise UsageError(f"{folder}: its nonlinearity {shown(kind)} or scaling {shown(scaling)} is not read.")
        name = config.get("model_name") or "(unnamed)"
        check_model_name(folder / "adapter_config.json", name if isinstance(name, str) else "")
        return AdapterRecord(
            model=name, method="adapters", settings=config, task={},
            max_length=1 << 30, precision=EXACT, seed=0,
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path, backbone: Backbone, record: AdapterRecord) -> FolderContents:
        settings: Mapping[str, Any] = record.settings["config"]
        networks: dict[tuple[int, str], dict[str, Tensor]] = {}
        for name, value in read_tensors(folder / _WEIGHTS).items():
            # The layer is the first number of a tensor's name; in front of it stands what the library calls the model.
            place = re.fullmatch(r".*?\.(\d{1,6})\.(.*)\.?adapters\.[^.]+\.adapter_(down\.0|up)\.(weight|bias)", name)
            if place is None:
                raise AfinaError(f"{folder}: '{name}' is no part of a bottleneck adapter as they are read.")
            layer, where, part, kind = place.groups()
            networks.setdefault((int(layer), "attention" if "attention" in where else "output"), {})[
                f"{part.removesuffix('.0')}.{kind}"
            ] = value.float()
        made: dict[str, tuple[Site, Placed]] = {}
        for (layer, where), values in sorted(networks.items()):
            _check_network(values, backbone, layer, folder)
            for site, branch in _placed(backbone, layer, where, values, settings, folder):
                made[site.name] = (site, branch)
        head, names = _head(folder, backbone)
        return FolderContents(given_adapter(made, head, backbone), label_state(names, backbone))

    @classmethod
    def peft_files(cls, folder: Path) -> tuple[str, ...]:
        raise UsageError(f"PEFT has no word for the bottleneck adapters in {folder}.")


def _check_network(values: Mapping[str, Tensor], backbone: Backbone, layer: int, folder: Path) -> None:
    down = values.get("down.weight")
    inner, width = 0 if down is None or down.ndim != 2 else len(down), backbone.anatomy.width
    shapes = {
        "down.weight": (inner, width), "down.bias": (inner,), "up.weight": (width, inner), "up.bias": (width,),
    }  # fmt: skip
    if inner == 0 or {name: tuple(value.shape) for name, value in values.items()} != shapes:
        raise AfinaError(
            f"{folder} does not fit {backbone.name} at layer {layer}: it was trained on another base model, or is damaged."
        )


def _placed(
    backbone: Backbone, layer: int, where: str, values: Mapping[str, Tensor], settings: Mapping[str, Any], folder: Path
) -> list[tuple[Site, Placed]]:
    sites = {site.role: site for site in backbone.anatomy.sites if site.layer == layer and site.kind == "linear"}
    closing = {site.layer: site for site in backbone.anatomy.closings()}.get(layer)
    if closing is None or values["down.weight"].shape[1] != backbone.anatomy.width:
        raise AfinaError(
            f"{folder} does not fit {backbone.name} at layer {layer}: it was trained on another base model."
        )

    # Where norms come last (BERT) the library hands the network the sum before the norm, elsewhere the sublayer's
    # output.
    norm_comes_last = closing.kind == "norm"
    scale = float(settings.get("scaling", 1.0))
    network = Network(backbone.anatomy.width, len(values["down.weight"]), _ACTIVATIONS[settings["non_linearity"]])
    parallel = bool(settings.get("is_parallel"))

    # Beside the residual connection the network is scaled on its way out; elsewhere the scale is put into U and u.
    scaled = {key: value * scale if key.startswith("up.") and not parallel else value for key, value in values.items()}
    network.load_state_dict(scaled)
    if parallel:
        if not norm_comes_last or where == "attention":
            raise UsageError(
                f"{folder}: the library's parallel adapters look at the residual stream here, before its norm, and Afina's "
                "at what the feed-forward layer takes; the two are the same only after the feed-forward layer of models "
                "whose norms come last, such as BERT."
            )
        beside, rejoin = Beside(network), Rejoin(scale)
        rejoin.beside = (beside,)
        return [(sites["ffn_up"], beside), (sites["ffn_down"], rejoin)]
    if settings.get("original_ln_before"):
        if where == "attention":
            raise UsageError(f"{folder}: adapters after attention with original_ln_before set are not read.")
        return [(closing, BeforeNorm(network) if norm_comes_last else After(network))]
    return [(sites["attention_out" if where == "attention" else "ffn_down"], After(network))]


def _head(folder: Path, backbone: Backbone) -> tuple[Head, tuple[str, ...]]:
    path = folder / "head_config.json"
    try:
        config = read_json_object(path)
        tensors = read_tensors(folder / "model_head.safetensors")
    except FileNotFoundError:
        raise UsageError(f"{folder} has no classification head (head_config.json); train one with it.") from None
    try:
        head = _HeadConfig.model_validate(config)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise AfinaError(f"{path}: '{where}' is of the wrong kind ({error.errors()[0]['msg']}).") from None
    inner = head.config
    label_ids = (inner or head).label2id or {}
    names = tuple(sorted(label_ids, key=lambda name: label_ids[name]))
    # Numbers from 0 without gaps: anything else would give an output another's name.
    if sorted(label_ids.values()) != list(range(len(label_ids))):
        raise AfinaError(f"{path}: label2id should number the labels from 0 on, each once.")
    if inner is None:
        if head.num_labels is None:
            raise AfinaError(f"{path} says neither num_labels nor what its head is.")
        made = backbone.new_head(head.num_labels)
        # The library saves its own tensors only; what is the base's own comes from there.
        take_head(made, {**backbone.pretrained_head, **{key: value.float() for key, value in tensors.items()}}, folder)
        return made, _named(names, head.num_labels, path)
    if inner.head_type != "classification" or inner.activation_function != "tanh":
        raise UsageError(
            f"{folder}: heads of the type {shown(inner.head_type)} are not read, only classification with tanh."
        )
    if backbone.anatomy.row.causal:
        raise UsageError(
            f"{folder}: the library's flexible heads are read for encoders only, and {backbone.name} is none."
        )
    if inner.use_pooler and backbone.pooler:
        raise UsageError(
            f"{folder}: its head looks through the base's pooler, and the files of {backbone.name} hold none."
        )
    layers = _flexible(tensors, backbone, folder)
    return FlexibleHead(backbone.config, layers, pooled=inner.use_pooler), _named(names, len(layers[-1][0]), path)


def _named(names: tuple[str, ...], outputs: int, path: Path) -> tuple[str, ...]:
    """Return the names of a head's outputs, by number if it has none; raises `AfinaError` for those of another number."""
    if names and len(names) != outputs:
        raise AfinaError(f"{path} names {len(names)} labels and its head has {outputs}; they are of two adapters.")
    return names or tuple(f"LABEL_{index}" for index in range(outputs))


def _flexible(tensors: Mapping[str, Tensor], backbone: Backbone, folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of a flexible head's layers, in order: `heads.NAME.NUMBER.weight`, the numbers with gaps."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        place = re.fullmatch(r"heads\..+\.(\d{1,3})\.(weight|bias)", name)
        if place is None:
            raise AfinaError(f"{folder}: '{name[:100]}' is no part of a head as they are read.")
        layers.setdefault(int(place[1]), {})[place[2]] = value.float()
    pairs: list[tuple[Tensor, Tensor]] = []
    # Each layer takes what the one before gives.
    width = backbone.anatomy.width
    for _, of_layer in sorted(layers.items()):
        weight, bias = of_layer.get("weight"), of_layer.get("bias")
        fits = weight is not None and bias is not None and weight.ndim == 2 and weight.shape == (len(bias), width)
        if not fits or weight is None or bias is None:
            raise AfinaError(f"{folder}: its head does not fit {backbone.name}; it was trained on another base model.")
        pairs.append((weight, bias))
        width = len(weight)
    if not pairs:
        raise AfinaError(f"{folder} is damaged: model_head.safetensors holds no head.")
    return pairs

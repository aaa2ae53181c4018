"""Bottleneck adapters that the `adapters` library (AdapterHub) saved as safetensors, read into Afina's own branches.

Its folder has adapter_config.json, adapter.safetensors and, with a head, head_config.json and model_head.safetensors. Read
are its `double_seq_bn` (Houlsby), `seq_bn` (Pfeiffer) and `par_bn` (He's parallel) with a head of one of two forms: the
model's own, or the library's "flexible" classification head. Its older weights are pickles, which can run code.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.branch import Frozen, Placed
from afina.backbone.heads import Head, Hidden
from afina.backbone.load import Backbone
from afina.errors import AfinaError, UsageError
from afina.methods.adapter import Adapter, AdapterRecord, read_tensors
from afina.methods.bottleneck import Activation, After, BeforeNorm, Beside, Network, Rejoin
from afina.methods.peft_files import Given, take_head
from afina.ops.dropout import DropoutSource

__all__ = ["FlexibleHead", "is_adapters_library", "read_adapters_library", "read_adapters_library_record"]

_WEIGHTS = "adapter.safetensors"
_PLAIN = {
    "adapter_residual_before_ln": False, "cross_adapter": False, "inv_adapter": None, "ln_after": False,
    "ln_before": False, "original_ln_after": True, "phm_layer": False, "residual_before_ln": True, "use_gating": False,
}  # fmt: skip
"""What the library's options have to be: all others are variants that no paper's default has."""
_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu", "tanh": "tanh",
}  # fmt: skip


class FlexibleHead(Head):
    """The library's own classification head: the first token (or the pooler's output), then linear layers with tanh."""

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


def is_adapters_library(folder: Path) -> bool:
    """Whether a folder's adapter_config.json is of this library's form."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return False
    return isinstance(config, dict) and "peft_type" not in config and isinstance(config.get("config"), (dict, str))


def read_adapters_library_record(folder: Path) -> AdapterRecord:
    """Read what the folder says of itself; raises `UsageError` for weights that are pickled and forms not read."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if not (folder / _WEIGHTS).exists():
        raise UsageError(
            f"{folder} has no {_WEIGHTS}: the `adapters` library pickles weights, which can run code, unless it is told "
            "save_adapter(..., use_safetensors=True)."
        )
    settings = config["config"]
    odd = [key for key, value in _PLAIN.items() if isinstance(settings, dict) and settings.get(key, value) != value]
    if isinstance(settings, str) or "non_linearity" not in settings:
        raise UsageError(f"{folder}: of the `adapters` library only bottleneck adapters are read, and this is none.")
    if odd:
        raise UsageError(f"{folder}: bottleneck adapters of the `adapters` library with {odd[0]} set are not read.")
    if settings["non_linearity"] not in _ACTIVATIONS or not isinstance(settings.get("scaling", 1.0), (int, float)):
        raise UsageError(
            f"{folder}: its nonlinearity '{settings['non_linearity']}' or scaling '{settings.get('scaling')}' is not read."
        )
    return AdapterRecord(
        model=str(config.get("model_name") or "(unnamed)"), method="adapters", settings=config, task={},
        max_length=1 << 30, precision="fp32", seed=0,
    )  # fmt: skip


def read_adapters_library(folder: Path, backbone: Backbone, record: AdapterRecord) -> tuple[Adapter, tuple[str, ...]]:
    """Return the adapter and its label names; raises `AfinaError` for a file that does not fit the model."""
    settings: Mapping[str, Any] = record.settings["config"]
    networks: dict[tuple[int, str], dict[str, Tensor]] = {}
    for name, value in read_tensors(folder / _WEIGHTS).items():
        place = re.fullmatch(r".*?\.(\d+)\.(.*)\.?adapters\.[^.]+\.adapter_(down\.0|up)\.(weight|bias)", name)
        if place is None:
            raise AfinaError(f"{folder}: '{name}' is no part of a bottleneck adapter as they are read.")
        layer, where, part, kind = place.groups()
        networks.setdefault((int(layer), "attention" if "attention" in where else "output"), {})[
            f"{part.removesuffix('.0')}.{kind}"
        ] = value.float()
    made: dict[str, tuple[Site, Placed]] = {}
    for (layer, where), values in sorted(networks.items()):
        for site, branch in _placed(backbone, layer, where, values, settings, folder):
            made[site.name] = (site, branch)
    head, names = _head(folder, backbone)
    adapter = Adapter(
        Given(made={key: branch for key, (_, branch) in made.items()}), [s for s, _ in made.values()], head
    )
    for site, branch in adapter.placed():
        branch.start(Frozen(backbone.model, backbone.anatomy, site))
    return adapter.to(backbone.device), names


def _placed(
    backbone: Backbone, layer: int, where: str, values: Mapping[str, Tensor], settings: Mapping[str, Any], folder: Path
) -> list[tuple[Site, Placed]]:
    sites = {site.role: site for site in backbone.anatomy.sites if site.layer == layer and site.kind == "linear"}
    closing = {site.layer: site for site in backbone.anatomy.closings()}.get(layer)
    if closing is None or values["down.weight"].shape[1] != backbone.anatomy.width:
        raise AfinaError(
            f"{folder} does not fit {backbone.name} at layer {layer}: it was trained on another base model."
        )
    norm_comes_last = closing.kind == "norm"
    scale = float(settings.get("scaling", 1.0))
    network = Network(backbone.anatomy.width, len(values["down.weight"]), _ACTIVATIONS[settings["non_linearity"]])
    parallel = bool(settings.get("is_parallel"))
    # Beside the residual connection the network is scaled on its way out; elsewhere the scale is put into U and u.
    own = {key: value * scale if key.startswith("up.") and not parallel else value for key, value in values.items()}
    network.load_state_dict(own)
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
    try:
        config = json.loads((folder / "head_config.json").read_text(encoding="utf-8"))
        tensors = read_tensors(folder / "model_head.safetensors")
    except FileNotFoundError:
        raise UsageError(f"{folder} has no classification head (head_config.json); train one with it.") from None
    inner = config.get("config")
    label_ids: Mapping[str, int] = (inner or config).get("label2id") or {}
    names = tuple(sorted(label_ids, key=lambda name: label_ids[name]))
    if inner is None:
        outputs = int(config["num_labels"])
        head = backbone.new_head(outputs)
        take_head(head, {**backbone.pretrained_head, **{key: value.float() for key, value in tensors.items()}}, folder)
        return head, names
    if inner["head_type"] != "classification" or inner["activation_function"] != "tanh":
        raise UsageError(
            f"{folder}: heads of the type {inner['head_type']} are not read, only classification with tanh."
        )
    if backbone.anatomy.row.causal:
        raise UsageError(
            f"{folder}: the library's flexible heads are read for encoders only, and {backbone.name} is none."
        )
    order = sorted({int(name.split(".")[2]) for name in tensors})
    stem = next(iter(tensors)).rsplit(".", 2)[0]
    layers = [(tensors[f"{stem}.{n}.weight"].float(), tensors[f"{stem}.{n}.bias"].float()) for n in order]
    return FlexibleHead(backbone.config, layers, pooled=bool(inner.get("use_pooler"))), names

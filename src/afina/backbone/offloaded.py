"""Load a backbone whose layers stay in the model's files, and come into memory one at a time: while each computes.

So a base trains that memory cannot hold. In a forward pass a layer's weights are let go as soon as it has computed; as
layers compute again in the backward pass (Chen et al., 2016, arXiv:1604.06174), they come once more then, and autograd
keeps them until the layer's gradients are there. What reads a weight at another time (`whole`) reads it from the file.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.language_head import LanguageHead
from afina.backbone.load import Backbone, model_class, read_config, tokenizer_at
from afina.backbone.model_files import check_device, model_path
from afina.backbone.quantise import packed
from afina.backbone.rows import row_of
from afina.backbone.storage.base import STORAGES
from afina.backbone.streamed import Streamed
from afina.backbone.weights import bare_of
from afina.errors import AfinaError, UsageError

__all__ = ["load_offloaded"]


def load_offloaded(
    name: str, *, precision: str, device: str = "cpu", trust_remote_code: bool = False, speaks: bool = False,
    tags: bool = False,
) -> Backbone:  # fmt: skip
    """Return the backbone that `load_backbone` returns, with its layers' weights on the disk.

    Raises `AfinaError` for weights in codes and for architectures that are known by their shape alone, and `UsageError` for
    files that name weights otherwise than the modules, or lack some.
    """
    check_device(device)
    if packed(precision) is not None or (dtype := STORAGES.named(precision).dtype) is None:
        raise AfinaError(
            f"offload: disk reads plain weights, not {precision}; set precision: bf16, or leave offload out."
        )
    config = read_config(name, trust_remote_code=trust_remote_code)
    if (row := row_of(config)) is None:
        raise AfinaError(
            f"offload: disk reads architectures that are known by name, not {config.model_type}; leave offload out."
        )
    streamed = Streamed.open(
        name, device=device, dtype=dtype, trust_remote_code=trust_remote_code, speaks=speaks, tags=tags
    )
    with torch.device("meta"):
        outline = model_class(config, speaks=speaks, tags=tags).from_config(copy.deepcopy(config))
    prefix, bare = bare_of(outline)
    for layer in streamed.layers:
        for path, value in streamed.inside(layer).items():
            value.full_tensor = partial(streamed.weight, path)  # type: ignore[attr-defined]
    backbone = replace(
        streamed.backbone, name=name, prefix=prefix, precision=precision, window=_window(streamed),
        tokenizer=tokenizer_at(name, model_path(name), trust_remote_code) if row.inputs == "text" else None,
        call_settings=row.call_settings(config),
        pooler=_lacking_pooler(bare, streamed.backbone.model, prefix),
    )  # fmt: skip
    backbone.linears = {}  # copies of weights
    outside = _outside(outline, bare, prefix, streamed)
    if backbone.language is not None:
        return replace(
            backbone, language=_language_head(backbone, outline, outside), generation=outline.generation_config
        )
    return replace(backbone, pretrained_head={key: value.float() for key, value in outside.items()})


def _window(streamed: Streamed) -> Callable[[nn.Module], Any]:
    """Return what holds a layer's weights in memory while it computes."""
    paths = {streamed.backbone.model.get_submodule(layer): layer for layer in streamed.layers}
    return lambda module: streamed.at(paths[module])


def _outside(outline: Any, bare: Any, prefix: str, streamed: Streamed) -> dict[str, Tensor]:
    """Return what the files hold of a model outside its bare one: heads, as `load_backbone` computes with them."""
    inside = {f"{prefix}{key}" for key in bare.state_dict()}
    wanted = {
        key: value for key, value in outline.state_dict().items()
        if key not in inside and key in streamed.files and streamed.files.shape(key) == tuple(value.shape)
    }  # fmt: skip
    return {key: streamed.here(value) for key, value in streamed.files.read(wanted).items()}


def _language_head(backbone: Backbone, outline: Any, outside: dict[str, Tensor]) -> LanguageHead:
    """Return the language head with its weights, those of the embeddings where the model ties them."""
    assert backbone.language is not None
    linear, (site,) = backbone.language.linear, backbone.anatomy.of_kind("embedding")
    words = backbone.model.get_submodule(site.module)
    if outline.get_output_embeddings().weight is outline.get_input_embeddings().weight:
        outside = outside | {"lm_head.weight": words.get_parameter("weight")}
    for key, value in linear.named_parameters():
        if f"lm_head.{key}" not in outside:
            raise UsageError(
                f"The weights of '{backbone.name}' hold no language head (lm_head.{key}); give the pretrained model, not a "
                "classifier of it."
            )
        made = outside[f"lm_head.{key}"]
        assert made.shape == value.shape
        setattr(linear, key, made if isinstance(made, nn.Parameter) else nn.Parameter(made, requires_grad=False))
    bias = backbone.language.bias
    if bias is not None:  # BART's, zeros where the files have none
        of_files = outside.get("final_logits_bias")
        bias = torch.zeros(bias.shape, device=backbone.device) if of_files is None else of_files[0].float()
    return replace(backbone.language, bias=bias)


def _lacking_pooler(outline: Any, model: Any, prefix: str) -> str:
    """Return the path of the layer of a pooler that the files lack and that was left out; empty where there is none."""
    if getattr(outline, "pooler", None) is None or getattr(model, "pooler", None) is not None:
        return ""
    layers = [key.removesuffix(".weight") for key in outline.pooler.state_dict() if key.endswith(".weight")]
    return f"{prefix}pooler.{layers[0]}" if len(layers) == 1 else ""

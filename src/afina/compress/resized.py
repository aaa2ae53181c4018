"""Write new sizes into a model's configuration, and look whether plain transformers would build such a model of it."""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from afina.compress.way import Opened
from afina.errors import UsageError

__all__ = ["resize"]

_NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "inner": (
        "intermediate_size", "hidden_dim", "n_inner", "d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim",
    ),
    "heads": ("num_attention_heads", "n_heads", "n_head", "num_heads", "encoder_attention_heads"),
    "key_heads": ("num_key_value_heads",),
    "head_width": ("head_dim", "d_kv"),
}  # fmt: skip
"""Names that configurations have for each size."""


def resize(opened: Opened, sizes: Mapping[str, Any]) -> None:
    """Give the model's configuration its new sizes, in place; raises `UsageError` where transformers has no such model.

    `sizes` may have `layers`, `inner`, `heads`, `key_heads` and `head_width`, and `layer_types`, a list's places that stay.
    """
    config = opened.model.config
    values = config.to_dict()
    for size, wanted in sizes.items():
        if size == "layer_places":
            for name in ("layer_types", "mlp_layer_types"):
                if isinstance(kinds := getattr(config, name, None), list):
                    setattr(config, name, [kinds[place] for place in wanted])
            continue
        names = [name for name in _NAMES[size] if name in values]
        if not names and size == "head_width":
            names = ["head_dim"]  # read by many architectures whose configurations do not show it
        for name in names:
            setattr(config, name, wanted)
    _compare(opened, config)


def _compare(opened: Opened, config: Any) -> None:
    """Raise `UsageError` unless a model of this configuration has tensors of the very same names and sizes."""
    try:
        with torch.device("meta"):
            plain = type(opened.model)(copy.deepcopy(config))
    except Exception as error:  # a configuration that does not go together may end in anything
        raise UsageError(_no_such(opened, " ".join(str(error).split())[:160])) from None
    ours = {name: tuple(value.shape) for name, value in opened.model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in plain.state_dict().items()}
    pooler = {name for name in theirs.keys() - ours.keys() if ".pooler." in f".{name}"}
    for name in sorted((ours.keys() | theirs.keys()) - pooler):
        if ours.get(name) != theirs.get(name):
            raise UsageError(
                _no_such(
                    opened, f"{name} would be {ours.get(name) or 'missing'}, and is {theirs.get(name) or 'none'} there"
                )
            )


def _no_such(opened: Opened, why: str) -> str:
    return (
        f"transformers has no {opened.anatomy.model_type} model of these sizes, and nothing could load it ({why}); choose "
        "another way or amount."
    )

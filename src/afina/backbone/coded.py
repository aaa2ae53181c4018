"""Load a checkpoint whose weights are stored in codes: its layers take their place in the model, and are read as they are.

transformers loads such files through a quantiser that it looks up by a name; the one here needs no library of another's.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from afina.backbone.storage.base import STORAGES
from afina.backbone.storage.coded import Coded, Stored, checked_settings
from afina.errors import UsageError
from afina.json_files import read_json_object
from afina.ops.coded_linear import CodedLinear
from afina.ops.linear import is_plain_linear

__all__ = ["code_shape", "coded", "dequantise", "reading_codes", "released", "settings_beside"]

_QUANTISER = "afina_coded"
"""The name by which transformers finds the quantiser here."""


def coded(precision: str | None) -> type[Coded] | None:
    """Return the storage of a precision that only checkpoints bring, None for any other."""
    kind = STORAGES.get(precision) if precision else None
    return kind if kind is not None and issubclass(kind, Coded) else None


def reading_codes(name: str, config: Any, storage: type[Coded]) -> Any:
    """Return a configuration with which transformers loads a model's codes by the storage.

    Raises `UsageError` for settings of the checkpoint that are not understood.
    """
    import copy

    _register()
    settings = _configuration(config)
    checked_settings(name, storage, settings)
    changed = copy.deepcopy(config)
    changed.quantization_config = {
        "quant_method": _QUANTISER, "name": name, "storage": storage.name, "settings": settings
    }  # fmt: skip
    return changed


def settings_beside(path: str) -> dict[str, Any] | None:
    """Return the settings that older checkpoints have in a file of their own, None where there is no such file.

    Raises `AfinaError` for a damaged one.
    """
    for storage in filter(None, map(coded, STORAGES)):
        if storage.beside and (file := Path(path) / storage.beside).is_file():
            return {"quant_method": storage.methods[0], **read_json_object(file)}
    return None


def code_shape(model: nn.Module, config: Any, storage: type[Coded], dtype: torch.dtype, keep: Iterable[str]) -> None:
    """Replace the layers of a shape that such a checkpoint keeps in codes, in place, as far as its settings tell.

    On `meta` only their shape is made, elsewhere codes drawn from torch's current random state. `keep` are patterns of paths
    that stay plain.
    """
    import re

    settings = checked_settings("The model", storage, _configuration(config))
    patterns = [re.compile(pattern) for pattern in keep]
    for path, module in list(model.named_modules()):
        if not is_plain_linear(module) or any(pattern.search(path) for pattern in patterns):
            continue
        layer = storage.like(settings, module, dtype)
        if layer is not None:
            # A shape on `meta` costs no memory; elsewhere somebody wants numbers to time.
            where = module.get_parameter("weight").device
            model.set_submodule(path, layer if where.type == "meta" else layer.to_empty(device=where))
            if where.type != "meta":
                layer.draw()


def dequantise(model: nn.Module, dtype: torch.dtype, only: Iterable[str] = ()) -> None:
    """Replace layers of codes, all or those at the paths `only`, in place, by plain ones with the weights they stand for."""
    from transformers.pytorch_utils import Conv1D

    wanted = set(only)
    for path, module in list(model.named_modules()):
        if not isinstance(module, CodedLinear) or (wanted and path not in wanted):
            continue
        weight, bias = module.dense().to(dtype), module.bias
        plain: nn.Module
        # Weights come from the codes at once, so that drawing fresh ones would be in vain.
        with torch.device("meta"):
            if module.conv:
                plain, weight = Conv1D(module.out_features, module.in_features), weight.T
            else:
                plain = nn.Linear(module.in_features, module.out_features, bias=bias is not None)
        plain.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        if module.conv or bias is not None:
            value = weight.new_zeros(module.out_features) if bias is None else bias.to(dtype)
            plain.bias = nn.Parameter(value, requires_grad=False)
        model.set_submodule(path, plain)


def released(model: Any, bare: nn.Module, *, plain: bool) -> tuple[str, ...]:
    """Make a model of transformers that was read with codes one of ours, in place; returns what was assumed, a sentence each.

    With `plain` every layer gets the weight that its codes stand for; without, a language head does, whose weight is
    looked at as a whole.
    """
    quantiser: Any = getattr(model, "hf_quantizer", None)
    # A quantiser of another's is that library's own affair.
    if quantiser is None or not isinstance(quantiser, _register()):
        return ()
    settings = quantiser.quantization_config.settings
    # Otherwise transformers would save the codes' settings with weights that are none any more.
    quantiser.remove_quantization_config(model)
    dtype = next(module.dtype for module in model.modules() if isinstance(module, CodedLinear))
    if plain:
        dequantise(model, dtype)
    else:
        # The bare model's layers stay as codes; a language head is outside of it.
        inside = set(bare.modules())
        heads = [path for path, own in model.named_modules() if isinstance(own, CodedLinear) and own not in inside]
        if heads:
            dequantise(model, dtype, heads)
        bare.config.quantization_config = settings  # type: ignore[union-attr]
    return tuple(quantiser.notes)


def _configuration(config: Any) -> dict[str, Any]:
    settings = config.quantization_config
    # A configuration may be a mapping or one of transformers' own classes, by the version of the file.
    return dict(settings) if isinstance(settings, Mapping) else dict(settings.to_dict())


@cache
def _register() -> type[Any]:
    """Tell transformers of the quantiser, once, and return its class."""
    from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    class Configuration(QuantizationConfigMixin):  # type: ignore[misc]
        """Holds what the quantiser is to read."""

        def __init__(self, name: str, storage: str, settings: dict[str, Any], **_: Any) -> None:
            self.quant_method, self.name, self.storage, self.settings = _QUANTISER, name, storage, settings

    class Quantiser(HfQuantizer):  # type: ignore[misc]
        """Puts layers of codes into the model before their tensors are read, and checks them after."""

        def _process_model_before_weight_loading(self, model: Any, **given: Any) -> None:
            asked = self.quantization_config
            storage = STORAGES.named(asked.storage)
            assert issubclass(storage, Coded)
            settings = checked_settings(asked.name, storage, asked.settings)
            self.notes: list[str] = []
            modules = dict(model.named_modules())
            for stored in _stored(given["checkpoint_files"] or [], storage):
                path = _path_in(stored.path, modules, model.base_model_prefix)
                if path is None:
                    continue  # of a head that this class of model does not have
                module = modules[path]
                if not is_plain_linear(module):
                    raise UsageError(
                        f"The weights of '{asked.name}' hold {stored.path} in codes, which is no linear layer."
                    )
                dtype = module.get_parameter("weight").dtype
                model.set_submodule(path, storage.layer(settings, stored, module, dtype))

        def _process_model_after_weight_loading(self, model: Any, **given: Any) -> None:
            assumed: dict[str, None] = {}
            for path, module in model.named_modules():
                if isinstance(module, CodedLinear):
                    if (note := module.finish(path)) is not None:
                        assumed[note] = None
                    # AutoGPTQ gives every layer a bias, of zeros where the model has none.
                    if module.bias is not None and not bool(module.bias.any()):
                        module.bias = None  # type: ignore[assignment]
            self.notes = list(assumed)

        def is_serializable(self) -> bool:
            # Codes are kept as they came, and written by the exports, not by `save_pretrained`.
            return False

        @property
        def is_trainable(self) -> bool:
            # Adapters are trained beside the codes, which transformers asks about before it lets anything train.
            return True

    register_quantization_config(_QUANTISER)(Configuration)
    register_quantizer(_QUANTISER)(Quantiser)
    return Quantiser


def _path_in(path: str, modules: Mapping[str, nn.Module], prefix: str) -> str | None:
    """Return where a stored layer is in the model, which may have a prefix more than the files or one less."""
    names = (path, f"{prefix}.{path}", path.removeprefix(f"{prefix}."))
    return next((name for name in names if name in modules), None)


def _stored(files: Iterable[str], storage: type[Coded]) -> list[Stored]:
    """Return the layers whose codes the files hold; only their headers are read."""
    from safetensors import safe_open

    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    with ExitStack() as opened:
        # All at once: a layer's tensors may lie in several shards.
        for file in files:
            shard = opened.enter_context(safe_open(file, "pt"))
            for key in shard.keys():  # noqa: SIM118 - it is no dict
                part = shard.get_slice(key)
                tensors[key] = part.get_dtype(), tuple(part.get_shape())
    paths = [key.removesuffix(f".{storage.code}") for key in tensors if key.endswith(f".{storage.code}")]
    of = {path: {} for path in paths}  # type: dict[str, dict[str, tuple[str, tuple[int, ...]]]]
    for key, value in tensors.items():
        path, _, name = key.rpartition(".")
        if path in of:
            of[path][name] = value
    return [Stored(path, named) for path, named in of.items()]

"""Frozen linear layers in fewer bits than they compute with, and every layer's weight as it computes.

What reads a layer's weight reads it by `full_weight`, however it is kept (`storage/`).
"""

import re
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.storage.base import STORAGES, Packed
from afina.ops.coded_linear import CodedLinear
from afina.ops.linear import is_conv1d
from afina.ops.whole_tensor import whole

__all__ = [
    "full_weight",
    "is_quantised",
    "keeps_input",
    "packed",
    "parameter_count",
    "quantise",
    "round_weights",
    "settle",
    "stored_precision",
    "unfit",
    "weight_bytes",
    "weight_shape",
]


def packed(precision: str) -> type[Packed] | None:
    """Return the storage of a precision that keeps weights in fewer bits than they compute with, None for a plain one."""
    kind = STORAGES.get(precision)
    return kind if kind is not None and issubclass(kind, Packed) else None


@cache
def _by_weight_class() -> dict[str, type[Packed]]:
    # The library that makes a kind of weight is imported only where something is quantised, so that classes go by
    # name.
    kinds = (kind for name in STORAGES if (kind := packed(name)) is not None)
    return {kind.weight_class: kind for kind in kinds if kind.weight_class}


def stored_precision(config: Any) -> str | None:
    """Return in which precision a checkpoint's weights are already quantised, or by what; None for a plain one."""
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return None
    settings = stored if isinstance(stored, dict) else stored.to_dict()
    made = next((name for name in STORAGES if (kind := packed(name)) is not None and kind.made(settings)), None)
    return made or str(
        settings.get("bnb_4bit_quant_type") if settings.get("load_in_4bit") else settings.get("quant_method")
    )


def unfit(model: nn.Module, storage: type[Packed], device: str) -> list[str]:
    """Return patterns of the paths of linear layers that a storage cannot keep on a device, and that stay as they are."""
    # transformers quantises these two kinds of layers alone.
    linear = ((name, own) for name, own in model.named_modules() if isinstance(own, nn.Linear) or is_conv1d(own))
    widths = {name: own.in_features if isinstance(own, nn.Linear) else own.nx for name, own in linear}
    return [f"^{re.escape(name)}$" for name, width in widths.items() if not storage.fits(int(width), device)]


def quantise(model: nn.Module, configuration: Any) -> None:
    """Quantise a plain transformers model in place, as loading does weight by weight; on `meta` only its shape."""
    from transformers.quantizers import AutoHfQuantizer

    quantiser = AutoHfQuantizer.from_config(configuration, pre_quantized=False)
    # What was a plain layer before: its bias is put back, which the replacement does not take along.
    before = dict(model.named_modules())
    quantiser.preprocess_model(model=model, device_map=None)
    convert = quantiser.get_quantize_ops().convert
    for name, module in list(model.named_modules()):
        if is_quantised(module):
            module.bias, weight, path = before[name].bias, before[name].get_parameter("weight"), f"{name}.weight"
            # On `meta` there are no numbers that could be rounded.
            if weight.device.type != "meta":
                module.weight = convert({path: weight.detach()}, model=model, full_layer_name=path)[path]
    settle(model)


def settle(model: nn.Module, compute: torch.dtype | None = None, *, mapped: bool = True) -> None:
    """Make a model that was just quantised, in place, fit to be trained on.

    On a CPU bitsandbytes would repack 4-bit weights when it first evaluates with them: with rounded scales, and so that no
    gradient gets through, in the training after it either. And what stays plain may still be a view of the weights' file,
    which would be in memory whole: if it is `mapped`, it is copied. `compute` is what its layers are to compute in, where a
    file says another type.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.__dict__["support_avx512bf16_for_cpu"] = False
        if compute is not None and hasattr(module, "compute_dtype"):
            module.__dict__["compute_dtype"] = compute
    for value in (*model.parameters(), *model.buffers()) if mapped else ():
        if value.device.type == "cpu" and type(value).__name__ not in _by_weight_class():
            # A copy of its own, after which the mapped file can be let go.
            value.data = value.data.clone()


def _storage_of(module: nn.Module) -> type[Packed] | None:
    """Return in what a layer's weight is kept, None for a plain one."""
    if isinstance(module, CodedLinear):
        return packed(module.storage)
    return _by_weight_class().get(type(getattr(module, "weight", None)).__name__)


def is_quantised(module: nn.Module) -> bool:
    """Return whether a layer keeps its weight in another form than it computes with."""
    return _storage_of(module) is not None


def keeps_input(module: nn.Module) -> bool:
    """Return whether a layer keeps its input for the backward pass where autograd does not see it."""
    kind = _storage_of(module)
    return kind is not None and kind.keeps_inputs


def weight_shape(module: nn.Module) -> tuple[int, ...]:
    """Return the shape of a layer's weight as it computes, (out, in) for a quantised one."""
    if isinstance(module, nn.Linear):
        # A packed weight has another shape than the numbers that it stands for.
        return module.out_features, module.in_features
    return tuple(module.get_parameter("weight").shape)


def full_weight(module: nn.Module) -> Tensor:
    """Return a layer's weight as it computes: its own where it is plain, else dequantised anew, (out, in)."""
    kind = _storage_of(module)
    return whole(module.get_parameter("weight")).detach() if kind is None else kind.full(module)


def round_weights(plain: nn.Module, quantised: nn.Module) -> float:
    """Give a plain model, in place, the weights that its quantised form computes with.

    Returns by how much they differ from its own: the Frobenius norm of the change over that of the weights.
    """
    change = whole = 0.0

    # In float64: the sums run over billions of squares.
    modules = dict(plain.named_modules())
    with torch.no_grad():
        for name, module in quantised.named_modules():
            if is_quantised(module):
                weight, rounded = modules[name].get_parameter("weight"), full_weight(module)

                # GPT-2's layers keep their weights (in, out), and their quantised form does not.
                rounded = (rounded if isinstance(modules[name], nn.Linear) else rounded.T).to(weight.dtype)
                change += float((rounded - weight).double().square().sum())
                whole += float(weight.double().square().sum())
                weight.copy_(rounded)
    # A model without quantised layers is its own.
    return (change / whole) ** 0.5 if whole else 0.0


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers a model's parameters are, in however few bytes they are kept."""
    # By identity, as a weight may be shared by two layers and is one all the same.
    shapes = {id(module.weight): weight_shape(module) for module in model.modules() if is_quantised(module)}
    return sum(torch.Size(shapes.get(id(value), value.shape)).numel() for value in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's parameters, scales of quantised ones included; a model on `meta` will do."""
    sizes = {
        id(module.weight): kind.size_of(module)
        for module in model.modules()
        if (kind := _storage_of(module)) is not None
    }
    return sum(sizes.get(id(value), value.numel() * value.itemsize) for value in model.parameters())

"""Frozen linear layers in 4 or 8 bits through bitsandbytes, and their weights as they compute.

`nf4` is NormalFloat4 in blocks of 64 with the blocks' scales quantised again (Dettmers et al., 2023, arXiv:2305.14314,
section 3); `int8` is LLM.int8(), a scale for each row (Dettmers et al., 2022, arXiv:2208.07339). What reads a layer's
weight reads it by `full_weight`, which is where another way of keeping weights would be taught.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.errors import UsageError

__all__ = [
    "QUANTISED",
    "compute_dtype",
    "full_weight",
    "is_quantised",
    "parameter_count",
    "quantisation",
    "quantise",
    "round_weights",
    "settle",
    "stored_precision",
    "unfit",
    "weight_bytes",
    "weight_shape",
]

QUANTISED = ("nf4", "int8")
"""Precisions in which linear layers are kept in fewer bits than they compute with."""

_PACKED = ("Params4bit", "Int8Params")
"""bitsandbytes' classes of weights, by name: it is only imported where something is quantised."""
_BLOCK, _SCALES = 64, 256
"""Weights that share a scale in nf4, and scales that share one of their own."""


def compute_dtype(device: str) -> torch.dtype:
    """Return what a quantised model computes in: bfloat16, or float16 on a GPU that has no bfloat16 arithmetic."""
    lacks = device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.float16 if lacks else torch.bfloat16


def quantisation(precision: str, compute: torch.dtype, keep: Sequence[str]) -> Any:
    """Return transformers' configuration for a precision; modules whose path `keep` matches stay as they are.

    Raises `UsageError` where bitsandbytes is not installed.
    """
    # It tells at each product in int8 that inputs are cast, and at its import of a package that nothing here needs.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import accelerate
        import bitsandbytes
    except ImportError:
        raise UsageError(f"precision: {precision} needs bitsandbytes: pip install 'afina[quantised]'.") from None
    _ = accelerate, bitsandbytes
    from transformers import BitsAndBytesConfig

    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(keep))
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=list(keep),
    )  # fmt: skip


def stored_precision(config: Any) -> str | None:
    """Return in which precision a checkpoint's weights are already quantised, or by what; None for a plain one."""
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return None
    own = stored if isinstance(stored, dict) else stored.to_dict()
    if own.get("load_in_8bit"):
        return "int8"
    return str(own.get("bnb_4bit_quant_type") if own.get("load_in_4bit") else own.get("quant_method"))


def unfit(model: nn.Module, precision: str, device: str) -> list[str]:
    """Return patterns of the paths of layers that stay as they are: those whose rows are no whole blocks of 4 bits.

    On a CPU bitsandbytes 0.50 gives some of them back with other blocks' scales (at 96 or 688 inputs, not at 64 or 172).
    """
    if precision != "nf4" or device != "cpu":
        return []
    linear = ((name, own) for name, own in model.named_modules() if isinstance(own, nn.Linear) or _is_conv1d(own))
    widths = {name: own.in_features if isinstance(own, nn.Linear) else own.nx for name, own in linear}
    return [f"^{re.escape(name)}$" for name, width in widths.items() if int(width) % _BLOCK]


def _is_conv1d(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"  # transformers', in GPT-2


def quantise(model: nn.Module, configuration: Any) -> None:
    """Quantise a plain transformers model in place, as loading does weight by weight; on `meta` only its shape."""
    from transformers.quantizers import AutoHfQuantizer

    quantiser = AutoHfQuantizer.from_config(configuration, pre_quantized=False)
    before = dict(model.named_modules())
    quantiser.preprocess_model(model=model, device_map=None)
    convert = quantiser.get_quantize_ops().convert
    for name, module in list(model.named_modules()):
        if is_quantised(module):
            module.bias, weight, path = before[name].bias, before[name].get_parameter("weight"), f"{name}.weight"
            if weight.device.type != "meta":
                module.weight = convert({path: weight.detach()}, model=model, full_layer_name=path)[path]
    settle(model)


def settle(model: nn.Module) -> None:
    """Make a model that was just quantised, in place, fit to be trained on.

    On a CPU bitsandbytes would repack 4-bit weights when it first evaluates with them: with rounded scales, and so that no
    gradient gets through, in the training after it either. And what stays plain is still a view of the weights' file,
    which would be in memory whole.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.__dict__["support_avx512bf16_for_cpu"] = False
    for value in (*model.parameters(), *model.buffers()):
        if value.device.type == "cpu" and type(value).__name__ not in _PACKED:
            value.data = value.data.clone()


def is_quantised(module: nn.Module) -> bool:
    """Return whether a layer keeps its weight in another form than it computes with."""
    return type(getattr(module, "weight", None)).__name__ in _PACKED


def weight_shape(module: nn.Module) -> tuple[int, ...]:
    """Return the shape of a layer's weight as it computes, (out, in) for a quantised one."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    return tuple(module.get_parameter("weight").shape)


def full_weight(module: nn.Module) -> Tensor:
    """Return a layer's weight as it computes: its own where it is plain, else dequantised anew, (out, in)."""
    weight: Any = module.get_parameter("weight").detach()
    if not is_quantised(module):
        return weight  # type: ignore[no-any-return]
    from bitsandbytes import functional

    weight = module.weight
    if weight.dtype == torch.int8:
        # The first pass moves the scales from the weight to the layer.
        scales = weight.SCB if weight.SCB is not None else module.state.SCB  # type: ignore[union-attr]
        return functional.int8_vectorwise_dequant(weight.data, scales)  # type: ignore[no-any-return]
    return functional.dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[no-any-return]


def round_weights(plain: nn.Module, quantised: nn.Module) -> float:
    """Give a plain model, in place, the weights that its quantised form computes with.

    Returns by how much they differ from its own: the Frobenius norm of the change over that of the weights.
    """
    change = whole = 0.0
    modules = dict(plain.named_modules())
    with torch.no_grad():
        for name, module in quantised.named_modules():
            if is_quantised(module):
                own, rounded = modules[name].get_parameter("weight"), full_weight(module)
                # GPT-2's layers keep their weights (in, out), and their quantised form does not.
                rounded = (rounded if isinstance(modules[name], nn.Linear) else rounded.T).to(own.dtype)
                change += float((rounded - own).double().square().sum())
                whole += float(own.double().square().sum())
                own.copy_(rounded)
    return (change / whole) ** 0.5 if whole else 0.0


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers a model's parameters are, in however few bytes they are kept."""
    packed = {id(module.weight): weight_shape(module) for module in model.modules() if is_quantised(module)}
    return sum(torch.Size(packed.get(id(value), value.shape)).numel() for value in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's parameters, scales of quantised ones included; a model on `meta` will do."""
    packed = {id(module.weight): module for module in model.modules() if is_quantised(module)}
    return sum(
        _packed_bytes(packed[id(value)]) if id(value) in packed else value.numel() * value.itemsize
        for value in model.parameters()
    )


def _packed_bytes(module: nn.Module) -> int:
    rows, columns = weight_shape(module)
    if type(module.weight).__name__ == "Int8Params":
        return rows * columns + 4 * rows
    scales = -(-rows * columns // _BLOCK)
    tables = 4 * (16 + _SCALES + 1)  # the values of 4 bits and of 8, and the scales' mean
    return -(-rows * columns // 2) + scales + 4 * -(-scales // _SCALES) + tables

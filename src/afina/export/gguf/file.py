"""Write a model as a GGUF file: its matrices in one of llama.cpp's types, all else in float32."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afina.backbone.gguf_rows import GgufRow
from afina.backbone.gguf_tensors import as_gguf, gguf_names
from afina.errors import AfinaError, UsageError
from afina.export.gguf.settings import GgufForm
from afina.export.gguf.types import TYPES

__all__ = ["add_setting", "own_shapes", "rounded", "tensor_types", "write_file"]

_PLAIN = frozenset({"position_embd.weight", "rope_freqs.weight"})
"""Matrices that llama.cpp wants in float32."""


def own_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors, of those that are tied one."""
    return {name: tuple(value.shape) for name, value in _tensors(model).items()}


def _tensors(model: Any) -> dict[str, Any]:
    # Tied weights are one tensor, which llama.cpp takes for both.
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    return {name: value for name, value in model.state_dict().items() if not (tied and name == "lm_head.weight")}


def tensor_types(form: GgufForm, shapes: Mapping[str, tuple[int, ...]], kind: str) -> dict[str, str]:
    """Return the type of each tensor by its name in the file.

    What the next token is chosen by stays in eight bits where others have four or five, as llama.cpp's own tool keeps it
    in more. A matrix whose rows are no whole number of blocks is float16.
    """
    named = {called: shapes[name] for name, called in gguf_names(form.row, list(shapes)).items()}
    last = "output.weight" if "output.weight" in named else "token_embd.weight"
    types = {}
    for called, shape in named.items():
        chosen = kind
        if len(shape) < 2 or called in _PLAIN:
            chosen = "f32"
        elif kind.startswith("q"):
            width = shape[0] if called.split(".")[-2] in form.row.transposed else shape[-1]
            chosen = "f16" if width % 32 else "q8_0" if called == last else kind
        types[called] = chosen
    return types


def rounded(value: Any, kind: str) -> Any:
    """Return a tensor (of torch) as it comes back from a type, in float32."""
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, quants

    if kind == "f32":
        return value.float()
    # By the library that writes them too, so that what comes back is what a reader will get.
    plain = np.ascontiguousarray(value.detach().float().numpy())
    packed = GGMLQuantizationType[kind.upper()]
    return torch.from_numpy(np.ascontiguousarray(quants.dequantize(quants.quantize(plain, packed), packed)))


def write_file(
    path: Path, form: GgufForm, model: Any, kind: str, settings: Mapping[str, Any], tensors: Mapping[str, Any]
) -> None:  # fmt: skip
    """Write a transformers model with these settings and further `tensors`.

    Raises `UsageError` for weights that float16 does not hold, `AfinaError` where the disk does not take the file.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quants

    weights, row = _tensors(model), form.row
    names = gguf_names(row, list(weights))
    kinds = tensor_types(form, {key: tuple(value.shape) for key, value in weights.items()}, kind)
    writer = GGUFWriter(path, form.architecture)
    writer.add_type("model")
    writer.add_file_type(LlamaFileType[TYPES[kind].file_type])
    writer.add_quantization_version(2)
    for key, value in settings.items():
        add_setting(writer, key, value)
    shapes = {names[key]: _kept(row, names[key], value) for key, value in weights.items()}
    # Sizes are written before any tensor: the file is a table with its tensors behind it.
    for key, shape in (shapes | {key: tuple(value.shape) for key, value in tensors.items()}).items():
        packed = GGMLQuantizationType[kinds.get(key, "f32").upper()]
        sizes = quants.quant_shape_to_byte_shape(shape, packed) if packed > 1 else shape
        dtype = np.dtype({"F32": "float32", "F16": "float16"}.get(packed.name, "uint8"))
        writer.add_tensor_info(key, sizes, dtype, math.prod(sizes) * dtype.itemsize, raw_dtype=packed)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for key, value in weights.items():
            called = names[key]
            plain = np.ascontiguousarray(as_gguf(row, called, value.detach().float(), model.config).numpy())
            # Beyond its range float16 has infinity, which would turn into no number at the first product.
            if kinds[called] == "f16" and np.abs(plain).max(initial=0) > np.finfo(np.float16).max:
                raise UsageError(f"{key} has weights that f16 does not hold (above 65504); choose --type bf16.")
            writer.write_tensor_data(quants.quantize(plain, GGMLQuantizationType[kinds[called].upper()]))
        for value in tensors.values():
            writer.write_tensor_data(np.ascontiguousarray(value.float().numpy()))
    except OSError as error:
        raise AfinaError(
            f"{path} cannot be written ({error.strerror or 'the disk is full'}); make room there, or choose another --out."
        ) from error
    finally:
        writer.close()


def _kept(row: GgufRow, name: str, value: Any) -> tuple[int, ...]:
    shape = tuple(value.shape)
    return shape[::-1] if name.split(".")[-2] in row.transposed and len(shape) > 1 else shape


def add_setting(writer: Any, key: str, value: Any) -> None:
    """Add a setting in the type that llama.cpp reads it in."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, list(value))

"""Checkpoints whose weights are stored in codes, written by the formats' descriptions; no code of the package packs them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["Coded", "awq_checkpoint", "compressed_checkpoint", "gptq_checkpoint", "hqq_checkpoint", "words_of"]

Coded = tuple[dict[str, Tensor], Tensor]
"""A layer's tensors by name, and the weight (out, in) in float32 that they stand for."""


def words_of(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Return int32 words (N * bits / 32, K) of numbers (N, K), as one long stream of bits a column, the lowest first."""
    length = len(numbers) * bits // 32
    columns = []
    for column in numbers.T.astype(object):
        stream = sum(int(number) << (bits * place) for place, number in enumerate(column))
        columns.append([(stream >> (32 * place)) & 0xFFFFFFFF for place in range(length)])
    return np.array(columns, dtype=np.uint32).T.view(np.int32)


def gptq_checkpoint(
    source: Path, folder: Path, *, bits: int = 4, group: int = 16, sym: bool = False, version: int = 1,
    act_order: bool = False, says: dict[str, Any] | None = None, also: tuple[str, ...] = (), seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """Write a model's folder again with the linear layers of its layers in GPTQ's codes; returns their weights by path.

    `says` replaces keys of the `quantization_config`; `also` are paths outside the layers.
    """
    drawn = np.random.default_rng(seed)

    def coded(weight: Tensor) -> Coded:
        width, width_in = weight.shape
        size = width_in if group < 1 else group
        groups, most = -(-width_in // size), (1 << bits) - 1
        index = np.arange(width_in) // size
        if act_order:
            drawn.shuffle(index)
        codes = drawn.integers(0, most + 1, (width_in, width))
        zeros = np.full((groups, width), 1 << (bits - 1)) if sym else drawn.integers(1, most + 1, (groups, width))
        scales = torch.from_numpy(drawn.uniform(0.01, 0.05, (groups, width)).astype(np.float16))
        dense = (codes - zeros[index]) * scales.float().numpy()[index]
        tensors = {
            "qweight": torch.from_numpy(words_of(codes, bits)),
            "qzeros": torch.from_numpy(words_of((zeros - (version == 1)).T, bits).T.copy()),
            "scales": scales, "g_idx": torch.from_numpy(index.astype(np.int32)),
        }  # fmt: skip
        return tensors, torch.from_numpy(dense.T.astype(np.float32))

    settings = {
        "quant_method": "gptq", "bits": bits, "group_size": group, "sym": sym, "desc_act": act_order,
        "checkpoint_format": "gptq" if version == 1 else "gptq_v2", **(says or {}),
    }  # fmt: skip
    return _written(source, folder, coded, settings, also)


def awq_checkpoint(
    source: Path, folder: Path, *, group: int = 16, says: dict[str, Any] | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """Write a model's folder again in AWQ's codes, AutoAWQ's GEMM layout; returns the layers' weights by path."""
    drawn = np.random.default_rng(seed)

    def in_words(numbers: np.ndarray) -> Tensor:
        whole = numbers.astype(np.uint32)
        words = sum(whole[:, column::8] << (4 * place) for place, column in enumerate((0, 2, 4, 6, 1, 3, 5, 7)))
        return torch.from_numpy(np.asarray(words, dtype=np.uint32).view(np.int32).copy())

    def coded(weight: Tensor) -> Coded:
        width, width_in = weight.shape
        groups = width_in // group
        codes, zeros = drawn.integers(0, 16, (width_in, width)), drawn.integers(0, 16, (groups, width))
        scales = torch.from_numpy(drawn.uniform(0.01, 0.05, (groups, width)).astype(np.float16))
        dense = (codes - zeros.repeat(group, 0)) * scales.float().numpy().repeat(group, 0)
        tensors = {"qweight": in_words(codes), "qzeros": in_words(zeros), "scales": scales}
        return tensors, torch.from_numpy(dense.T.astype(np.float32))

    settings = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
    return _written(source, folder, coded, {**settings, **(says or {})})


def hqq_checkpoint(
    source: Path, folder: Path, *, bits: int = 4, group: int = 16, axis: int = 1, says: dict[str, Any] | None = None,
    stores: dict[str, Tensor] | None = None, tag: str | None = None, seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """Write a model's folder again in HQQ's codes, as transformers and hqq's `save_to_safetensors` do; returns the weights.

    `says` replaces keys of `weight_quant_params`, or with two underscores before them of `quant_config`; `stores` replaces
    a layer's tensors; with `tag` the settings are those of layers of this tag alone.
    """
    drawn = np.random.default_rng(seed)
    parts = {8: 1, 6: 1, 5: 1, 4: 2, 3: 10, 2: 4, 1: 8}[bits]

    def in_planes(codes: np.ndarray) -> Tensor:
        length, step = -(-len(codes) // parts), 8 if parts == 1 else bits
        rows = np.zeros((length * parts, codes.shape[1]), dtype=np.int64)
        rows[: len(codes)] = codes
        words = np.zeros((length, codes.shape[1]), dtype=np.int64)
        for part in range(parts):
            words += rows[part * length : (part + 1) * length] * 2 ** (step * (parts - 1 - part))
        return torch.from_numpy(words.astype(np.int32 if bits == 3 else np.uint8))

    def text(word: str) -> Tensor:
        return torch.tensor([ord(letter) for letter in word], dtype=torch.uint8)

    def coded(weight: Tensor) -> Coded:
        groups = weight.numel() // group
        shape, one = ((groups, group), (groups, 1)) if axis == 1 else ((group, groups), (1, groups))
        codes = drawn.integers(0, 1 << bits, shape)
        scale, zero = (drawn.uniform(low, high, one).astype(np.float16) for low, high in ((0.01, 0.05), (0, 1 << bits)))
        dense = (codes - zero.astype(np.float32)) * scale.astype(np.float32)
        flag = torch.tensor(0, dtype=torch.uint8)
        tensors = {
            "W_q": in_planes(codes), "scale": torch.from_numpy(scale), "zero": torch.from_numpy(zero),
            "nbits": torch.tensor(bits, dtype=torch.int32), "group_size": torch.tensor(group, dtype=torch.int32),
            "axis": torch.tensor(axis, dtype=torch.int32), "shape": torch.tensor(weight.shape),
            "packing": text("3bit_32" if bits == 3 else f"{8 if parts == 1 else bits}bit_u8"), "view_as_float": flag,
            "unpack_view_dtype": text("torch.int32" if bits == 3 else "torch.uint8"), "quant_scale": flag,
            "quant_zero": flag,
            "compute_dtype": text("torch.float16"), "offload_meta": flag, "encoded_state_dict": flag + 1,
            "optimize": flag + 1, "stores_quant_config": flag + 1, "channel_wise": flag + 1, "round_zero": flag,
            **(stores or {}),
        }  # fmt: skip
        return tensors, torch.from_numpy(dense.reshape(tuple(weight.shape)).astype(np.float32))

    weights = {
        "nbits": bits, "group_size": group, "axis": axis, "channel_wise": True, "optimize": True, "round_zero": bits == 4,
        "view_as_float": False,
    }  # fmt: skip
    settings = {
        "weight_quant_params": weights,
        "scale_quant_params": None,
        "zero_quant_params": None,
        "offload_meta": False,
    }
    for key, value in (says or {}).items():
        (settings if key.startswith("__") else weights)[key.removeprefix("__")] = value
    config = settings if tag is None else {tag: settings}
    return _written(source, folder, coded, {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"]})


def compressed_checkpoint(
    source: Path, folder: Path, weights: dict[str, Any], *, form: str, says: dict[str, Any] | None = None
) -> dict[str, Tensor]:
    """Write a model's folder again by the library compressed-tensors, `weights` its QuantizationArgs; returns the weights."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights))
    compressor = BaseCompressor.get_value_from_registry(form)
    group, symmetric = weights.get("group_size"), weights.get("symmetric", True)

    def coded(weight: Tensor) -> Coded:
        groups = {"group": weight.shape[1] // (group or 1), "tensor": 0}.get(weights["strategy"], 1)
        shape = (weight.shape[0], groups) if groups else (1,)
        scale = torch.linspace(0.02, 0.08, int(np.prod(shape))).view(shape)
        zero = None if symmetric else (torch.arange(scale.numel()) % 5).view(shape).to(torch.int8)
        state = {"weight": weight.float(), "weight_scale": scale} | (
            {} if zero is None else {"weight_zero_point": zero}
        )
        stored = compressor.compress(state, scheme)
        return stored, compressor.decompress(dict(stored), scheme)["weight"].float()

    settings = {
        "quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed", "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}},
    }  # fmt: skip
    return _written(source, folder, coded, {**settings, **(says or {})})


def _written(
    source: Path, folder: Path, coded: Callable[[Tensor], Coded], settings: dict[str, Any], also: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Copy a model's folder, with codes for the weights of the linear layers in its layers; returns those by path."""
    shutil.copytree(source, folder)
    file = folder / "model.safetensors"
    plain, stored, weights = load_file(file), {}, {}
    for key, value in plain.items():
        path = key.removesuffix(".weight")
        inside = any(f".{part}." in f".{key}" for part in ("layers", "layer", "h", "block"))
        inside = inside and "relative" not in key  # T5's, which is an embedding
        if key.endswith(".weight") and value.ndim == 2 and (inside or path in also):
            conv = any(name in key for name in ("c_attn", "c_proj", "c_fc"))  # GPT-2's, kept (in, out)
            tensors, weights[path] = coded(value.T if conv else value)
            stored.update({f"{path}.{name}": tensor.contiguous().clone() for name, tensor in tensors.items()})
        else:
            stored[key] = value.clone()
    save_file(stored, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return weights

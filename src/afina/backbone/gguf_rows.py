"""The architectures whose GGUF files are read: one row each, which says what settings and tensors are called there.

GGUF's names are llama.cpp's (github.com/ggml-org/llama.cpp, convert_hf_to_gguf.py); the functions are those of transformers.
A setting that a row does not name, and that is not off, is refused: it may change what the model computes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from afina.backbone.gguf_file import GgufFile
from afina.errors import UsageError, shown

__all__ = ["GGUF_ROWS", "GgufRow", "gguf_row", "model_settings", "tensor_names"]

_SHARED = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "rope.freq_base": "rope_theta",
}
_CHECKED = {"vocab_size", "attention.value_length", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor"}
"""Settings that are held against others, or taken by `_rope`."""
_SAID = {"rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout"}
"""Settings that change nothing."""
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True, kw_only=True)
class GgufRow:
    """An architecture of GGUF files, as transformers knows it."""

    model_type: str
    settings: Mapping[str, str] = field(default_factory=lambda: _SHARED)
    """Settings of the file, without the architecture's name, and what transformers calls them."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Settings that every such file means and does not say."""
    more: Callable[[GgufFile, dict[str, Any]], dict[str, Any]] = lambda file, values: {}
    """Settings that follow from others, and from which tensors there are."""
    layers: str = "model.layers"
    outer: Mapping[str, str] = field(default_factory=lambda: _OUTER)
    block: Mapping[str, str] = field(default_factory=lambda: _BLOCK)
    interleaved: bool = False
    """True if queries' and keys' rows are kept in pairs (a, b), (a, b), ... where transformers has a, a, ..., b, b, ..."""
    raised_norms: bool = False
    """True if norms are kept as 1 + weight."""
    transposed: frozenset[str] = frozenset()
    """Linear layers whose weights transformers keeps as (in, out)."""
    whole: bool = False
    """True if llama.cpp reads all of a text where the model has a window."""
    by_place: bool = False
    """True if a vocabulary's merges follow its order, not its scores (`gguf_tokenizer.py`)."""


def _llama_biases(file: GgufFile, values: dict[str, Any]) -> dict[str, Any]:
    # Whether a layer has biases is in no setting: it shows in the tensors.
    return {
        "attention_bias": "blk.0.attn_q.bias" in file.tensors, "mlp_bias": "blk.0.ffn_up.bias" in file.tensors
    }  # fmt: skip


def _phi3(file: GgufFile, values: dict[str, Any]) -> dict[str, Any]:
    rotated = file.settings.get("phi3.rope.dimension_count")
    width = values["hidden_size"] // values["num_attention_heads"]
    # A whole head is the plain way, which has no word.
    return {"partial_rotary_factor": rotated / width} if rotated and rotated != width else {}


def _gemma(file: GgufFile, values: dict[str, Any]) -> dict[str, Any]:
    # The 27B models alone divide by the width of a head as the hidden states have it (llama.cpp goes by their layers too).
    layers_of_27b = {"gemma2": 46, "gemma3": 62}[file.architecture]
    width = values["hidden_size"] // values["num_attention_heads"]
    return {
        "query_pre_attn_scalar": width if values["num_hidden_layers"] == layers_of_27b else values["head_dim"],
        "tie_word_embeddings": True,
    }


GGUF_ROWS: dict[str, GgufRow] = {
    "llama": GgufRow(model_type="llama", more=_llama_biases, interleaved=True),
    "qwen2": GgufRow(model_type="qwen2"),
    "qwen3": GgufRow(model_type="qwen3", block=_BLOCK | _HEAD_NORMS),
    "phi3": GgufRow(
        model_type="phi3",
        whole=True,
        settings={key: name for key, name in _SHARED.items() if key != "attention.key_length"}
        | {"attention.sliding_window": "sliding_window"},
        more=_phi3,
        block={key: name for key, name in _BLOCK.items() if key not in ("attn_q", "attn_k", "attn_v", "ffn_gate")}
        | {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"},
    ),
    "gemma2": GgufRow(
        model_type="gemma2",
        settings=_SHARED
        | {
            "attention.sliding_window": "sliding_window",
            "attn_logit_softcapping": "attn_logit_softcapping",
            "final_logit_softcapping": "final_logit_softcapping",
        },
        more=_gemma,
        block=_BLOCK | _GEMMA_NORMS,
        raised_norms=True,
        by_place=True,
    ),
    "gemma3": GgufRow(
        model_type="gemma3_text",
        settings=_SHARED | {"attention.sliding_window": "sliding_window"},
        more=_gemma,
        block=_BLOCK | _GEMMA_NORMS | _HEAD_NORMS,
        raised_norms=True,
        by_place=True,
    ),
    "gpt2": GgufRow(
        model_type="gpt2",
        settings={
            "block_count": "n_layer",
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        layers="transformer.h",
        outer={
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        block={
            "attn_norm": "ln_1",
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_norm": "ln_2",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        transposed=frozenset({"attn_qkv", "attn_output", "ffn_up", "ffn_down"}),
    ),
}
"""Rows by a file's `general.architecture`. Mistral's files name `llama`."""


def gguf_row(file: GgufFile) -> GgufRow:
    """Return the row of a file's architecture; raises `UsageError` for one without."""
    if file.architecture in GGUF_ROWS:
        return GGUF_ROWS[file.architecture]
    raise UsageError(
        f"{file.path} holds a model of the architecture {shown(file.architecture)}; GGUF files of "
        f"{', '.join(sorted(GGUF_ROWS))} are read: give this one as a folder with safetensors."
    )


def model_settings(file: GgufFile) -> dict[str, Any]:
    """Return what transformers' configuration has to say; raises `UsageError` for what would be another function."""
    row, prefix = gguf_row(file), f"{file.architecture}."
    given = {key.removeprefix(prefix): value for key, value in file.settings.items() if key.startswith(prefix)}
    # Values by which a setting that is not known does nothing.
    off: tuple[Any, ...] = (0, None, False, "none", "")
    unknown = sorted(
        f"{prefix}{key} ({shown(value)})"
        for key, value in given.items()
        if key not in row.settings and key not in _CHECKED | _SAID and value not in off
    )
    if unknown:
        raise UsageError(f"{file.path} has settings whose meaning is not known here: {', '.join(unknown)}.")
    # What every such file means goes first; the file's own word goes before it.
    values: dict[str, Any] = dict(row.fixed)
    for key, name in row.settings.items():
        if key in given:
            # A list would be a size for each layer, which no row here has.
            if isinstance(given[key], list | str | bool):
                raise UsageError(
                    f"{file.path}: {prefix}{key} should be one number for all layers, not {shown(given[key])}."
                )
            values[name] = given[key]
    needed = [
        key for key in row.settings if key.endswith(("_count", "_length")) and not key.startswith("attention.key")
    ]
    if missing := [key for key in needed if key not in given and key != "attention.head_count_kv"]:
        raise UsageError(f"{file.path} does not say its {', '.join(f'{prefix}{key}' for key in missing)}.")
    if min(values[row.settings[key]] for key in needed if key in given) < 1:
        raise UsageError(f"{file.path} says sizes that are no sizes: {', '.join(needed)} should be at least 1.")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise UsageError(f"{file.path} holds no token_embd.weight: it is a part of a model, or damaged.")
    values["vocab_size"] = embedding.shape[0]
    # A file without a language head of its own has the embeddings for one.
    values["tie_word_embeddings"] = "output.weight" not in file.tensors
    return values | row.more(file, values) | _rope(file, given, values)


def _rope(file: GgufFile, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return how positions turn queries and keys, where that is not the plain way."""
    width = values.get("head_dim") or (
        values["hidden_size"] // values["num_attention_heads"] if "hidden_size" in values else None
    )
    partly = given.get("rope.dimension_count", width)
    if width is not None and gguf_row(file).more is not _phi3 and partly != width:
        raise UsageError(f"{file.path} turns {partly} of {width} features of a head by position, which is not read.")
    if given.get("attention.value_length", width) != width:
        raise UsageError(f"{file.path} has values of another width than keys, which is not read.")
    kind, factor = given.get("rope.scaling.type", "none"), given.get("rope.scaling.factor", 0)
    # A table for long texts: read without it, the model would be another one there.
    if extended := [name for name in file.tensors if name.startswith("rope_factors_")]:
        raise UsageError(f"{file.path} lengthens positions by {', '.join(sorted(extended))}, which is not read.")
    theta = values.get("rope_theta", 10_000.0)
    if "rope_freqs.weight" in file.tensors:
        return {"rope_scaling": _llama3(file, theta, width or 0) | {"rope_theta": theta}}
    if kind == "linear" and factor:
        return {"rope_scaling": {"rope_type": "linear", "factor": factor, "rope_theta": theta}}
    # A factor of 1 changes nothing, whatever it is called.
    if kind not in ("none", "") or factor not in (0, 1):
        raise UsageError(f"{file.path} scales positions by {shown(kind)}, which is not read; none and linear are.")
    return {}


def _llama3(file: GgufFile, theta: float, width: int) -> dict[str, Any]:
    """Return Llama 3's scaling if a file's table of factors is its; raises `UsageError` for another."""
    import torch

    factors = file.read("rope_freqs.weight").double()
    # Llama 3's own numbers, as the file has the table that comes of them and not the numbers.
    rule = {"factor": float(factors.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    original_length = 8192
    waves = 2 * math.pi * theta ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    smooth = (original_length / waves - 1.0) / (4.0 - 1.0)
    between = 1 / ((1 - smooth) / rule["factor"] + smooth)
    expected = torch.where(
        waves < original_length / 4, 1.0, torch.where(waves > original_length, rule["factor"], between)
    )
    if factors.shape != expected.shape or not torch.allclose(factors, expected, rtol=1e-4):
        raise UsageError(f"{file.path} lengthens positions by a table, rope_freqs.weight, that is not Llama 3's.")
    return {"rope_type": "llama3", **rule, "original_max_position_embeddings": original_length}


def tensor_names(file: GgufFile) -> dict[str, str]:
    """Return by the name of each tensor of a file what transformers calls it; raises `UsageError` for a stranger."""
    row, names, strangers = gguf_row(file), {}, []
    for name in file.tensors:
        # It is no tensor of the model: positions are turned by what the configuration says.
        if name == "rope_freqs.weight":
            continue
        stem, _, end = name.rpartition(".")
        head, _, rest = stem.partition(".")
        place, _, part = rest.partition(".")
        if end in ("weight", "bias") and stem in row.outer:
            names[name] = f"{row.outer[stem]}.{end}"
        elif end in ("weight", "bias") and head == "blk" and place.isdigit() and part in row.block:
            names[name] = f"{row.layers}.{place}.{row.block[part]}.{end}"
        else:
            strangers.append(name)
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise UsageError(
            f"{file.path} holds tensors that no {row.model_type} of transformers has: {', '.join(strangers[:3])}{more}."
        )
    return names

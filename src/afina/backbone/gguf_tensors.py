"""Turn tensors between GGUF files' order and transformers', where they are not the same.

Llama's queries and keys are kept by pairs of the features that positions turn, Gemma's norms with the one that is added to
them, GPT-2's linear layers as (out, in). Which of these an architecture has is in its row (`gguf_rows.py`).
"""

from typing import Any

from afina.backbone.gguf_rows import GgufRow
from afina.errors import UsageError

__all__ = ["as_gguf", "as_transformers", "gguf_names"]


def as_transformers(row: GgufRow, name: str, value: Any, config: Any) -> Any:
    """Return a tensor of a file, by its name there, as transformers keeps it; raises `UsageError` for odd sizes."""
    part = name.split(".")[-2]
    # llama.cpp keeps Gemma's norms as they act.
    if row.raised_norms and part.endswith("norm"):
        value = value - 1
    if row.interleaved and part in _TURNED:
        heads = _heads(part, value, name, config)
        # (heads, pairs, 2, ...): each pair's halves come to stand in the head's two halves.
        pairs = value.reshape(heads, value.shape[0] // heads // 2, 2, *value.shape[1:])
        value = pairs.transpose(1, 2).reshape(value.shape)
    if part in row.transposed and name.endswith(".weight"):
        value = value.T
    return value.contiguous()


def as_gguf(row: GgufRow, name: str, value: Any, config: Any, *, transposed: bool = True) -> Any:
    """Return a tensor of transformers as a file keeps it under this name: what `as_transformers` turns back.

    What is (out, in) already, such as LoRA's second factor, is not to be `transposed`.
    """
    part = name.split(".")[-2]
    if transposed and part in row.transposed and name.endswith(".weight"):
        value = value.T
    if row.interleaved and part in _TURNED:
        heads = _heads(part, value, name, config)
        # The way back: halves first, then their pairs.
        halves = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
        value = halves.transpose(1, 2).reshape(value.shape)
    if row.raised_norms and part.endswith("norm"):
        value = value + 1
    return value.contiguous()


_TURNED = ("attn_q", "attn_k")


def _heads(part: str, value: Any, name: str, config: Any) -> int:
    heads: int = config.num_attention_heads if part == "attn_q" else config.num_key_value_heads
    # Heads of an odd width have no halves.
    if value.shape[0] % (2 * heads):
        raise UsageError(f"{name} has {value.shape[0]} rows for {heads} heads, which is no sound model.")
    return heads


def gguf_names(row: GgufRow, names: list[str]) -> dict[str, str]:
    """Return what a file calls each of transformers' tensors; raises `UsageError` for those that it has no word for."""
    outer = {own: name for name, own in row.outer.items()}
    block = {own: name for name, own in row.block.items()}
    renamed, strangers = {}, []
    for name in names:
        stem, _, end = name.rpartition(".")
        place, _, part = stem.removeprefix(f"{row.layers}.").partition(".")
        if stem in outer:
            renamed[name] = f"{outer[stem]}.{end}"
        elif stem.startswith(f"{row.layers}.") and place.isdigit() and part in block:
            renamed[name] = f"blk.{place}.{block[part]}.{end}"
        else:
            strangers.append(name)
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise UsageError(
            f"GGUF has no name for these tensors of a {row.model_type} model: {', '.join(strangers[:3])}{more}."
        )
    return renamed

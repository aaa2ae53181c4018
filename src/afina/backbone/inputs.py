"""Prepare a model's inputs: their size, texts padded on the right, what a decoder starts with, and random ones to time."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from afina.backbone.rows import row_of

__all__ = ["decoder_inputs", "padded_behind", "random_inputs", "rows_and_tokens"]


def decoder_inputs(inputs: Mapping[str, Tensor], config: Any, *, starts_with_last: bool) -> Tensor:
    """Return the text one place later, behind the decoder's start: what an encoder-decoder classifies from."""
    ids = inputs["input_ids"]
    if starts_with_last:
        mask = inputs.get("attention_mask")
        # BART's decoder starts with the text's last token, its end mark; T5's with a token of its own.
        last = torch.full_like(ids[:, :1], ids.shape[1] - 1) if mask is None else mask.sum(1, keepdim=True) - 1
        start = ids.gather(1, last)
    else:
        start = torch.full_like(ids[:, :1], config.decoder_start_token_id)
    return torch.cat([start, ids[:, :-1]], dim=1)


def rows_and_tokens(inputs: Mapping[str, Tensor], config: Any) -> tuple[int, int]:
    """Return rows and tokens (patches, frames) that the first layer will see."""
    if "input_ids" in inputs:
        rows, length = inputs["input_ids"].shape
        return rows, length
    if "pixel_values" in inputs:
        rows, _, height, width = inputs["pixel_values"].shape
        # One more than the patches: the token that the head looks at.
        return rows, 1 + (height // config.patch_size) * (width // config.patch_size)
    # Whisper pads all sounds to one length.
    return inputs["input_features"].shape[0], int(config.max_source_positions)


def padded_behind(
    inputs: Mapping[str, Tensor], targets: Tensor | None = None
) -> tuple[Mapping[str, Tensor], Tensor | None]:
    """Move padding before a text behind it, in targets too: absolute positions, heads and prompts count from its start."""
    mask = inputs.get("attention_mask")
    if mask is None or "input_ids" not in inputs:
        return inputs, targets
    is_text = mask.bool()
    # Where each place goes to, and not by sorting, which an exported graph has no word for.
    behind = is_text.sum(dim=1, keepdim=True) + (~is_text).cumsum(dim=1)
    places = torch.where(is_text, is_text.cumsum(dim=1), behind) - 1
    moved = {name: value.scatter(1, places, value) for name, value in inputs.items()}
    return moved, None if targets is None else targets.scatter(1, places, targets)


def random_inputs(config: Any, rows: int, length: int, device: Any = "cpu") -> dict[str, Tensor]:
    """Return inputs as a model of this configuration takes them, for timing: texts are `length` tokens long."""
    row = row_of(config)
    if row is not None and row.inputs == "image":
        # Some models have one number for both sides.
        size = (config.image_size, config.image_size) if isinstance(config.image_size, int) else config.image_size
        return {"pixel_values": torch.randn(rows, config.num_channels, *size, device=device)}
    if row is not None and row.inputs == "sound":
        # Two frames of sound make one of the model's places.
        frames = 2 * config.max_source_positions
        return {"input_features": torch.randn(rows, config.num_mel_bins, frames, device=device)}
    return {
        # Beyond the first few, which are marks: padding would not be timed as text is.
        "input_ids": torch.randint(min(10, config.vocab_size - 1), config.vocab_size, (rows, length), device=device)
    }

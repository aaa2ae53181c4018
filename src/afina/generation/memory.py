"""Count what the keys and values of rows take, before they are there."""

from collections.abc import Sequence

import torch

from afina.backbone.arranged import size_of
from afina.backbone.attachment import Attachment
from afina.backbone.before_text import keeps_by_row
from afina.backbone.incremental import Writing
from afina.backbone.kept import room_behind
from afina.backbone.load import Backbone
from afina.data.tokens.batching import padded_width
from afina.generation.batch import Bare
from afina.generation.rows import Row

__all__ = ["Memory"]

_SHARE = 0.5
"""The share of free memory that may be used."""


class Memory:
    """Counts the memory for keys and values of one model."""

    def __init__(self, backbone: Backbone, most_bytes: int | None = None) -> None:
        """Measure by a token what a place takes; `most_bytes` is half of what is free unless given."""
        with torch.inference_mode(), Attachment(backbone, [Bare(backbone)]) as attached:
            # Measured by a pass of one token: what a layer keeps is the model's to say.
            writing = Writing(attached, [[backbone.tokenizer.pad_token_id or 0]], [slice(0, 1)])
        self.written_bytes = sum(part.nbytes for layer in writing.layers for part in layer.parts)
        """Bytes that one place takes in a decoder."""
        self.read_bytes = sum(part.nbytes for layer in writing.all_layers for part in layer.parts) - self.written_bytes
        """Bytes that one place takes of a prompt that an encoder reads."""
        self._by_row = keeps_by_row(backbone)
        self.most_bytes = int(_SHARE * _free(backbone.device)) if most_bytes is None else most_bytes

    def bytes_of(self, rows: Sequence[Row]) -> int:
        """Return what rows take at most that are written to their full lengths: each the width of its block's longest."""
        if not rows:
            return 0
        # An encoder's prompts are padded a little beyond the longest.
        read = max((padded_width(row.places, 1 << 30) for row in rows if row.apart), default=0)
        widths: dict[int, list[int]] = {}
        for row in rows:
            widths.setdefault(size_of(row.kept) if self._by_row else 0, []).append(row.kept)
        places = sum(len(own) * (max(own) + room_behind(max(own))) for own in widths.values())
        return len(rows) * read * self.read_bytes + places * self.written_bytes


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)

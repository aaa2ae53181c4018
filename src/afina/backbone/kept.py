"""Keys and values that a layer keeps of rows that are being written, with room behind them for the next tokens.

Rows of a block end at the same place, so that a token is added to all of them by one copy, and what is in front of a shorter
row is never looked at. Rows of unlike size stand in blocks of their own, or each would take the room of the longest.
transformers' `Cache` holds one `Kept` a layer.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from afina.backbone.arranged import Rearrangement, Taken

__all__ = ["Block", "Kept", "kept_bytes", "new_cache", "room_behind"]

_ROOM = 64
"""Places that are made ready behind the last token; more where much is kept, so that few tokens have all of it copied."""


class Block:
    """Holds keys and values of some rows, (B, H, width, D/H) each, as the end of larger tensors."""

    def __init__(self, whole: Sequence[Tensor], end: int, start: int = 0) -> None:
        self.take(whole, end, start)

    def take(self, whole: Sequence[Tensor], end: int, start: int = 0) -> None:
        """Take the places from `start` to `end` of tensors for what is kept."""
        self.whole = whole[0], whole[1]
        """The same with the room behind."""
        self.start, self.end = start, end
        self.keys, self.values = (own[:, :, start:end] for own in whole)

    @property
    def width(self) -> int:
        return self.end - self.start

    @property
    def parts(self) -> tuple[Tensor, Tensor]:
        """Return keys and values."""
        return self.keys, self.values

    def add(self, latest: tuple[Tensor, Tensor]) -> None:
        """Add keys and values of the tokens that follow (B, H, T, D/H)."""
        added = latest[0].shape[2]

        # Doubling would be simpler and waste half of the memory; an eighth of room keeps copies rare enough
        # (`room_behind`).
        if self.end + added > self.whole[0].shape[2]:
            made = [self._larger(part, self.width + added + room_behind(self.width)) for part in self.parts]
            self.take(made, self.width)
        for whole, part in zip(self.whole, latest, strict=True):
            whole[:, :, self.end : self.end + added] = part
        self.take(self.whole, self.end + added, self.start)

    def _larger(self, part: Tensor, width: int) -> Tensor:
        # Not zeroed: nothing looks behind the end.
        made = part.new_empty(part.shape[0], *_shape(part, width))
        made[:, :, : self.width] = part
        return made


class Kept:
    """Keeps the keys and values of one layer."""

    # What transformers' masks ask a layer of a cache: there is no window here, as windows would count padding as
    # tokens.
    is_sliding = is_compileable = is_croppable = False
    supports_early_init = False

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.rows: Sequence[Tensor] = ()
        """Rows of the batch that each block has, where there are several."""

    @property
    def is_initialized(self) -> bool:
        return bool(self.blocks)

    @property
    def parts(self) -> tuple[Tensor, Tensor]:
        """Return keys and values of the only block."""
        (block,) = self.blocks
        return block.parts

    @property
    def keys(self) -> Tensor | None:
        # transformers looks here for what a decoder keeps of the encoder's states.
        return self.parts[0] if self.blocks else None

    @property
    def values(self) -> Tensor | None:
        return self.parts[1] if self.blocks else None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add those of the tokens that follow (B, H, T, D/H); return all, or these alone where there are several blocks."""
        if not self.blocks:
            self.blocks = [Block((keys, values), keys.shape[2])]
        elif len(self.blocks) == 1:
            self.blocks[0].add((keys, values))
        else:
            # Attention looks into the blocks itself (`Attachment.attend`).
            for block, rows in zip(self.blocks, self.rows, strict=True):
                block.add((keys.index_select(0, rows), values.index_select(0, rows)))
            return keys, values
        return self.parts

    def get_seq_length(self) -> int:
        return max((block.width for block in self.blocks), default=0)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        # No window and no offset: places count from the first that is kept.
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def gather(self, places: Tensor) -> None:
        """Take at each place of the only block what is kept at that of `places` (B, width)."""
        index = places[:, None, :, None]
        gathered = [own.gather(2, index.expand(-1, own.shape[1], -1, own.shape[3])) for own in self.parts]
        self.blocks[0].take(gathered, places.shape[1])

    def prepend(self, before: Sequence[tuple[Tensor, Tensor] | None], counts: Sequence[int], width: int) -> None:
        """Put keys and values (H, P, D/H) before each row's `counts` places in the only block, `width` wide from then on."""
        made = []
        for number, part in enumerate(self.parts):
            # Zeros: what is never looked at has a weight of zero, which would make nothing good of a number that is none.
            wide = part.new_zeros(part.shape[0], *_shape(part, width + room_behind(width)))
            wide[:, :, width - part.shape[2] : width] = part
            for row, (prefix, count) in enumerate(zip(before, counts, strict=True)):
                if prefix is not None:
                    wide[row, :, width - count - prefix[number].shape[1] : width - count] = prefix[number]
            made.append(wide)
        self.blocks[0].take(made, width)

    def arrange(self, plan: Rearrangement, other: "Kept | None" = None, *, behind: bool = False) -> None:
        """Keep the rows that a plan names, of this layer and another's.

        Shorter rows end where the longest does, or with `behind` begin where it begins.
        """
        sources = [self.blocks, [] if other is None else other.blocks]
        each = zip(plan.taken, plan.widths, plan.whole, strict=True)
        self.blocks = [
            sources[taken[0].source][taken[0].block] if whole else _together(sources, taken, width, behind=behind)
            for taken, width, whole in each
        ]
        self.rows = plan.rows


def _together(
    sources: Sequence[Sequence[Block]], taken: Sequence[Taken], width: int, *, behind: bool
) -> Block:  # fmt: skip
    made = []
    for number in (0, 1):
        parts = [sources[own.source][own.block].parts[number] for own in taken]
        shape = _shape(parts[0], width + (0 if behind else room_behind(width)))
        whole = parts[0].new_empty(sum(len(own.to) for own in taken), *shape)
        for rows, part in zip(taken, parts, strict=True):
            # Of a block whose longest rows have left, what was theirs alone is left out.
            part = part[:, :, max(0, part.shape[2] - width) :] if not behind else part[:, :, :width]
            start = 0 if behind else width - part.shape[2]
            whole[rows.to, :, start : start + part.shape[2]] = part.index_select(0, rows.rows)
            if part.shape[2] == width:
                continue

            # Zeros: what is never looked at has a weight of zero, which would make nothing good of a number that is none.
            whole[rows.to, :, :start] = 0
            whole[rows.to, :, start + part.shape[2] : width] = 0
        made.append(whole)
    return Block(made, width)


def room_behind(width: int) -> int:
    """Return how many places are made ready behind so many."""
    return max(_ROOM, width // 8)


def _shape(part: Tensor, width: int) -> tuple[int, int, int]:
    return part.shape[1], width, part.shape[3]


def new_cache(*, apart: bool) -> Any:
    """Return transformers' cache of such layers, for an encoder-decoder two.

    It is made without a configuration: a cache that knows of windows would keep padding and forget tokens.
    """
    from transformers import EncoderDecoderCache
    from transformers.cache_utils import Cache, CacheLayerMixin

    CacheLayerMixin.register(Kept)
    if apart:
        return EncoderDecoderCache(Cache(layer_class_to_replicate=Kept), Cache(layer_class_to_replicate=Kept))
    return Cache(layer_class_to_replicate=Kept)


def kept_bytes(layers: Sequence[Kept]) -> int:
    """Return what layers keep, with the room behind it."""
    return sum(whole.nbytes for layer in layers for block in layer.blocks for whole in block.whole)

"""Keys and values that a layer keeps of rows that are being written, with room behind them for the next tokens.

All rows end at the same place, so that a token is added to every row by one copy, and what is in front of a shorter row is
never looked at. transformers' `Cache` holds one `Kept` a layer.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

__all__ = ["Kept", "kept_bytes", "new_cache", "room_behind"]

_ROOM = 64
"""Places that are made ready behind the last token; more where much is kept, so that few tokens have all of it copied."""


class Kept:
    """The keys and values of one layer, (B, H, width, D/H) each, as the end of larger tensors."""

    # What transformers' masks ask a layer of a cache: there is no window here, as windows would count padding as
    # tokens.
    is_sliding = is_compileable = is_croppable = False
    supports_early_init = False

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self._whole: tuple[Tensor, Tensor] | None = None
        """The same with the room behind."""
        self._start = self._end = 0

    @property
    def is_initialized(self) -> bool:
        return self.keys is not None

    @property
    def parts(self) -> tuple[Tensor, Tensor]:
        """Return keys and values."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add those of the tokens that follow (B, H, T, D/H); return all."""
        if self.keys is None:
            self._take((keys, values), keys.shape[2])
        else:
            added = keys.shape[2]

            # Doubling would be simpler and waste half of the memory; an eighth of room keeps copies rare enough
            # (`room_behind`).
            if self._whole is None or self._end + added > self._whole[0].shape[2]:
                self._make_room(added)
            assert self._whole is not None
            for whole, latest in zip(self._whole, (keys, values), strict=True):
                whole[:, :, self._end : self._end + added] = latest
            self._take(self._whole, self._end + added, self._start)
        return self.parts

    def get_seq_length(self) -> int:
        return self._end - self._start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        # No window and no offset: places count from the first that is kept.
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def choose(self, rows: Tensor, width: int) -> None:
        """Keep these rows alone, and of each its last `width` places."""
        chosen = []
        for part in self.parts:
            # Unlike `join`, nothing needs zeros here: what is left of the width is copied whole, and the room behind is
            # not read.
            made = part.new_empty(len(rows), *_shape(part, width + room_behind(width)))
            made[:, :, :width] = part[:, :, part.shape[2] - width :].index_select(0, rows)
            chosen.append(made)
        self._take(chosen, width)

    def gather(self, places: Tensor) -> None:
        """Take at each place what is kept at that of `places` (B, width)."""
        index = places[:, None, :, None]
        gathered = [own.gather(2, index.expand(-1, own.shape[1], -1, own.shape[3])) for own in self.parts]
        self._take(gathered, places.shape[1])

    def join(self, other: "Kept", order: Sequence[Tensor], *, behind: bool = False) -> None:
        """Add the rows of another; `order` says where this one's and the other's come to stand.

        Shorter rows end where the longest does, or with `behind` begin where it begins.
        """
        width = max(self.get_seq_length(), other.get_seq_length())
        whole = []
        for both in zip(self.parts, other.parts, strict=True):
            # Zeros: what is never looked at has a weight of zero, which would make nothing good of a number that is none.
            made = both[0].new_zeros(
                sum(map(len, order)), *_shape(both[0], width + (0 if behind else room_behind(width)))
            )
            for part, places in zip(both, order, strict=True):
                start = 0 if behind else width - part.shape[2]
                made[places, :, start : start + part.shape[2]] = part
            whole.append(made)
        self._take(whole, width)

    def _make_room(self, added: int) -> None:
        width = self.get_seq_length()
        whole = []
        for part in self.parts:
            # Not zeroed: nothing looks behind the end.
            made = part.new_empty(part.shape[0], *_shape(part, width + added + room_behind(width)))
            made[:, :, :width] = part
            whole.append(made)
        self._take(whole, width)

    def _take(self, whole: Sequence[Tensor], end: int, start: int = 0) -> None:
        self._whole, self._start, self._end = (whole[0], whole[1]), start, end
        self.keys, self.values = (own[:, :, start:end] for own in whole)


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
    return sum(whole.nbytes for layer in layers if layer._whole is not None for whole in layer._whole)

"""Attend with rows of several adapters: each by its adapter's branches, and to its own places of the keys that are kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from afina.backbone.branch import AttentionBranch
from afina.backbone.kept import Block
from afina.backbone.route import cut, join
from afina.backbone.ways import Ways
from afina.ops.attention import Scoring, attention
from afina.ops.dropout import DropoutSource

__all__ = ["Attending"]


@dataclass(frozen=True)
class Attending:
    """One call of a module's attention."""

    branches: Mapping[int, list[AttentionBranch]] | None
    """The branches there by adapter; None where there are none."""
    scoring: Scoring
    source: DropoutSource | None

    def of(
        self, rows: Sequence[slice], spans: Sequence[tuple[slice, int]], tensors: tuple[Tensor, ...]
    ) -> Tensor:  # fmt: skip
        """Return what queries (B, H, T, D/H) attend to of keys and values (B, H, S, D/H), under a mask or none.

        `rows` are each adapter's; of the rows of a span the places in front are left out that none of them sees.
        """
        pieces = [([], tensors)] if self.branches is None else cut(rows, self.branches, *tensors)
        if spans:
            pieces = list(_shortened(pieces, spans))
        return join([self._by(placed[0] if placed else [], *part) for placed, part in pieces])

    def in_blocks(self, ways: Ways, blocks: Sequence[Block], query: Tensor, mask: Tensor | None) -> Tensor:
        """Return the same of rows whose keys and values stand in several blocks."""
        output = query.new_empty(*query.shape[:3], blocks[0].values.shape[3])
        for part, block in zip(ways.parts, blocks, strict=True):
            masks = (mask[part.rows, ..., -block.width :],) if mask is not None and part.padded else ()
            output[part.rows] = self.of(part.slices, part.spans, (query[part.rows], *block.parts, *masks))
        return output

    def _by(
        self, branches: Sequence[AttentionBranch], q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        for branch in branches:
            q, k, v, mask = branch.before(q, k, v, mask)
        output = attention(q, k, v, mask, self.scoring, source=self.source)
        # The last to change what goes in is the first to see what comes out.
        for branch in reversed(branches):
            output = branch.after(q, output)
        return output


def _shortened(
    pieces: Sequence[tuple[Any, tuple[Tensor, ...]]], spans: Sequence[tuple[slice, int]]
) -> Iterator[tuple[Any, tuple[Tensor, ...]]]:
    """Yield pieces of query, key, value and mask by spans of rows, without the places in front that no row of one sees."""
    start = 0
    for placed, (query, key, value, *mask) in pieces:
        stop = start + query.shape[0]
        for span, unseen in spans:
            # A span's rows that are in this piece, counted from its first.
            rows = slice(max(span.start, start) - start, min(span.stop, stop) - start)
            if rows.start >= rows.stop:
                continue
            # A mask that all rows share has one row.
            masks = [own[rows if own.shape[0] > 1 else slice(None), ..., unseen:] for own in mask]
            yield placed, (query[rows], key[rows, :, unseen:], value[rows, :, unseen:], *masks)
        start = stop

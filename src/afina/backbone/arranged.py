"""Say in which blocks the rows stand that are written together, and of which old ones new blocks are made.

A block has the room of its longest row for each, so that rows of unlike size stand in blocks of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Arrangement", "Rearrangement", "Taken", "plan_of", "size_of"]

_SMALL = 256
"""Places up to which rows stand in one block, whatever they have; beyond that those within a factor of two do."""


def size_of(places: int) -> int:
    """Return what rows have in common that stand in one block, by the most places that they may come to have."""
    return (places - 1).bit_length() if places > _SMALL else 0


@dataclass
class Arrangement:
    """Says how rows stand in blocks: all of these have a value for each row of the batch."""

    counts: list[int]
    """Places that are kept."""
    sizes: list[int]
    """The size that a row's block has (`size_of`)."""
    prefixes: list[int]
    """Places among those that are kept which an adapter's prefix takes."""
    groups: list[list[int]]
    """The rows of each block."""

    @property
    def widths(self) -> list[int]:
        """Return the places of each block."""
        return [max(self.counts[row] for row in group) for group in self.groups]


@dataclass(frozen=True)
class Taken:
    """Rows that a new block takes from a block of the first or second of two that are joined."""

    source: int
    block: int
    rows: Tensor
    to: Tensor
    """Places of these rows in the new block."""


@dataclass(frozen=True)
class Rearrangement:
    """Says of what blocks are made when rows join or leave; one plan holds for all layers."""

    taken: Sequence[Sequence[Taken]]
    """Rows that each new block takes."""
    widths: Sequence[int]
    whole: Sequence[bool]
    """True where a new block is an old one as it is, which is then not copied."""
    rows: Sequence[Tensor]
    """Rows of the batch that each block has."""


def plan_of(
    rows: Sequence[tuple[int, int]], before: Sequence[Arrangement], device: torch.device
) -> tuple[Arrangement, Rearrangement]:  # fmt: skip
    """Return how these rows stand from now on, each a row (number, row) of those `before`, and how that is brought about."""
    counts, sizes, prefixes = (
        [values[source][row] for source, row in rows]
        for values in ([each.counts for each in before], [each.sizes for each in before], [each.prefixes for each in before])
    )  # fmt: skip
    groups = [[row for row, own in enumerate(sizes) if own == size] for size in sorted(set(sizes))]
    now = Arrangement(counts, sizes, prefixes, groups)

    # Where each row was: its source, its block and its place in that.
    place_of = {
        (source, row): (source, block, place)
        for source, each in enumerate(before)
        for block, group in enumerate(each.groups)
        for place, row in enumerate(group)
    }
    taken: list[list[Taken]] = []
    whole = []
    for group, width in zip(groups, now.widths, strict=True):
        origins = [place_of[rows[row]] for row in group]
        source, block, _ = origins[0]
        was = before[source].groups[block]
        # A block whose rows are all there, in their order, is the same block still.
        same = origins == [(source, block, place) for place in range(len(was))]
        whole.append(same and max(before[source].counts[row] for row in was) == width)
        taken.append(_taken(origins, device))
    return now, Rearrangement(taken, now.widths, whole, [torch.tensor(group, device=device) for group in groups])


def _taken(origins: Sequence[tuple[int, int, int]], device: torch.device) -> list[Taken]:
    """Return what is taken of each block for a new one whose rows have these origins."""
    taken = []
    for source, block in dict.fromkeys(origin[:2] for origin in origins):
        pairs = [(origin[2], to) for to, origin in enumerate(origins) if origin[:2] == (source, block)]
        places, to = zip(*pairs, strict=True)
        taken.append(Taken(source, block, torch.tensor(places, device=device), torch.tensor(to, device=device)))
    return taken

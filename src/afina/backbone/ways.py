"""Take rows through the branches at a module, and remember how while the rows that are written stay the same.

Where text is written a step has one token a row, so that what Python does about branches would take longer than what they
compute. Adapters do not change there: what branches alike need of each other is put together once for all steps, and rows of
adapters with unlike many are padded into one product.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from afina.backbone.branch import Branch
from afina.backbone.flight import Pass, Put

__all__ = ["Crossing", "Ways", "after_module", "before_module", "changes_input", "changes_output", "spans_of"]

_SPARE = 256
"""Kept places that are read in about the time that one more product of attention takes to begin."""
_KEPT = 2
"""Groups of branches at a module whose parameters stay put together; the next one takes the place of the oldest."""


def changes_input(branch: Branch) -> bool:
    """Return whether a branch has a formula before the module."""
    # By the class, as an instance overrides nothing.
    return type(branch).before is not Branch.before


def changes_output(branch: Branch) -> bool:
    """Return whether a branch has a formula behind the module."""
    return type(branch).after is not Branch.after or type(branch).after_here is not Branch.after_here


def spans_of(unseen: Sequence[int]) -> list[tuple[slice, int]]:
    """Cut rows into runs by the places in front that each does not see; return each run with those that none of it sees.

    Rows all end at the same place, so that a short one beside a long one would be read as long. Nothing is returned where
    one run has them all.
    """
    spans: list[tuple[slice, int]] = []
    start = 0
    for stop in range(1, len(unseen) + 1):
        least = min(unseen[start:stop])
        # Reading them in one product would cost more than another product does.
        if sum(unseen[start:stop]) - least * (stop - start) > _SPARE:
            spans.append((slice(start, stop - 1), min(unseen[start : stop - 1])))
            start = stop - 1
    if not spans and min(unseen, default=0) == 0:
        return []
    return [*spans, (slice(start, len(unseen)), min(unseen[start:]))]


@dataclass(eq=False)
class Crossing:
    """The branches before a module or behind it: by adapter, with what those have in common that are computed at once."""

    branches: Mapping[int, list[Put]]
    stacks: Mapping[int, Hashable]
    acts: Callable[[Branch], bool]
    """Function that tells if a branch does anything here."""
    kept: list[tuple[list[list[Put]], list[Any]]] = field(default_factory=list)
    """Branches by adapter that were put together before, and what they became."""

    def together(self, adapters: list[list[Put]], most: int) -> tuple[list[list[Put]], list[Any]]:
        """Return what at most `most` adapters have put together, these among them in their order, and whose it is."""
        # By identity: an adapter whose branches were replaced is another one, however equal its numbers are.
        for place, (group, together) in enumerate(self.kept):
            if len(group) <= most and all(any(own is other for other in group) for own in adapters):
                self.kept.insert(0, self.kept.pop(place))  # what was wanted last goes last
                return group, together
        made = [placed[0].branch.together([put.branch for put in placed]) for placed in zip(*adapters, strict=True)]
        self.kept[:] = [(adapters, made), *self.kept[: _KEPT - 1]]
        return adapters, made


@dataclass(frozen=True)
class BlockRows:
    """Names the rows of a block of keys and values."""

    rows: Tensor
    """Their places in the batch, (B,)."""
    slices: Sequence[slice]
    """Those of each adapter among them."""
    spans: Sequence[tuple[slice, int]]
    """The same as `Ways.spans`, among them."""
    padded: bool
    """True if some have places in front that they do not see."""


class Ways:
    """The ways of a batch's rows, by where they cross branches; rows of the batch belong to adapters in order."""

    def __init__(
        self, rows: Sequence[slice], *, reads: bool = False, unseen: Sequence[int] = (),
        groups: Sequence[Sequence[int]] = (), layers: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        """Remember ways of the text that is read, or of one token a row that goes on with it.

        Of what is kept the first `unseen` places of each row are no text of its own; `groups` are the rows of each block of
        keys and values, and `layers` keep these.
        """
        self.rows, self._count, self._reads = rows, rows[-1].stop, reads
        self.spans = spans_of(unseen)
        """Rows side by side with the places in front that none of them sees, where to leave those out is worth a product."""
        self.layers = layers
        self.parts: list[BlockRows] = []
        """The rows of each block, where there are several."""
        if len(groups) > 1:
            places = layers[0].rows
            self.parts = [_part(rows, group, unseen, there) for group, there in zip(groups, places, strict=True)]
        self.found: dict[int, Way] = {}
        """Ways by their crossing's `id`, for tensors with one row for each row of the batch."""

    def through(self, crossing: Crossing, x: Tensor) -> "Way | None":
        """Return the way through these branches; None for what is not a row of `x` for each of the batch."""
        # Rows may be flattened or shared, of which no way can be kept.
        if x.shape[0] != self._count:
            return None
        return self.found.setdefault(id(crossing), Way(crossing, self.rows, reads=self._reads))


def _part(rows: Sequence[slice], group: Sequence[int], unseen: Sequence[int], there: Tensor) -> BlockRows:
    counts = [sum(part.start <= row < part.stop for row in group) for part in rows]
    stops = list(accumulate(counts, initial=0))
    least = min(unseen[row] for row in group)
    in_block = [unseen[row] - least for row in group]
    return BlockRows(there, [slice(*pair) for pair in pairwise(stops)], spans_of(in_block), any(in_block))


class Way:
    """Takes all rows through the branches at a module, leg by leg."""

    def __init__(self, crossing: Crossing, rows: Sequence[slice], *, reads: bool = False) -> None:
        # Neighbours with equal keys become one leg: they are computed by one stacked formula instead of one after
        # another. A key of None stands for branches that cannot be stacked, which are a leg each.
        groups: list[tuple[Hashable, list[int]]] = []
        for index, part in enumerate(rows):
            # An adapter without rows in this batch breaks no group apart.
            if part.start == part.stop:
                continue
            here = [put.branch for put in crossing.branches.get(index, ())]

            # Adapters that change nothing here are alike, whatever their methods: their rows need no cutting out.
            acts = any(crossing.acts(branch) and (reads or branch.answers) for branch in here)
            key = crossing.stacks.get(index) if acts else "none"
            if reads and key not in ("none", None):  # texts are too long to pad adapters with few of them to as many
                key = key, part.stop - part.start
            if groups and key is not None and groups[-1][0] == key:
                groups[-1][1].append(index)
            else:
                groups.append((key, [index]))
        self._legs = [_leg(crossing, key, [rows[index] for index in own], own, reads=reads) for key, own in groups]
        self.acts = any(leg.adapters for leg in self._legs)
        """True if any branch acts on this way."""
        alone = self._legs[0] if len(self._legs) == 1 else None
        self.stacked = None if alone is None or alone.spread is not None else alone.stacked
        """The formula of all rows at once, `after_stacked` of what is put together, where there is but one."""

    def before(self, x: Tensor) -> Tensor:
        """Return what goes into the module in place of `x`."""
        # The usual case, without a copy.
        if len(self._legs) == 1:
            return self._legs[0].before(x)
        return torch.cat([leg.before(x[leg.rows]) for leg in self._legs])

    def after(self, now: Pass, x: Tensor, y: Tensor) -> Tensor:
        """Return what comes out of the module in place of `y`."""
        if len(self._legs) == 1:
            return self._legs[0].after(now, x, y)
        if y.data_ptr() == x.data_ptr():  # a module that hands on what it was given, which others may look at still
            y = y.clone()
        # Written into y: legs that change nothing cost nothing, where a concatenation would copy their rows too.
        for leg in self._legs:
            if leg.adapters:
                y[leg.rows] = leg.after(now, x[leg.rows], y[leg.rows])
        return y


@dataclass(frozen=True)
class _Leg:
    """Rows that stand side by side and are computed at once."""

    rows: slice
    adapters: list[list[Put]]
    """Whose branches they are; empty where nothing is changed."""
    together: list[Any] | None = None
    spread: Tensor | None = None
    """The row (B,) that stands at each place where every adapter has as many rows; None where they stand so already."""
    back: Tensor | None = None
    """The place (B,) of each row among those."""
    stacked: Callable[[Tensor, Tensor], Tensor] | None = None
    """Short form of `after_module`, where each adapter has one branch here and that is of the module's whole width."""

    def before(self, x: Tensor) -> Tensor:
        if not self.adapters:
            return x
        if self.spread is None or self.back is None:
            return before_module(self.adapters, x, self.together)
        # Stacked formulas want (adapters x rows) as a rectangle, so rows of short adapters are repeated and their
        # copies dropped.
        return before_module(self.adapters, x.index_select(0, self.spread), self.together).index_select(0, self.back)

    def after(self, now: Pass, x: Tensor, y: Tensor) -> Tensor:
        if not self.adapters:
            return y
        if self.spread is None or self.back is None:
            return self._after(now, x, y)
        x, y = x.index_select(0, self.spread), y.index_select(0, self.spread)
        return self._after(now, x, y).index_select(0, self.back)

    def _after(self, now: Pass, x: Tensor, y: Tensor) -> Tensor:
        if self.stacked is not None:
            return self.stacked(x, y)
        return after_module(now, self.adapters, x, y, together=self.together)


def _leg(
    crossing: Crossing, key: Hashable, parts: Sequence[slice], adapters: Sequence[int], *, reads: bool
) -> _Leg:  # fmt: skip
    rows = slice(parts[0].start, parts[-1].stop)
    if key == "none":
        return _Leg(rows, [])
    placed = [crossing.branches[index] for index in adapters]
    if key is None or (reads and len(placed) == 1):
        return _Leg(rows, placed)
    counts = [part.stop - part.start for part in parts]

    # Adapters of rows that have left may stay among those that are put together, as long as they cost little.
    most = len(placed) if reads else max(len(placed), 2 * sum(counts) // max(counts))
    group, together = crossing.together(placed, most)
    first = group[0]

    # A slice of a fused projection has to be cut out of y first, which only the long form does.
    plain = len(first) == 1 and first[0].site.part is None
    stacked = partial(first[0].branch.after_stacked, together[0]) if plain else None

    # Already a rectangle, in the order of the rows.
    if len(group) == len(placed) and len(set(counts)) == 1:
        return _Leg(rows, placed, together, stacked=stacked)

    # Place p of the rectangle takes the row spread[p] of the leg, and row r is found again at the place back[r].
    start, width, back = 0, max(counts), list[int]()
    spread = [0] * (len(group) * width)
    for branches, count in zip(placed, counts, strict=True):
        place = width * next(number for number, other in enumerate(group) if other is branches)

        # A short adapter's last row fills the places up: any row would do, as nobody reads them back.
        spread[place : place + width] = [start + min(row, count - 1) for row in range(width)]
        back += range(place, place + count)
        start += count
    device = next(group[0][0].branch.parameters()).device
    places = [torch.tensor(own, device=device) for own in (spread, back)]
    return _Leg(rows, group, together, places[0], places[1], stacked)


def before_module(adapters: Sequence[Sequence[Put]], x: Tensor, together: Sequence[Any] | None = None) -> Tensor:
    """Return what goes into a module in place of `x`; what is put `together` of the branches is taken where it is given."""
    for place, placed in enumerate(zip(*adapters, strict=True)):
        branches = [put.branch for put in placed]
        if len(branches) == 1 and together is None:
            x = branches[0].before(x)
        else:
            x = branches[0].before_stacked(branches[0].together(branches) if together is None else together[place], x)
    return x


def after_module(
    now: Pass, adapters: Sequence[Sequence[Put]], x: Tensor, y: Tensor, *, together: Sequence[Any] | None = None
) -> Tensor:
    """Return what comes out of a module in place of `y`, a branch of a slice changing that slice alone."""

    def changed(place: int, placed: Sequence[Put], y: Tensor) -> Tensor:
        first = placed[0].branch
        if together is not None:
            return first.after_stacked(together[place], x, y)
        if len(placed) > 1:
            return first.after_stacked(first.together([put.branch for put in placed]), x, y)
        # Only few branches ask where in the pass they are (after_here); for the others that is not even worked out.
        if type(first).after_here is Branch.after_here:
            return first.after(x, y)
        return first.after_here(now.here(placed[0]), x, y)

    for place, placed in enumerate(zip(*adapters, strict=True)):
        if (part := placed[0].site.part) is None:
            y = changed(place, placed, y)
        else:
            start, stop = part
            # A slice of a fused projection: the rest of the output is left as it was.
            y = torch.cat([y[..., :start], changed(place, placed, y[..., start:stop]), y[..., stop:]], dim=-1)
    return y

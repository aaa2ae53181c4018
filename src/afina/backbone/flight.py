"""Describe one pass through a model: which rows are whose, and what they may know of one another.

An attachment (`attachment.py`) hangs on the model for as long as its `with` block; a `Pass` is made for each call of the
model and is gone with it. Hooks are handed nothing but tensors: they ask the attachment's `Flight` which pass is on its way.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch, Here, Placed

__all__ = ["Flight", "Pass", "Put", "Read"]


class Put(NamedTuple):
    """A branch where it was put, and the number of its adapter in the batch."""

    adapter: int
    site: Site
    branch: Branch


@dataclass(frozen=True)
class Read:
    """The tokens that a stack of layers reads."""

    mask: Tensor | None
    """(B, length): ones on the texts' tokens; of a text that goes on with what the model is to say, on those that it
    reads. None for all ones."""
    length: int
    part: tuple[int, int | None] = (0, None)
    """Start and end of the piece that is read now, where a text is read in pieces; mask and length are the whole text's."""


@dataclass(frozen=True)
class Pass:
    """One call of the model."""

    rows: Sequence[slice]
    """The rows of the batch that belong to each adapter, in order."""
    first: Read
    """Tokens that the first layer reads; in an encoder-decoder the encoder's."""
    decoder: Read
    """Tokens that the decoder of an encoder-decoder reads."""
    goes_on: bool = False
    """True if it adds tokens to rows that were read before."""
    ways: Any = None
    """`ways.Ways` of rows through branches that do not change; those of one token each hold for as long as the rows stay."""
    places: Tensor | None = None
    """(B, 1): the positions of the tokens that are added, for a decoder that would count them from the longest row."""
    seen: Tensor | None = None
    """The mask of positions behind prompts of unlike length, for images and sound, which have no mask of their own."""
    known: Tensor | None = None
    """The states that the lowest layers would give, where they are known (`trunk.py`)."""
    reaching: bool = False
    """True if the pass ends at those states."""
    whole: bool = False
    """True if the last layer is computed for all tokens, also where heads look at the first alone (`narrow.py`)."""
    prefixed: bool = False
    """True if the keys and values of prefixes stand among those that are kept of the rows."""
    left: dict[Placed, Any] = field(default_factory=dict)
    """Values that a branch has left for another of its adapter, by the branch that left them."""

    def here(self, put: Put) -> Here:
        """Return what a branch may know of this pass."""
        read, rows = self.decoder if put.site.decoder else self.first, self.rows[put.adapter]
        mask = None if read.mask is None else read.mask[rows]
        return Here(mask, rows.stop - rows.start, read.length, self.left, read.part)


class Flight:
    """The pass that is on its way through a model; between passes there is none."""

    def __init__(self) -> None:
        self._now: Pass | None = None

    @property
    def now(self) -> Pass:
        """Return the pass that is on its way."""
        assert self._now is not None, "the model was called without its attachment"
        return self._now

    @property
    def rows(self) -> Sequence[slice]:
        """Return the rows of each adapter in the pass."""
        return self.now.rows

    @contextmanager
    def of(self, one: Pass) -> Iterator[None]:
        """Send a pass on its way for the time of a block, in place of one that is waiting for it."""
        # A pass may begin while another waits: gradient checkpointing runs layers again during the backward pass.
        before, self._now = self._now, one
        try:
            yield
        finally:
            self._now = before

"""Send rows of many adapters through a model that writes nothing, in one pass, and give each row what is said of it.

Adapters stay on the model between passes: to put them there takes as long as a short text takes to go through.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.branch import Placed
from afina.backbone.head import Head, Hidden
from afina.backbone.load import Backbone
from afina.backbone.pooling import pooled
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.ops.threads import Threads

__all__ = ["EncoderPasses", "Reader"]

_MOST_IDLE = 16
"""Adapters without rows in a pass that stay on the model."""


@dataclass(frozen=True)
class Reader:
    """Says how texts are read and what is asked of them: a head's outputs, or a vector of their states."""

    backbone: Backbone
    adapter: Adapter | None
    pooling: str | None
    """The pooling of a text's states into a vector; None for the outputs of the adapter's head."""
    read: Callable[[Sequence[Any], Sequence[str] | None], Tokens]
    whole: Callable[[Sequence[Any], Sequence[str] | None], Tokens]
    """Reads texts with nothing cut, to say how long they are."""
    most: int
    """The tokens of a text that are read."""
    alike: Hashable = None
    """A value that readers share which make the same tokens of a text; None for one whose texts are read by themselves."""

    @property
    def key(self) -> tuple[int, int, str]:
        """Return what rows of one reader, and of no other, have in common."""
        # By identity: two adapters of equal weights are two, and one may be unloaded.
        return id(self.backbone), id(self.adapter), self.pooling or ""


class _Member:
    """Stands for an adapter, or for none, in a pass."""

    def __init__(self, reader: Reader) -> None:
        self.key, self.adapter, self.pooling = reader.key, reader.adapter, reader.pooling
        # Some heads let the last layer skip the tokens that they do not read; vectors are made of all.
        headless = self.pooling is not None or self.adapter is None
        self.head: Head = Head(reader.backbone.config, 0) if headless else self.adapter.head  # type: ignore[union-attr]
        # The bare model has no branches, and is a member all the same.
        self._placed = () if self.adapter is None else self.adapter.placed()
        kinds = {type(branch).__qualname__ for _, branch in self._placed}
        self.order = sorted(kinds), self.key
        """Members alike stand side by side: they are computed at once where they have as many rows."""

    def placed(self) -> Sequence[tuple[Any, Placed]]:
        return self._placed

    def said(self, hidden: Hidden, *, causal: bool) -> torch.Tensor:
        return self.head(hidden) if self.pooling is None else pooled(hidden, self.pooling, causal=causal)


class EncoderPasses:
    """Makes passes, for one thread; adapters that were asked stay on their model until others take their places."""

    def __init__(self) -> None:
        self._attached: dict[int, Attachment] = {}
        """Attachments by their backbone's `id`; their adapters are members."""
        self._threads: dict[int, Threads] = {}
        """Threads that share passes, likewise."""

    def close(self) -> None:
        """Leave the models as they were."""
        # The last first, as a model carries what was lent last on top.
        while self._attached:
            self._attached.popitem()[1].__exit__(None, None, None)

    def let_go(self, adapter: Adapter) -> None:
        """Hold an adapter no longer."""
        for number, attached in list(self._attached.items()):
            if any(member.adapter is adapter for member in _members(attached)):
                del self._attached[number]
                attached.__exit__(None, None, None)

    def answers(self, rows: Sequence[tuple[Reader, Tokens, int]]) -> list[np.ndarray]:
        """Return what is said of each row, given by its reader, tokens and place among them; all of one backbone."""
        backbone = rows[0][0].backbone
        attached = self._with({reader.key: reader for reader, _, _ in rows}, backbone)
        members = _members(attached)
        places = {member.key: place for place, member in enumerate(members)}
        # Rows of one adapter side by side, as the attachment cuts the batch by adapter; they go back to their places at
        # the end.
        order = sorted(range(len(rows)), key=lambda number: places[rows[number][0].key])
        counts = dict.fromkeys(range(len(members)), 0)
        for place, its in groupby(order, key=lambda number: places[rows[number][0].key]):
            counts[place] = len(list(its))
        stops = np.cumsum([*counts.values()]).tolist()
        parts = [slice(stop - count, stop) for stop, count in zip(stops, counts.values(), strict=True)]
        with torch.inference_mode():
            batch = attached.batch([(rows[number][1], np.array([rows[number][2]])) for number in order])
            # On a CPU the fastest number of threads is looked for by the tokens of a pass.
            threads = self._threads.setdefault(id(backbone), Threads(None if backbone.device.type == "cpu" else 1))
            with threads.sharing(sum(batch.tokens)):
                hidden = attached.hidden(batch.inputs, parts)
            causal = backbone.anatomy.row.causal
            each = [
                output
                for member, part in zip(members, parts, strict=True)
                if part.stop > part.start
                for output in member.said(hidden.rows(part), causal=causal).float().cpu().numpy()
            ]
        # Labels stand at words' first tokens; the others say nothing.
        if rows[0][1].by_word:
            words = [(labels[0] != IGNORED).cpu().numpy() for labels in batch.labels]
            each = [output[: len(own)][own] for output, own in zip(each, words, strict=True)]
        back: list[np.ndarray] = [np.empty(0)] * len(rows)
        for number, output in zip(order, each, strict=True):
            back[number] = output
        return back

    def _with(self, asked: "dict[tuple[int, int, str], Reader]", backbone: Backbone) -> Attachment:
        """Return what is on a model with all of these among it, put there now if it was not."""
        before = self._attached.get(id(backbone))
        there = [] if before is None else _members(before)
        if before is not None and asked.keys() <= {member.key for member in there}:
            return before
        if before is not None:
            del self._attached[id(backbone)]
            before.__exit__(None, None, None)
        # Adapters that were asked lately stay, up to a limit.
        idle = [member for member in there if member.key not in asked][:_MOST_IDLE]
        # Alike ones side by side, as they are computed at once.
        members = sorted([*idle, *map(_Member, asked.values())], key=lambda member: member.order)
        attached = Attachment(backbone, members)
        attached.__enter__()
        self._attached[id(backbone)] = attached
        return attached


def _members(attached: Attachment) -> Collection[_Member]:
    return attached.adapters  # type: ignore[return-value]

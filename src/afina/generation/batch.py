"""The rows that a model writes at one time: they join and leave between steps, each with its own adapter and settings.

A turn adds a token to every row and reads of the prompts that wait; it is the only way in which text is written here.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import torch

from afina.backbone.attachable import Attachable
from afina.backbone.attachment import Attachment
from afina.backbone.head import Head
from afina.backbone.incremental import Writing
from afina.backbone.kept import kept_bytes
from afina.backbone.load import Backbone
from afina.generation.rows import Piece, Row
from afina.generation.sampling import choose
from afina.ops.threads import Threads

__all__ = ["Bare", "WritingBatch"]

_NO_NUMBERS = (
    "The model's scores for the next token are no numbers: this adapter, or this precision, does not bear the text."
)


class Bare:
    """Stands in the place of an adapter for rows that the bare model answers."""

    def __init__(self, backbone: Backbone, outputs: int = 1) -> None:
        """Make a head with this many `outputs`; 0 for a language model that scores texts."""
        self.head: Head = backbone.new_head(outputs)

    def placed(self) -> tuple[()]:
        return ()


class WritingBatch:
    """Rows on one backbone, for the time of a `with` block; nothing else may use the model meanwhile."""

    def __init__(self, backbone: Backbone, *, prompt_tokens: int | None = None, most_idle: int = 0) -> None:
        """Read at most about `prompt_tokens` of prompts a turn (None: all); keep `most_idle` adapters without rows on."""
        self.backbone, self.prompt_tokens, self.most_idle = backbone, prompt_tokens, most_idle
        self.waiting: list[Row] = []
        """Rows of whose prompt nothing is read yet, in the order in which they came."""
        self._reading: list[tuple[Row, Writing]] = []
        """Rows whose prompts are read in pieces."""
        self._rows: list[Row] = []
        self._writing: Writing | None = None
        """Keys and values of `_rows`, in their order."""
        self._bare = Bare(backbone)
        self._threads = Threads(None if backbone.device.type == "cpu" else 1)
        self._attached: Attachment | None = None
        self._whole = bool(backbone.anatomy.row.further)
        """True where prompts are read whole, as by an encoder, whose every token looks at every other."""

    def __enter__(self) -> Self:
        # One text at a time may hold a model: hooks of two batches would each route the other's rows.
        self.backbone.turns.begin(writes=True)  # now, not with the first token: what is in the way is said here
        self.backbone.turns.end()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    @property
    def rows(self) -> list[Row]:
        """Return all rows."""
        return [*self._rows, *(row for row, _ in self._reading), *self.waiting]

    @property
    def running(self) -> int:
        """Return how many rows are past their prompts."""
        return len(self._rows)

    @property
    def kept_bytes(self) -> int:
        """Return what is kept of the rows' keys and values."""
        return sum(kept_bytes(writing.all_layers) for writing in self._writings)

    @property
    def _writings(self) -> list[Writing]:
        return [*([] if self._writing is None else [self._writing]), *(writing for _, writing in self._reading)]

    @property
    def attached(self) -> list[Attachable]:
        """Return the adapters that are on the model now."""
        return [] if self._attached is None else [one for one in self._attached.adapters if one is not self._bare]

    def add(self, row: Row) -> None:
        """Have a row read and written from the next turn on."""
        self.waiting.append(row)

    def drop(self, rows: Collection[Row]) -> None:
        """Have rows leave now; the others go on as if these had never been."""
        gone = {id(row) for row in rows}
        self.waiting = [row for row in self.waiting if id(row) not in gone]
        self._reading = [(row, writing) for row, writing in self._reading if id(row) not in gone]
        staying = [index for index, row in enumerate(self._rows) if id(row) not in gone]
        if len(staying) < len(self._rows):
            self._keep(staying)

    def release(self, adapters: Collection[Attachable]) -> None:
        """Take adapters that have no rows off the model, so that nothing here holds them."""
        used, gone = {id(row.request.adapter) for row in self.rows}, {id(one) for one in adapters}
        # Taken off only if there is something to take: each time all the hooks are put on anew.
        if any(id(one) in gone - used for one in self.attached):
            self._attach([one for one in self.attached if id(one) not in gone - used])

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take every adapter off the model for the time of a block, in which others may use it, and put them back."""
        attached = self._attached
        if attached is None:
            yield
            return
        attached.__exit__(None, None, None)
        try:
            yield
        finally:
            attached.__enter__()
            # What was remembered of the hooks that were there is of no use to those that are there now.
            for writing in self._writings:
                writing.renumber(attached, range(len(attached.adapters)))

    def clear(self) -> None:
        """Have all rows leave, and take every adapter off the model."""
        self.waiting, self._reading, self._rows, self._writing = [], [], [], None
        if self._attached is not None:
            self._attached.__exit__(None, None, None)
            self._attached = None

    @torch.inference_mode()
    def turn(self) -> list[tuple[Row, Piece]]:
        """Write a token of every row, and the first of those whose prompts are read to their end; return what is new."""
        self._attach_waiting()
        pieces: list[tuple[Row, Piece]] = []
        if self._writing is not None:
            # Rows that write come first, so that their text goes on however many prompts wait.
            last = torch.tensor([row.tokens[-1] for row in self._rows], device=self.backbone.device)
            with self._threads.sharing(len(self._rows)):
                self._writing.go_on(last)
            staying = self._take(self._rows, self._writing, pieces)
            if len(staying) < len(self._rows):
                self._keep(staying)
        for rows, writing in self._read():
            staying = self._take(rows, writing, pieces)
            if not staying:
                continue
            if len(staying) < len(rows):
                writing.keep(staying)
            rows = [rows[index] for index in staying]
            if self._writing is None:
                self._rows, self._writing = rows, writing
            else:
                both = [*self._rows, *rows]
                self._rows = [both[index] for index in self._writing.join(writing)]
        return pieces

    def _take(self, rows: Sequence[Row], writing: Writing, pieces: list[tuple[Row, Piece]]) -> list[int]:
        """Choose a token for each row and note its piece; return which rows go on."""
        going = []
        for index, (row, choice) in enumerate(zip(rows, choose(rows, writing.logits), strict=True)):
            # No number is an error of this row alone: the others go on.
            piece = row.end("error", _NO_NUMBERS) if choice is None else row.take(choice)
            if piece.written is None:
                going.append(index)
            pieces.append((row, piece))
        return going

    def _keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[index] for index in rows]
        if not rows:
            self._writing = None
        elif self._writing is not None:
            # Rows that have ended leave the batch, so that the others do not pay for them.
            self._writing.keep(rows)

    def _read(self) -> list[tuple[list[Row], Writing]]:
        """Read of the prompts that wait; return the rows that are read to their end."""
        done: list[tuple[list[Row], Writing]] = []
        budget = self.prompt_tokens
        together, long = self._planned()
        if together:
            done.append((together, self._begin(together)))
        # An encoder's prompt is read whole, by the rows above.
        if long is None or budget is None or self._whole:
            return done

        # The oldest of the long ones goes on in any case, if slowly while many short ones come.
        left = max(budget - len(together) * max((row.places for row in together), default=0), budget // 4, 1)
        if long in self.waiting:
            self.waiting.remove(long)
            self._reading.append((long, self._begin([long], most=left)))
        else:
            self._reading[0][1].read_on(left)

        # The oldest prompt first, until it is whole: pieces of many at once would finish none soon.
        row, writing = self._reading[0]
        if writing.is_read:
            del self._reading[0]
            done.append(([row], writing))
        return done

    def _planned(self) -> tuple[list[Row], Row | None]:
        """Return the rows whose prompts are read now, in one pass, and one of whose only a part is.

        The shortest first, as many as the budget has room for with the padding that they take.
        """
        if self.prompt_tokens is None:
            together = self.waiting
        else:
            # Short prompts first: a long one would pad all others to its width, and is read in pieces meanwhile. What
            # must be read whole (an encoder's) is read even if it alone is beyond the budget.
            waiting, least = sorted(self.waiting, key=lambda row: row.places), int(self._whole)
            fitting = [count for count, row in enumerate(waiting, 1) if count * row.places <= self.prompt_tokens]
            together = waiting[: max(fitting, default=least)]
        now = {id(row) for row in together}
        # By identity, as rows of equal prompts are equal.
        rest = [row for row in self.waiting if id(row) not in now]
        self.waiting = rest
        return together, self._reading[0][0] if self._reading else rest[0] if rest else None

    def _begin(self, rows: list[Row], most: int | None = None) -> Writing:
        """Read rows' prompts, or of a single one's the first tokens; puts the rows in their adapters' order."""
        assert self._attached is not None
        # By identity: two versions of an adapter may be equal by name and settings.
        numbers = {id(one): number for number, one in enumerate(self._attached.adapters)}
        of = {id(row): numbers[id(self._bare if row.request.adapter is None else row.request.adapter)] for row in rows}
        # Rows of an adapter stand side by side, so that it goes through the model as one part.
        rows.sort(key=lambda row: of[id(row)])
        parts, start = [], 0
        for number in range(len(numbers)):
            stop = start + sum(of[id(row)] == number for row in rows)
            parts.append(slice(start, stop))
            start = stop
        return Writing(
            self._attached, [row.request.prompt for row in rows], parts, most=most, places=[row.kept for row in rows]
        )

    def _attach_waiting(self) -> None:
        """Put the adapters of the rows that wait on the model, in the place of some that have no rows."""
        on = {id(one) for one in self.attached}
        new = {id(row.request.adapter): row.request.adapter for row in self.waiting if row.request.adapter is not None}
        # What is on the model already needs nothing.
        new = {key: one for key, one in new.items() if key not in on}
        if self._attached is not None and not new:
            return
        # Attaching takes hooks off and on, so adapters without rows stay for a while in case they are asked again.
        used = {id(row.request.adapter) for row in self.rows}
        idle = [id(one) for one in self.attached if id(one) not in used]
        gone = set(idle[: max(0, len(idle) - self.most_idle)])
        self._attach([*(one for one in self.attached if id(one) not in gone), *new.values()])

    def _attach(self, adapters: Sequence[Attachable]) -> None:
        """Have these adapters and the bare model on the model, those alike side by side: they are computed at once."""
        adapters, before = sorted(adapters, key=_kind), self._attached
        if before is not None:
            before.__exit__(None, None, None)
            self._attached = None
        attached = Attachment(self.backbone, [self._bare, *adapters], writes=True)
        self._attached = attached.__enter__()
        if before is not None:
            places = {id(one): number for number, one in enumerate(attached.adapters)}
            numbers = [places.get(id(one), -1) for one in before.adapters]

            # Keys and values do not depend on the attachment: the rows go on under the adapters' new numbers.
            for _, writing in self._reading:
                writing.renumber(attached, numbers)
            if self._writing is not None:
                self._rows = [self._rows[index] for index in self._writing.renumber(attached, numbers)]


def _kind(adapter: Attachable) -> list[str]:
    # By the kinds of their branches: those alike are computed at once where they stand side by side.
    return sorted({type(branch).__qualname__ for _, branch in adapter.placed()})

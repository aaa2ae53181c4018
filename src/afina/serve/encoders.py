"""Answer texts with a label, a number, tags or a vector: rows of many adapters, whatever their heads, in one pass.

Requests are gathered for a few milliseconds. A pass holds the row that has waited longest and those of like length, so that
there is little padding and nobody waits for ever. An answer is the same in any pass, to rounding.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from queue import Empty
from threading import Lock
from typing import Any

import numpy as np

from afina.adapters.adapter import Adapter
from afina.data.tokens.tokens import Tokens
from afina.serve.owner import Owner
from afina.serve.passes import EncoderPasses, Reader
from afina.serve.readers import TextTooLong
from afina.serve.reply import Closing

__all__ = ["EncodeRequest", "Encoders", "Gathering", "letters_in", "outputs_of", "parts_of", "parts_within"]

_LETTERS = 1 << 16
"""Letters that are read between two passes: some hundredths of a second."""


@dataclass(eq=False)
class EncodeRequest:
    """Asks of texts what a reader says; `done` is called once, by the thread that owns the model."""

    reader: Reader
    texts: Sequence[Any]
    pairs: Sequence[str] | None
    done: Callable[["EncodeRequest"], None]
    may_cut: bool = True
    """True if texts that are too long are cut, as in training; otherwise they fail."""
    tokens: Tokens | None = None
    error: Exception | None = None
    cancelled: bool = False
    """Set by whoever no longer wants the answer: rows that are not on their way are left out."""
    since: float = field(default_factory=time.monotonic)
    _parts: dict[int, np.ndarray] = field(default_factory=dict)

    def take(self, row: int, output: np.ndarray) -> None:
        """Take what was said of a row, and be done with the last."""
        self._parts[row] = output
        if len(self._parts) == len(self.texts):
            self.done(self)

    def fail(self, error: Exception) -> None:
        """End with an error."""
        # A request of several texts may fail at each of them, and is told once.
        if self.error is None:
            self.error = error
            self.done(self)

    @property
    def read(self) -> Tokens:
        """Return the texts' tokens; only of a request that has its answer."""
        assert self.tokens is not None, "who is done was read"
        return self.tokens

    def outputs(self) -> np.ndarray:
        """Return what was said of all rows: (N, K), or of all words one after another."""
        each = [self._parts[row] for row in range(len(self.texts))]
        together: np.ndarray = np.concatenate(each) if self.read.by_word else np.stack(each)
        return together


def outputs_of(asks: Sequence[EncodeRequest]) -> np.ndarray:
    """Return what was said of all rows of several requests, one after another."""
    together: np.ndarray = np.concatenate([ask.outputs() for ask in asks])
    return together


def parts_of(texts: Sequence[Any], pairs: Sequence[str] | None, most: int = _LETTERS) -> list[slice]:
    """Cut texts into parts of at most so many letters, or of one text, so that many long ones hold up nobody else's."""
    return parts_within(letters_in(texts, pairs), most)


def letters_in(texts: Sequence[Any], pairs: Sequence[str] | None) -> list[int]:
    """Return how many letters each text has, with its second text where there are pairs."""
    letters = [len(text) for text in texts]
    return letters if pairs is None else [own + len(pair) for own, pair in zip(letters, pairs, strict=True)]


def parts_within(letters: Sequence[int], most: int) -> list[slice]:
    """Cut texts of so many letters each into parts of at most `most` together, or of one text."""
    parts, start, together = list[slice](), 0, 0
    for place, count in enumerate(letters):
        if together + count > most and place > start:
            parts.append(slice(start, place))
            start, together = place, 0
        together += count
    return [*parts, slice(start, len(letters))]


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """Says how rows come together in a pass."""

    seconds: float = 0.003
    """Seconds that the first request waits for others."""
    rows: int = 64
    """Most rows of a pass."""
    tokens: int = 4096
    """Most tokens of a pass, padding counted, where it is more than one row."""
    ahead: int = 256
    """Rows that are looked at for those of like length."""
    padding: float = 0.125
    """Most of a pass that may be padding, beyond `spare` tokens: others of unlike length go in a pass of their own."""
    spare: int = 48
    """Tokens whose reading takes about as long as it takes to begin one more pass."""


@dataclass(frozen=True)
class _TextRow:
    ask: EncodeRequest
    row: int
    length: int

    @property
    def kind(self) -> tuple[int, type, bool]:
        """Return what the rows of a pass have in common."""
        segments = getattr(self.ask.tokens, "segments", None) is not None
        return id(self.ask.reader.backbone), type(self.ask.tokens), segments


class Encoders(Owner):
    """Owns models that write nothing, and answers what is asked of them."""

    def __init__(
        self, gathering: Gathering | None = None, *, stepped: Callable[[int, float], None] = lambda rows, seconds: None
    ) -> None:
        """Call `stepped` after each pass with its rows and what it took."""
        super().__init__("afina-encoders")
        self.gathering, self._told = gathering or Gathering(), stepped
        self._unread: list[EncodeRequest] = []
        self._waiting: list[_TextRow] = []
        self._passes = EncoderPasses()
        self._rows_in = 0
        self._counting = Lock()

    @property
    def rows_waiting(self) -> int:
        """Return how many rows have no answer yet and are not on their way, those not read yet counted by text."""
        return self._rows_in

    def submit(self, ask: EncodeRequest) -> None:
        """Put a request into the inbox; whoever calls sees to it that there are not too many."""
        self._count(len(ask.texts))
        self._inbox.put(ask)
        # The thread may have ended since it was asked for.
        if self.is_over:
            self._turn_away()

    def _count(self, rows: int) -> None:
        with self._counting:  # both who asks and who answers count
            self._rows_in += rows

    def let_go(self, adapter: Adapter) -> None:
        """Hold an adapter no longer that nobody asks any more."""
        self._inbox.put(adapter)

    def accept(self, thing: EncodeRequest | Adapter) -> None:
        if isinstance(thing, Adapter):
            self._passes.let_go(thing)
            return
        self._unread.append(thing)

    def _read(self) -> None:
        """Make tokens of what came first: in one call for all texts that are read alike, which takes as long as for one."""
        # What is beyond as many letters is read behind the next pass.
        sizes = accumulate(sum(map(len, ask.texts)) for ask in self._unread)
        count = 1 + sum(size <= _LETTERS for size in sizes)
        unread, self._unread = self._unread[:count], self._unread[count:]
        groups: dict[Hashable, list[EncodeRequest]] = {}
        for ask in unread:
            if ask.cancelled:
                self._count(-len(ask.texts))
                continue
            plain = ask.pairs is None and all(isinstance(text, str) for text in ask.texts)
            key = ask.reader.alike if plain else None
            groups.setdefault(id(ask) if key is None else key, []).append(ask)
        for asks in groups.values():
            if not self._read_together(asks):
                for ask in asks:
                    self._read_alone(ask)

    def _read_together(self, asks: Sequence[EncodeRequest]) -> bool:
        """Return whether the texts of several requests could be read at once: none of them is wrong."""
        if len(asks) == 1:
            return False
        try:
            tokens = asks[0].reader.read([text for ask in asks for text in ask.texts], None)
        except Exception:  # whose fault it is shows when each is read by itself
            return False
        start = 0
        for ask in asks:
            part = tokens.take(np.arange(start, start + len(ask.texts)))
            start += len(ask.texts)
            # As long as a text may be: it was perhaps cut, which is told of all texts together.
            if tokens.cut and part.lengths.max() >= ask.reader.most:
                self._read_alone(ask)
            else:
                ask.tokens = part
                self._wait_for(ask, part)
        return True

    def _read_alone(self, ask: EncodeRequest) -> None:
        try:
            ask.tokens = ask.reader.read(ask.texts, ask.pairs)
            # Read once more and further, to say how long it is.
            if ask.tokens.cut and not ask.may_cut:
                raise TextTooLong(ask.reader.whole(ask.texts, ask.pairs), ask.reader.most)
        except Exception as error:  # what is wrong with one request is no fault of the others
            self._count(-len(ask.texts))
            ask.fail(error)
            return
        self._wait_for(ask, ask.tokens)

    def _wait_for(self, ask: EncodeRequest, tokens: Tokens) -> None:
        self._waiting += [_TextRow(ask, row, int(length)) for row, length in enumerate(tokens.lengths)]

    def idle(self) -> bool:
        return not (self._waiting or self._unread)

    def close(self) -> None:
        """Leave the models as they were, and tell those who wait that nobody answers."""
        self._passes.close()
        for ask in {id(own): own for own in (*self._unread, *(row.ask for row in self._waiting))}.values():
            ask.fail(Closing())
        self._turn_away()

    def _turn_away(self) -> None:
        with suppress(Empty):
            while True:
                if isinstance(thing := self._inbox.get_nowait(), EncodeRequest):
                    thing.fail(Closing())

    def gather(self) -> None:
        """Take what is there; where nothing waited, give others a moment to come too."""
        fresh = self.idle()
        super().gather()
        if not fresh or self.idle():
            return
        # A few milliseconds for the first request, and none where rows already wait: they have gathered by themselves.
        ends = time.monotonic() + self.gathering.seconds
        with suppress(Empty):
            while (left := ends - time.monotonic()) > 0 and self._rows_in < self.gathering.rows:
                self.opened(self._inbox.get(timeout=left))

    def turn(self) -> None:
        self._read()
        self._drop(lambda row: row.ask.cancelled or row.ask.error is not None)
        if self._waiting:
            chosen = self._chosen()
            taken = set(map(id, chosen))
            self._drop(lambda row: id(row) in taken)
            began = time.monotonic()
            self._answer(chosen)
            self._told(len(chosen), time.monotonic() - began)

    def _drop(self, gone: Callable[[_TextRow], bool]) -> None:
        before = len(self._waiting)
        # What leaves without an answer waits no longer.
        self._waiting = [row for row in self._waiting if not gone(row)]
        self._count(len(self._waiting) - before)

    def _chosen(self) -> list[_TextRow]:
        """Return the row that has waited longest and those nearest to it in length, by length."""
        # The oldest row always goes, so that none waits for ever; its neighbours in length cost the least padding.
        oldest, how = self._waiting[0], self.gathering
        among = sorted(
            (row for row in self._waiting[: how.ahead] if row.kind == oldest.kind), key=lambda row: row.length
        )
        low = next(place for place, row in enumerate(among) if row is oldest)
        high, tokens = low + 1, oldest.length
        while high - low < how.rows:
            # One more short row is padded up to the longest; one more long row pads all the others.
            down = among[high - 1].length - among[low - 1].length if low else None
            # By how much all rows so far would be padded.
            up = (among[high].length - among[high - 1].length) * (high - low) if high < len(among) else None
            if down is None and up is None:
                break
            goes_down = up is None or (down is not None and down <= up)
            more = among[low - 1 if goes_down else high].length
            whole, tokens = max(among[high - 1].length, more) * (high - low + 1), tokens + more
            # Padding costs until it costs more than a pass of their own.
            if whole > how.tokens or whole - tokens > max(how.spare, how.padding * whole):
                break
            low, high = (low - 1, high) if goes_down else (low, high + 1)
        return among[low:high]

    def _answer(self, rows: Sequence[_TextRow]) -> None:
        """Send rows through the model and give each its answer; if that fails, each request by itself."""
        try:
            outputs = self._passes.answers([(row.ask.reader, row.ask.tokens, row.row) for row in rows])  # type: ignore[misc]
        except Exception as error:
            # One wrong request must not take those with it that happened to share its pass.
            asks = list({id(row.ask): row.ask for row in rows}.values())
            if len(asks) == 1:
                asks[0].fail(error)
                return
            for ask in asks:
                self._answer([row for row in rows if row.ask is ask])
            return
        for row, output in zip(rows, outputs, strict=True):
            row.ask.take(row.row, output)

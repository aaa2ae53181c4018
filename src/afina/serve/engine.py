"""An engine: one thread that owns a model and writes what many ask of it at one time, each by an adapter of its own.

Each turn it looks at what has come in (requests, cancellations, work to be done between steps), lets those begin for whose
keys and values there is memory, reads of new prompts, and writes one token of every row.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Self, TypeVar

from afina.backbone.attachable import Attachable
from afina.backbone.load import Backbone
from afina.errors import UsageError
from afina.generation.batch import WritingBatch
from afina.generation.memory import Memory
from afina.generation.rows import Finish, Piece, Request, Row
from afina.serve.counters import Counters
from afina.serve.reply import Ask, Busy, Closing, StreamedReply

__all__ = ["Engine"]

_T = TypeVar("_T")
_IDLE = 0.5
"""Seconds after which a thread without work shows that it is alive."""


class Engine:
    """Writes for all who `submit`, from `start` to `close`."""

    def __init__(
        self, backbone: Backbone, *, most_bytes: int | None = None, prompt_tokens_a_turn: int = 256, most_rows: int = 32,
        most_waiting: int = 256, most_idle: int = 32,
    ) -> None:  # fmt: skip
        """Keep keys and values in at most `most_bytes` (None: half of the memory that is free now).

        At most `most_rows` are written at one time and `most_waiting` wait; `most_idle` adapters without rows stay on the
        model.
        """
        assert backbone.language is not None, "an engine is for models that were loaded to speak"
        self.backbone, self.counters = backbone, Counters()
        self.most_rows, self.most_waiting = most_rows, most_waiting
        self.beat = time.monotonic()
        """Time at which the thread last showed that it is alive, by `time.monotonic()`."""
        self.memory = Memory(backbone, most_bytes)
        self.kept_bytes = 0
        """Bytes that keys and values take now."""
        self._batch = WritingBatch(backbone, prompt_tokens=prompt_tokens_a_turn, most_idle=most_idle)
        self._replies: dict[Row, StreamedReply] = {}
        """Those whose rows are in the batch."""
        self._waiting: deque[StreamedReply] = deque()
        self._work: deque[tuple[Callable[[], object], Future[object]]] = deque()
        self._aside: deque[tuple[Callable[[], object], Future[object]]] = deque()
        self._changed = threading.Condition()
        self._leaving: list[tuple[Attachable, Future[None]]] = []
        """Adapters that are let go of when no request holds them."""
        self._closing_at: float | None = None
        self._seconds_a_reply = 1.0
        self._thread = threading.Thread(target=self._run, name="afina-engine", daemon=True)

    def start(self) -> Self:
        """Begin to work; returns the engine itself."""
        self._thread.start()
        return self

    def close(self, grace: float = 0.0) -> None:
        """Take no more requests, let those that run end within `grace` seconds, cancel the others, and stop."""
        with self._changed:
            self._closing_at = time.monotonic() + grace
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Return whether the thread runs; `beat` says whether it gets anywhere."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Return how many rows are read and written now."""
        return len(self._replies)

    @property
    def waiting(self) -> int:
        """Return how many requests wait for room."""
        return len(self._waiting)

    def users(self, adapter: Attachable) -> int:
        """Return how many requests that have not ended hold an adapter."""
        # Under the lock, as replies come and go between two looks.
        with self._changed:
            replies = [*self._replies.values(), *self._waiting]
        return sum(reply.ask.adapter is adapter for reply in replies)

    def submit(self, ask: Ask) -> StreamedReply:
        """Take a request; its pieces come as they are written.

        Raises `PromptTooLong` for a prompt that leaves no room in the context, `UsageError` for one that is empty or wants
        more memory than there is for all, `Busy` where the queue is full, and `Closing` where it is closed or dead.
        """
        row = Row(self.backbone, Request(ask.prompt, ask.adapter, ask.stop, 0, ask.tokenizer), ask.settings)
        reply = StreamedReply(ask, row, self._wake)

        # Refused at once: it would wait for memory that there will never be.
        if (wanted := self.memory.bytes_of([row])) > self.memory.most_bytes:
            self._refuse("memory")
            raise UsageError(
                f"A prompt of {len(ask.prompt)} tokens with an answer of up to {row.room} wants {wanted:,} bytes of keys and "
                f"values, and there are {self.memory.most_bytes:,} for all; ask for fewer tokens."
            )
        with self._changed:
            if self._closing_at is not None or not self.is_alive:
                raise Closing
            if len(self._waiting) >= self.most_waiting:
                self._refuse("queue")

                # The queue's length times a reply's mean time, over the rows that are written at one time.
                raise Busy(len(self._waiting), max(1.0, self._seconds_a_reply * self.most_waiting / self.most_rows))
            with self.counters.steady() as counters:
                counters.requests[ask.name] += 1
                counters.tokens_in[ask.name] += len(ask.prompt)
            self._waiting.append(reply)
            self._changed.notify()
        return reply

    def do(self, work: Callable[[], _T]) -> "Future[_T]":
        """Have something done in the engine's thread between two steps; returns what will hold its result."""
        return self._put(self._work, work)

    def aside(self, work: Callable[[], _T]) -> "Future[_T]":
        """Have the model used for something else, with nothing of ours on it; otherwise as `do`.

        It is one such use between two steps, so that the rows that are written do not stand still for many.
        """

        def apart() -> _T:
            with self._batch.aside():
                return work()

        return self._put(self._aside, apart)

    def _put(self, works: "deque[tuple[Callable[[], object], Future[object]]]", work: Callable[[], _T]) -> "Future[_T]":
        future: Future[_T] = Future()
        with self._changed:
            # After that nobody would ever do it.
            if self._closing_at is not None or not self.is_alive:
                raise Closing
            works.append((work, future))  # type: ignore[arg-type]
            self._changed.notify()
        return future

    def unload(self, adapter: Attachable) -> "Future[None]":
        """Let go of an adapter as soon as no request holds it, which are answered by it to their ends.

        What is returned is done when nothing here holds it any more.
        """
        # Done in the engine's thread: only there is it known which rows still hold the adapter.
        gone: Future[None] = Future()
        self.do(lambda: self._leaving.append((adapter, gone)))
        return gone

    def _refuse(self, reason: str) -> None:
        with self.counters.steady() as counters:
            counters.refused[reason] += 1

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        problem = "The engine was closed before the answer was whole."
        try:
            # Attached for as long as the engine runs; what fails in there leaves the model as it was.
            with self._batch:
                while self._sleep():
                    self._turn()
        except BaseException as error:
            problem = f"The engine failed ({type(error).__name__}: {error})."
            raise
        finally:
            with self._changed:
                self._closing_at = self._closing_at or time.monotonic()
                left, works = [*self._replies.values(), *self._waiting], [*self._work, *self._aside]
                for queue in (self._waiting, self._work, self._aside):
                    queue.clear()

            # Nobody may wait for ever: whatever ended the thread, every request and every piece of work is told.
            self._end(left, "cancelled" if problem.startswith("The engine was") else "error", problem)
            for _, future in works:
                future.cancel()
            for _, gone in self._leaving:
                gone.set_result(None)

    def _sleep(self) -> bool:
        """Wait until there is something to do; return False where it is time to stop."""
        while True:
            self.beat = time.monotonic()
            with self._changed:
                # Work aside counts, as someone waits for its result.
                busy = bool(self._replies or self._waiting or self._aside)
                if self._closing_at is not None and (not busy or self.beat >= self._closing_at):
                    return False
                if busy or self._work or self._leaving:
                    return True
                self._changed.wait(_IDLE)

    def _turn(self) -> None:
        self._do_work()
        self._drop_ended()
        self._admit()
        pieces: list[tuple[Row, Piece]] | None = None
        if self._replies:
            try:
                pieces = self._batch.turn()
            except Exception as error:
                # What a pass left half done is nobody's answer; the engine goes on with those that wait.
                self._batch.clear()
                self._end([*self._replies.values()], "error", f"{type(error).__name__}: {error}")
        # Before anybody is told: whoever has an answer finds its room free.
        self.kept_bytes = self._batch.kept_bytes
        if pieces is not None:
            self._give(pieces)
        self._let_go()

    def _do_work(self) -> None:
        while self._work:
            _carry_out(*self._work.popleft())
        if self._aside:
            _carry_out(*self._aside.popleft())

    def _drop_ended(self) -> None:
        """Have those leave that were cancelled or took too long."""
        now = time.monotonic()
        with self._changed:
            live = [*self._replies.values(), *self._waiting]
            cancelled = [reply for reply in live if reply.cancelled]
            late = [reply for reply in live if not reply.cancelled and (reply.ask.deadline or now) < now]
            gone = {reply.number for reply in (*cancelled, *late)}
            if gone:
                self._waiting = deque(reply for reply in self._waiting if reply.number not in gone)
        if gone:
            self._batch.drop([reply.row for reply in (*cancelled, *late)])
            self._end(cancelled, "cancelled")
            self._end(late, "deadline", "It was not done by its deadline.")

    def _admit(self) -> None:
        """Let those begin that have waited longest, as long as there is memory for them."""
        with self._changed:
            while self._waiting and len(self._replies) < self.most_rows:
                reply = self._waiting[0]
                # First come, first served: a request that fits does not pass one that has to wait, which might wait for
                # ever. One alone always fits, or was refused when it came.
                if self._replies and self.memory.bytes_of([*self._replies, reply.row]) > self.memory.most_bytes:
                    return
                self._waiting.popleft()
                self._replies[reply.row] = reply
                self._batch.add(reply.row)

    def _give(self, pieces: Iterable[tuple[Row, Piece]]) -> None:
        now = time.monotonic()
        with self.counters.steady() as counters:
            counters.steps += 1
            for row, piece in pieces:
                reply = self._replies[row]
                counters.rows_stepped += 1

                # Tokens and not pieces: a piece may hold several tokens, or none while a letter is not whole.
                counters.tokens_out[reply.ask.name] += len(row.tokens) - reply.counted
                reply.counted = len(row.tokens)
                if reply.last_at is None:
                    counters.first_token[reply.ask.name].add(now - reply.asked_at)
                    reply.first_at = now
                else:
                    counters.between_tokens[reply.ask.name].add(now - reply.last_at)
                reply.last_at = now
                if piece.written is not None:
                    self._ended(reply, piece)
        # After the counting, so that whoever is told finds it counted.
        for row, piece in pieces:
            reply = self._replies[row] if piece.written is None else self._replies.pop(row)
            if piece.text or piece.said or piece.written is not None:
                reply.give(piece)

    def _end(self, replies: Iterable[StreamedReply], finish: Finish, problem: str = "") -> None:
        for reply in replies:
            piece = reply.row.end(finish, problem)
            self._replies.pop(reply.row, None)
            self._ended(reply, piece)
            reply.give(piece)

    def _ended(self, reply: StreamedReply, piece: Piece) -> None:
        assert piece.written is not None
        seconds = time.monotonic() - reply.asked_at
        # A moving mean of the last ten or so, for the time that a refused client is told to wait.
        self._seconds_a_reply += 0.1 * (seconds - self._seconds_a_reply)
        with self.counters.steady() as counters:
            counters.ended[reply.ask.name, piece.written.finish] += 1

    def _let_go(self) -> None:
        staying = []
        for adapter, gone in self._leaving:
            # Somebody still writes with it.
            if self.users(adapter):
                staying.append((adapter, gone))
            else:
                self._batch.release([adapter])
                gone.set_result(None)
        self._leaving = staying


def _carry_out(work: Callable[[], object], future: "Future[object]") -> None:
    """Do what somebody waits for, unless nobody does any more."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

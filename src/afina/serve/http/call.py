"""Hold one request while it is answered: who asks, of which model, and what there is to count when it has ended."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request

from afina.backbone.load import WritesNothing
from afina.errors import UsageError
from afina.predictor.chooser import Chooser
from afina.predictor.predictor import Predictor
from afina.serve.adapters import NoSuchAdapter, Shelf, Version
from afina.serve.choosing import Chosen, Question, QuestionTooLong, choose, read_question
from afina.serve.documents import DocumentSettings
from afina.serve.encoders import EncodeRequest, parts_of
from afina.serve.engine import Engine
from afina.serve.http.house import House
from afina.serve.http.keys import Caller
from afina.serve.http.refusals import Refusal, busy, no_model, not_here, wrong
from afina.serve.passes import Reader
from afina.serve.readers import TextTooLong
from afina.serve.reply import Closing, StreamedReply

__all__ = ["Call"]


@dataclass(eq=False)
class Call:
    """A request on its way; what an endpoint learns of it is written here, for the log and the meters."""

    house: House
    request: Request
    caller: Caller
    number: str
    began: float = field(default_factory=time.monotonic)
    adapter: str = ""
    """The model's name, once it is known to be one of ours."""
    version: int | None = None
    documents: DocumentSettings | None = None
    """The documents from which the model answers, once it is known."""
    tokens_in: int = 0
    rows: int = 0
    finish: str | None = None
    first: float | None = None
    """Seconds to the first token."""
    problem: str | None = None
    """The code of what broke an answer off that had begun."""
    replies: list[StreamedReply] = field(default_factory=list)
    """The answers that are written for it."""
    texts: Any = None
    """The texts asked, if the log should have them."""
    folder: Path | None = None
    """The folder of the adapter that is asked, which is nothing for whoever asks over a network."""
    ends: ExitStack = field(default_factory=ExitStack)
    """Actions to take when the request has ended, however it did."""

    @property
    def deadline(self) -> float:
        """Return when it has to be answered, by the monotonic clock."""
        return self.began + self.house.limits.deadline

    @property
    def tokens_out(self) -> int:
        """Return how many tokens were written, those of answers that nobody waited for to the end among them."""
        return sum(len(reply.row.tokens) for reply in self.replies)

    async def model(self, name: str) -> Predictor | None:
        """Hold to the end of the request the adapter that a name stands for now; return it, None for the base.

        Raises `Refusal` (404) for a name that is not there, not to be loaded, or not for this caller.
        """
        # The same answer as for a name that is not there: a key does not show what others have.
        if not self.caller.may(name):
            raise not_here(name)
        if name == self.house.bases.name:
            self.adapter = name
            self.documents = self.house.documents.named.get(name)
            return None
        version = await self._taken(name)
        self.ends.callback(self.house.shelf.give_back, version)
        self.adapter, self.version = name, version.number
        self.documents = self.house.documents.named.get(name) or version.documents
        predictor = version.loaded()
        self.folder = predictor.folder
        return predictor

    def named(self, sentence: str) -> str:
        """Return a sentence in which the adapter and the base are called by their names, and not by where they are."""
        bases = self.house.bases
        if self.folder is not None:
            sentence = sentence.replace(str(self.folder), self.adapter)
        return sentence if Path(bases.model).name == bases.model else sentence.replace(bases.model, bases.name)

    async def _taken(self, name: str) -> Version:
        shelf = self.house.shelf
        if (there := shelf.ready(name)) is not None:
            return there
        # Not behind what loads: that a name is not there is known at once.
        if not await asyncio.to_thread(shelf.knows, name):
            raise not_here(name)
        loading = asyncio.ensure_future(self.house.loaded(partial(shelf.take, name)))
        try:
            return await asyncio.shield(loading)
        except NoSuchAdapter as error:
            raise no_model(str(error)) from None
        except asyncio.CancelledError:  # who asked is gone; what is taken for them has to be given back
            loading.add_done_callback(lambda done: _give_back(shelf, done))
            raise

    async def read(
        self, reader: Reader, texts: Sequence[Any], pairs: Sequence[str] | None = None, *, may_cut: bool = True
    ) -> list[EncodeRequest]:
        """Return what is said of texts, part by part.

        Raises `Refusal` where there are too many, or one is wrong or not to be cut.
        """
        self._check(texts, pairs, self.house.encoders.rows_waiting)
        parts = parts_of(texts, pairs)
        # Part by part: others' texts are read between two of them, and nothing goes on for whoever has left.
        return [await self._read(reader, texts[own], pairs and pairs[own], may_cut=may_cut) for own in parts]

    async def _read(
        self, reader: Reader, texts: Sequence[Any], pairs: Sequence[str] | None, *, may_cut: bool
    ) -> EncodeRequest:
        encoders = self.house.encoders
        if not encoders.alive:
            raise _not_running()
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hand_over = self.house.handover()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        ask = EncodeRequest(reader, texts, pairs, lambda _: hand_over(end), may_cut)
        encoders.submit(ask)
        try:
            await ended
        finally:
            ask.cancelled = True  # of one that is done it says nothing more
        return self._checked(ask)

    def _check(self, texts: Sequence[Any], pairs: Sequence[str] | None, waiting: int) -> None:
        """Raise `Refusal` for no text or too many, second texts of another number, and where too many wait already."""
        limits = self.house.limits
        if not texts:
            raise wrong("There is no text.", "input")
        # Counted over all texts, of which later only parts are looked at.
        if (empty := next((place for place, text in enumerate(texts, 1) if not str(text).strip()), None)) is not None:
            raise wrong(f"Text {empty} of {len(texts)} is empty.", "input")
        if len(texts) > limits.texts:
            raise wrong(f"There are {len(texts):,} texts, and a request takes {limits.texts:,}; split them.", "input")
        if pairs is not None and len(pairs) != len(texts):
            raise wrong(f"There are {len(pairs)} second texts for {len(texts)} texts.", "pairs")
        if waiting + len(texts) > limits.queue and waiting:
            raise busy(f"{waiting} texts wait already; ask again a little later.", 1.0, "queue_full")
        self.texts = texts if pairs is None else list(zip(texts, pairs, strict=True))

    async def engine(self) -> Engine:
        """Return what writes here; raises `Refusal` where the base writes nothing."""
        if (there := self.house.writer) is not None:
            return there
        try:
            return await self.house.loaded(self.house.engine)
        except WritesNothing:
            name = self.house.bases.name
            raise wrong(
                f"{name} writes no text; ask for vectors of it, or for labels of its adapters at /v1/classify.", "model"
            ) from None
        except UsageError as error:
            raise wrong(str(error), "model") from None

    async def choose(self, chooser: Chooser, asked: Question) -> list[Chosen]:
        """Return what an adapter chooses among answers, part by part; raises `Refusal` as `read` does."""
        house, engine = self.house, await self.engine()
        self._check(asked.texts, asked.pairs, house.choosing)
        house.choosing += len(asked.texts)
        chosen: list[Chosen] = []
        try:
            # Part by part: those who write go on between two of them, and nothing goes on for whoever has left.
            for part in asked.parts(max(map(len, asked.choices)) if asked.choices else chooser.task.outputs):
                tokens = await house.read(partial(read_question, chooser, part))
                coming = asyncio.wrap_future(engine.aside(partial(choose, chooser, part, tokens)))
                try:
                    await asyncio.wait([coming])
                finally:
                    coming.cancel()
                if coming.cancelled():
                    raise _not_running()
                chosen.append(coming.result())
        except QuestionTooLong as error:
            raise wrong(str(error), "input", "context_length_exceeded") from None
        except UsageError as error:
            raise wrong(str(error), "input") from None
        except Closing:
            raise _not_running() from None
        finally:
            house.choosing -= len(asked.texts)
        self.tokens_in += sum(own.tokens for own in chosen)
        self.rows += len(asked.texts)
        return chosen

    def _checked(self, ask: EncodeRequest) -> EncodeRequest:
        if isinstance(ask.error, Closing):
            raise _not_running()
        if isinstance(ask.error, TextTooLong):
            raise wrong(str(ask.error), "input", "context_length_exceeded")
        if isinstance(ask.error, UsageError):
            raise wrong(str(ask.error), "input")
        if ask.error is not None:
            raise ask.error
        self.tokens_in += int(ask.read.offsets[-1])
        self.rows += len(ask.texts)
        return ask


def _give_back(shelf: Shelf, loaded: "asyncio.Future[Version]") -> None:
    if not loaded.cancelled() and loaded.exception() is None:
        shelf.give_back(loaded.result())


def _not_running() -> Refusal:
    return Refusal(503, "What answers here is not running.", "stopping", kind="server_error", retry_after=10)

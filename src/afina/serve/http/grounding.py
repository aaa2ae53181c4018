"""Answer a conversation from documents: what was found for its last question, its prompt, and what the answer cites."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from afina.errors import AfinaError, UsageError
from afina.generation.settings import GenerationSettings
from afina.predictor.writer import Writer
from afina.retrieval.asking import Answer, QuestionPrompt, answered, build_prompt, refusal_to
from afina.retrieval.bare import BareWriter
from afina.retrieval.citations import Citation, plain_answer
from afina.serve.documents import DocumentSettings, FoundInTurn
from afina.serve.engine import Engine
from afina.serve.http.call import Call
from afina.serve.http.refusals import Refusal, wrong

__all__ = ["CITING", "Grounding", "grounded"]

CITING = ("citations", "cited_but_not_given", "tells")
"""Keys of an answer's message that say what it cites."""

_SOURCES = {"en": "Sources:", "pt": "Fontes:"}
_OWN_SOURCES = re.compile(rf"\n\n(?:{'|'.join(_SOURCES.values())})\n(?:\[\d+\] .*(?:\n|$))+\Z")
"""The text below an answer, which a client sends back with it."""


@dataclass(frozen=True)
class Grounding:
    """Holds from what a question is answered; without a prompt the documents do not tell."""

    settings: DocumentSettings
    question: str
    searched: FoundInTurn
    prompt: QuestionPrompt | None
    refusal: str

    def answered(self, text: str) -> Answer:
        """Return what was written, with its citations held against the passages."""
        if self.prompt is None:
            return Answer(self.question, text, None, tells=False, likeness=self.searched.likeness)
        return answered(self.question, text, self.prompt, self.searched.index.terms, likeness=self.searched.likeness)

    def message(self, answer: Answer) -> dict[str, Any]:
        """Return the keys of a message that say what it cites."""
        values = ([each.as_dict() for each in answer.citations], answer.wrong, answer.tells)
        return dict(zip(CITING, values, strict=True))

    def body(self) -> dict[str, Any]:
        """Return what was given to the model, as the answer's own key `documents` has it."""
        given = [] if self.prompt is None else self.prompt.given
        return {
            "likeness": self.searched.likeness, "left_out": 0 if self.prompt is None else self.prompt.left_out,
            "passages": [{"number": each.number, **each.hit.as_dict()} for each in given],
        }  # fmt: skip

    def below(self, answer: Answer) -> str:
        """Return what is written below an answer: the passages that it cites, with their words."""
        if not answer.citations or not self.settings.sources or self.prompt is None:
            return ""
        lines = [_line(each) for each in answer.citations]
        return "\n".join(["", "", _SOURCES[self.prompt.language], *lines])


def _line(each: Citation) -> str:
    chunk = each.hit.chunk
    place = ", ".join(str(part) for part in (chunk.file, chunk.page, chunk.heading) if part not in (None, ""))
    return f"[{each.number}] {place}: “{' '.join(each.quote.split())}”"


async def grounded(
    call: Call, predictor: Writer | None, engine: Engine, messages: Sequence[Mapping[str, Any]], most: int
) -> Grounding | None:
    """Return from what the last message is to be answered; None where its model has no documents, or no user asked last.

    Raises `Refusal` for a question that does not fit, and where the documents cannot be searched.
    """
    settings = call.documents
    if settings is None or messages[-1]["role"] != "user":
        return None
    *before, last = messages
    question = str(last["content"] or "")
    if not question.strip():
        raise wrong("The question is empty.", "messages")
    asked = [str(turn["content"] or "") for turn in before if turn["role"] == "user"]
    searched = await _searched(call, settings, question, asked[-1] if asked else None)
    refusal = refusal_to(question, searched.index)
    if not searched.tells:
        return Grounding(settings, question, searched, None, refusal)
    writer = predictor if predictor is not None else BareWriter.on(engine.backbone)
    turns = [_as_read(turn) for turn in before]
    try:
        settled = GenerationSettings(max_new_tokens=most)
        prompt = await call.house.read(
            partial(build_prompt, writer, question, searched.found.hits, settled, before=turns)
        )
    except UsageError as error:
        raise wrong(str(error), "messages", "context_length_exceeded") from None
    return Grounding(settings, question, searched, prompt, refusal)


async def _searched(call: Call, settings: DocumentSettings, question: str, earlier: str | None) -> FoundInTurn:
    try:
        return await asyncio.wrap_future(call.house.documents.search(settings, question, earlier))
    except (AfinaError, OSError) as error:
        # A path of this machine is nothing for whoever asks over a network.
        call.house.shelf.tell(f"Request {call.number}: the documents cannot be searched: {error}")
        raise Refusal(
            503, "The documents from which this model answers cannot be searched now.", "documents_unavailable",
            kind="server_error", retry_after=10,
        ) from None  # fmt: skip


def _as_read(turn: Mapping[str, Any]) -> dict[str, Any]:
    """Return an earlier turn without the sources below it, and without numbers, which were those of other passages."""
    if turn["role"] != "assistant" or not isinstance(turn["content"], str):
        return dict(turn)
    return {**turn, "content": plain_answer(_OWN_SOURCES.sub("", turn["content"]))}

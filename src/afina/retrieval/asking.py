"""Ask a model with passages before it: the prompt that fits, what it answers, and what it cites.

The best passages come first, whole sentences of them, as many as fit beside the answer; their words cannot act as marks of
the chat (`harmless`). An answer's `[1]` is held against the passages that it was given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from afina.corpus.languages import language_of
from afina.errors import UsageError
from afina.generation.rows import Request
from afina.generation.settings import GenerationSettings
from afina.generation.writes import Writes
from afina.retrieval.citations import Citation, cited
from afina.retrieval.cutting import sentence_starts
from afina.retrieval.harmless import harmless, marks_of
from afina.retrieval.index import Hit, Index
from afina.retrieval.terms import Terms
from afina.retrieval.threshold import limit_of

__all__ = [
    "Answer",
    "GivenPassage",
    "QuestionPrompt",
    "answered",
    "ask",
    "build_prompt",
    "notes_on",
    "refusal_to",
    "refuses",
]

_ORDERS = {
    "en": (
        "Answer the question from the numbered passages alone. Behind what you take from a passage put its number in "
        "brackets, such as [1]. If the passages do not tell, answer: {refusal}",
        "Question: {question}",
        "The documents do not tell.",
    ),
    "pt": (
        "Responda à pergunta só com os trechos numerados. Depois do que tirar de um trecho ponha o número dele entre "
        "colchetes, como [1]. Se os trechos não dizem, responda: {refusal}",
        "Pergunta: {question}",
        "Os documentos não dizem.",
    ),
}
_FEWEST = 12
"""Fewest words of a passage that is cut to fit; less tells nothing."""


@dataclass(frozen=True)
class GivenPassage:
    """Holds a passage as the model reads it: its number, and how much of it."""

    number: int
    hit: Hit
    stop: int
    """End of what was given of it, as a place in its page."""
    line: str

    @property
    def text(self) -> str:
        """Return the very words that were given, as they stand in the page."""
        return self.hit.chunk.text[: self.stop - self.hit.chunk.start]


@dataclass(frozen=True)
class QuestionPrompt:
    """Holds what is asked of a model, in a chat's messages."""

    messages: list[dict[str, str]]
    given: list[GivenPassage]
    tokens: int
    language: str
    left_out: int = 0
    """Number of passages that did not fit."""

    @property
    def refusal(self) -> str:
        """Return the words that are asked for where the passages do not tell."""
        return _ORDERS[self.language][2]


@dataclass
class Answer:
    """Holds what was answered, and from what."""

    question: str
    text: str
    prompt: QuestionPrompt | None
    citations: list[Citation] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    """Numbers that were cited and not given."""
    tells: bool = True
    """False if the documents do not tell, by the threshold or by what the model answered."""
    likeness: float | None = None
    """Similarity of the best passage, which a threshold is held against."""
    finish: str = "stop"
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        given = [] if self.prompt is None else self.prompt.given
        return {
            "question": self.question, "answer": self.text, "tells": self.tells, "likeness": self.likeness,
            "finish": self.finish, "prompt_tokens": None if self.prompt is None else self.prompt.tokens,
            "citations": [each.as_dict() for each in self.citations], "cited_but_not_given": self.wrong,
            "notes": list(self.notes),
            "passages": [{"number": each.number, **each.hit.as_dict()} for each in given],
        }  # fmt: skip


def build_prompt(
    writer: Writes, question: str, hits: Sequence[Hit], settings: GenerationSettings, *,
    before: Sequence[dict[str, str]] = (), requested: Callable[[list[dict[str, str]]], Request] | None = None,
) -> QuestionPrompt:  # fmt: skip
    """Return the prompt for a question with as many passages as fit, so that the answer fits behind it.

    `before` are the conversation's earlier messages; `requested` makes the request, where another answers than `writer`.
    Raises `UsageError` where the question alone does not fit.
    """
    language = "pt" if language_of(question) == "pt" else "en"
    # In a third language the passages decide, as the answer is to be like them.
    if language_of(question) not in ("en", "pt") and hits:
        language = "pt" if language_of(hits[0].chunk.text) == "pt" else "en"
    marks, make = (
        marks_of(_tokenizer(writer), writer.template),
        requested or (lambda said: writer.request(said, writer)),
    )
    order, last, refusal = _ORDERS[language]

    def messages(lines: Sequence[str]) -> list[dict[str, str]]:
        parts = [order.format(refusal=refusal), *lines, last.format(question=harmless(question, marks))]
        return [*before, {"role": "user", "content": "\n\n".join(parts)}]

    def fits(lines: Sequence[str]) -> int:
        """Return a prompt's tokens where it fits, else 0."""
        request = make(messages(lines))
        # At most a quarter of the context is kept for the answer: the rest is for passages.
        room = min(settings.max_new_tokens, writer.context // 4)
        return len(request.prompt) if len(request.prompt) + room <= writer.longest_prompt(request) + 1 else 0

    tokens = fits([])
    if not tokens:
        raise UsageError(
            f"The question does not fit the model, which reads {writer.context} tokens with its answer; shorten it."
        )
    given: list[GivenPassage] = []
    for hit in hits:
        number = len(given) + 1
        for stop in _ends(hit):
            # Neither a file's name nor its words may act as marks of the chat.
            line = f"[{number}] {harmless(_place(hit), marks)}: {harmless(hit.chunk.text[: stop - hit.chunk.start], marks)}"
            if now := fits([*(each.line for each in given), line]):
                given.append(GivenPassage(number, hit, stop, line))
                tokens = now
                break
    return QuestionPrompt(messages([each.line for each in given]), given, tokens, language, len(hits) - len(given))


def refusal_to(question: str, index: Index | None) -> str:
    """Return the words by which a question is refused: in Portuguese where the question is, or the index."""
    # An index of Portuguese documents is asked by people who read Portuguese.
    of_index = None if index is None else index.values["facts"].get("language")
    language = "pt" if "pt" in (language_of(question), of_index) else "en"
    return _ORDERS[language][2]


def refuses(answer: str) -> bool:
    """Return whether an answer says that the documents do not tell, or says nothing."""
    # A model repeats the words of refusal with marks of its own around them.
    return not answer.strip() or any(order[2].rstrip(".").lower() in answer.lower() for order in _ORDERS.values())


def _ends(hit: Hit) -> list[int]:
    """Return where a passage may end, the whole first and then sentence by sentence less, while enough is left of it."""
    text, start = hit.chunk.text, hit.chunk.start
    ends = [len(text), *reversed(sentence_starts(text)[1:])]
    return [start + end for end in ends if end == len(text) or len(text[:end].split()) >= _FEWEST]


def _place(hit: Hit) -> str:
    # What is not there leaves no comma.
    parts = [hit.chunk.file, *([] if hit.chunk.page is None else [f"{hit.chunk.page}"]), hit.chunk.heading]
    return ", ".join(part for part in parts if part)


def _tokenizer(writer: Writes) -> Any:
    tokenizer = getattr(writer, "tokenizer", None)
    if tokenizer is None:
        raise UsageError(
            "This export cannot be asked with passages: its tokenizer is not at hand; give the adapter itself."
        )
    return tokenizer


def ask(
    index: Index, question: str, writer: Writes, settings: GenerationSettings, *, most: int = 5,
    threshold: float | str | None = "index", dry_run: bool = False, tell: Callable[[str], None] = lambda piece: None,
) -> "Answer | QuestionPrompt":  # fmt: skip
    """Answer a question from an index's passages; `tell` is told each piece of the answer as it is written.

    Where the best passage is less like the question than `threshold` (`limit_of` says what it may be), or there is none,
    nothing is asked of the model. With `dry_run` nothing is in any case, and the prompt is returned.
    Raises `UsageError` for a threshold without an end.
    """
    limit, notes = limit_of(index, threshold), notes_on(index, threshold)
    (passages,) = index.found([question], most)
    best = passages.best.get(limit.by)
    # Nothing is asked of a model where nothing could be cited.
    if not passages.hits or not limit.tells(passages.best):
        refusal = refusal_to(question, index)
        tell(refusal)
        return Answer(question, refusal, None, tells=False, likeness=best, notes=notes)
    prompt = build_prompt(writer, question, passages.hits, settings)
    if dry_run:
        return prompt
    written = None
    pieces: list[str] = []
    for piece in writer.write([writer.request(prompt.messages, writer)], settings):
        # Many models begin with a space.
        text = piece.text if pieces else piece.text.lstrip()
        if text:
            pieces.append(text)
            tell(text)
        written = piece.written or written
    made = answered(
        question, "".join(pieces), prompt, index.terms, likeness=best, finish=written.finish if written else "stop"
    )
    return replace(made, notes=notes)


def notes_on(index: Index, threshold: float | str | None) -> tuple[str, ...]:
    """Return what has to be known of a threshold before it is relied on."""
    if threshold != "index" or not index.threshold_is_stale:
        return ()
    return ("the documents have changed since the threshold was set; set it again to know its rates",)


def answered(
    question: str,
    text: str,
    prompt: QuestionPrompt,
    terms: Terms,
    *,
    likeness: float | None = None,
    finish: str = "stop",
) -> Answer:
    """Return what was written to a prompt as an answer, its citations held against the passages that it was given."""
    text = text.strip()
    citations, wrong = cited(text, {each.number: (each.hit, each.text) for each in prompt.given}, terms)
    return Answer(question, text, prompt, citations, wrong, not refuses(text), likeness, finish)

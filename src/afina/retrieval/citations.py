"""Hold an answer's citations against the passages that it was given: which are cited, and with which of their words.

`cite` writes an answer as rows to learn from have it, and `plain_answer` takes the citations out of one.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from afina.retrieval.cutting import sentence_starts
from afina.retrieval.index import Hit
from afina.retrieval.terms import Terms

__all__ = ["Citation", "cite", "cited", "nearest_sentence", "plain_answer", "sentence_spans"]

_MARK = re.compile(r"\[\s*(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\s*\]")
_QUOTED = re.compile(r"“[^“”]*”\s*(?=\[\s*\d)")
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*(?=\S)")
_WEAK = 0.3
"""Share of a sentence's words that the passage has, below which the citation is called weak."""


@dataclass(frozen=True)
class Citation:
    """Holds a passage that was cited, and the sentence of it that is nearest to what cites it."""

    number: int
    hit: Hit
    start: int
    stop: int
    quote: str
    """The page's text from `start` to `stop`."""
    support: float
    """Share of the words of the citing sentences that the passage has."""

    @property
    def is_weak(self) -> bool:
        """Return whether the passage has few of the words that it is cited for."""
        return self.support < _WEAK

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        chunk = self.hit.chunk
        return {
            "number": self.number, "file": chunk.file, "page": chunk.page, "heading": chunk.heading, "start": self.start,
            "stop": self.stop, "quote": self.quote, "support": round(self.support, 3),
        }  # fmt: skip


def cited(answer: str, given: Mapping[int, tuple[Hit, str]], terms: Terms) -> tuple[list[Citation], list[int]]:
    """Return an answer's citations by number, and the numbers of no passage `given` (each with what was read of it)."""
    claims: dict[int, list[str]] = {}
    wrong: list[int] = []
    for sentence in _sentences(answer):
        words = _MARK.sub(" ", sentence)
        for match in _MARK.finditer(sentence):
            for number in map(int, re.findall(r"\d+", match[1])):
                if number in given:
                    claims.setdefault(number, []).append(words)
                elif number not in wrong:
                    wrong.append(number)
    citations = []
    for number in sorted(claims):
        hit, text = given[number]
        wanted = set(terms.of(" ".join(claims[number])))
        start, stop = nearest_sentence(text, wanted, terms)
        shared = len(wanted & set(terms.of(text))) / len(wanted) if wanted else 0.0
        first = hit.chunk.start
        citations.append(Citation(number, hit, first + start, first + stop, text[start:stop], shared))
    return citations, wrong


def cite(answer: str, number: int, quote: str = "") -> str:
    """Return an answer with the passage that it is from: its number, and before it the sentence that tells it, if given."""
    if quote:
        return f"“{quote}” [{number}] {answer}"
    whole = answer.rstrip()
    stop = whole[-1:] if whole[-1:] in ".!?…" else ""
    return f"{whole.removesuffix(stop)} [{number}]{stop}"


def plain_answer(answer: str) -> str:
    """Return what an answer says without its citations, and without what it quotes unless it says nothing else."""
    for text in (_QUOTED.sub(" ", answer), answer):
        words = re.sub(r"\s+([.,;:!?…])", r"\1", " ".join(_MARK.sub(" ", text).split()))
        if any(letter.isalnum() for letter in words):
            return words
    return ""


def _sentences(answer: str) -> list[str]:
    """Return an answer's sentences, each with the citations behind its full stop."""
    starts = [0]
    for start in sentence_starts(answer):
        if start and not _MARK.match(answer, start):
            starts.append(start)
    return [answer[a:b] for a, b in zip(starts, [*starts[1:], len(answer)], strict=True)]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return where a text's sentences begin and end, those of each paragraph; a heading is one by itself."""
    starts = sorted({*sentence_starts(text), *(match.end() for match in _PARAGRAPH.finditer(text))})
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def nearest_sentence(text: str, wanted: set[str], terms: Terms) -> tuple[int, int]:
    """Return the span of the sentence that has most of some words; of equals the first. A heading is none of its sentence."""
    spans = sentence_spans(text)

    def shared(span: tuple[int, int]) -> float:
        words = set(terms.of(text[slice(*span)]))
        return len(words & wanted) / math.sqrt(len(words) + 3)  # a short one with the same words is nearer

    start, stop = max(spans, key=shared)
    quote = text[start:stop]
    return start + len(quote) - len(quote.lstrip()), start + len(quote.rstrip())

"""Cut pages into chunks: by headings, then paragraphs, then sentences, up to a number of the embedder's tokens.

A chunk is a span of its page and nothing else, so that it can be shown in its place word for word. Chunks of one part may
share their last and first sentences (the overlap); no chunk goes over a heading.
"""

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.retrieval.readers.base import Heading, PageText

__all__ = ["ChunkPlace", "Cutter", "sentence_starts"]

_BLANK = re.compile(r"\n[ \t\r\f\v]*(?:\n[ \t\r\f\v]*)+")
_SENTENCE = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+(?=["'“‘«(\[¿¡]?[^\W_a-zß-öø-ÿ])|(?<=[。！？])""")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-ZÀ-Ý]|Sr|Sra|Srs|Dr|Dra|Drs|Prof|Profa|Mr|Mrs|Ms|St|Art|art|arts|Arts|Fig|fig|Figs|figs|Eq|eq|No|no|n|Nº"
    r"|nº|p|pp|págs?|pág|vol|Vol|cap|ed|Ed|vs|al|e\.g|i\.e|cf|Cf|etc|Inc|Ltd|Ltda|Cia|Av|Jr|inc|par|ref|refs)\.$"
)
_LONGEST = 20_000
"""Characters of a paragraph that are looked at together; a text without blank lines is divided before, at a space."""


@dataclass(frozen=True)
class ChunkPlace:
    """Says where a chunk stands in its page, under which headings, and what of them is not in the chunk itself."""

    start: int
    stop: int
    heading: str = ""
    """Those above it, from the highest: `Manual > Installation`."""
    lead: str = ""
    """Those of them that stand before the chunk, which is read and searched with them."""


def sentence_starts(text: str) -> list[int]:
    """Return where in a text sentences begin; 0 is the first."""
    starts = [0]
    for match in _SENTENCE.finditer(text):
        if not _ABBREVIATION.search(text[max(starts[-1], match.start() - 12) : match.start()]):
            starts.append(match.end())
    return [start for start in starts if start < len(text)] or [0]


class Cutter:
    """Cuts pages by a tokenizer's count."""

    def __init__(self, tokenizer: Any, *, tokens: int, overlap: int) -> None:
        """Take the most tokens of a chunk, and the most that it shares with the one before."""
        self.tokens, self.overlap = tokens, overlap
        # Without the work that transformers does around it, twice as fast; nothing else uses this tokenizer meanwhile.
        self._encode = tokenizer.backend_tokenizer
        self._encode.no_truncation()
        self._encode.no_padding()
        self._encode.encode_special_tokens = True  # names of control tokens are text, and counted as such

    def cut(self, page: PageText) -> list[ChunkPlace]:
        """Return a page's chunks in their order; none where the page is blank."""
        return [piece for start, stop, above in _parts(page) for piece in self._part(page.text, start, stop, above)]

    def _part(self, text: str, start: int, stop: int, above: Sequence[Heading]) -> Iterator[ChunkPlace]:
        """Yield the chunks of what stands under one heading."""
        spans = [
            span
            for number, block in enumerate(_paragraphs(text, start, stop))
            for span in self._fitting(text, *block, number)
        ]
        title = " > ".join(heading.title for heading in above)
        for first, last in self._packed(spans):
            for own_start, own_stop in self._checked(text, first, last):
                lead = " > ".join(heading.title for heading in above if heading.start < own_start)
                yield ChunkPlace(own_start, own_stop, title, lead)

    def _packed(self, spans: Sequence["_Span"]) -> Iterator[tuple[int, int]]:
        """Put sentences together, as many as fit; a chunk that is half full ends rather with a paragraph than in the next."""
        total = np.cumsum([0, *(span.tokens for span in spans)])
        paragraphs = [span.paragraph for span in spans]
        begin, end = 0, 1
        while begin < len(spans):
            while end < len(spans) and total[end + 1] - total[begin] <= self.tokens:
                if paragraphs[end] != paragraphs[end - 1] and 2 * (total[end] - total[begin]) >= self.tokens:
                    after = bisect_right(paragraphs, paragraphs[end])
                    if total[after] - total[begin] > self.tokens:
                        break
                end += 1
            yield spans[begin].start, spans[end - 1].stop
            if end >= len(spans):
                return
            # The next begins some sentences before its own first, where they and that one fit.
            first = end
            while (
                first - 1 > begin
                and total[end] - total[first - 1] <= self.overlap
                and total[end + 1] - total[first - 1] <= self.tokens
            ):
                first -= 1
            begin, end = first, end + 1

    def _fitting(self, text: str, start: int, stop: int, paragraph: int) -> Iterator["_Span"]:
        """Yield a paragraph's sentences with their tokens; a longer one than a chunk in several."""
        part = text[start:stop]
        places = self._places(part)
        bounds = [*sentence_starts(part), len(part)]
        for first, last in itertools.pairwise(bounds):
            low, high = bisect_right(places, first - 1), bisect_right(places, last - 1)
            # Words of a sentence that is no sentence: a table, a list of numbers, text without full stops.
            for begin in range(low, max(high, low + 1), self.tokens):
                end = min(begin + self.tokens, high)
                left = first if begin == low else places[begin]
                right = last if end >= high else places[end]
                part_text = part[left:right]
                if part_text.strip():
                    left, right = (
                        left + len(part_text) - len(part_text.lstrip()),
                        right - len(part_text) + len(part_text.rstrip()),
                    )
                    yield _Span(start + left, start + right, end - begin, paragraph)

    def _places(self, part: str) -> list[int]:
        """Return where in a text each of its tokens begins."""
        return [begin for begin, _ in self._encode.encode(part, add_special_tokens=False).offsets]

    def _checked(self, text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield a chunk, or its halves where alone it has more tokens than as a part of its paragraph."""
        part_text = text[start:stop]
        if stop - start < 2 or len(self._encode.encode(part_text, add_special_tokens=False)) <= self.tokens:
            yield start, stop
            return
        middle = part_text.find(" ", len(part_text) // 2)
        middle = middle if 0 < middle < len(part_text) - 1 else len(part_text) // 2
        for first, last in ((0, middle), (middle, len(part_text))):
            half = part_text[first:last]
            if half.strip():
                left = start + first + len(half) - len(half.lstrip())
                yield from self._checked(text, left, left + len(half.strip()))


@dataclass(frozen=True)
class _Span:
    start: int
    stop: int
    tokens: int
    paragraph: int


def _parts(page: PageText) -> Iterator[tuple[int, int, list[Heading]]]:
    """Yield what stands between headings, each with the headings above it; one with no text of its own joins the next."""
    marks = [heading for heading in page.headings if 0 <= heading.start <= len(page.text)]
    bounds = [0, *(heading.start for heading in marks), len(page.text)]
    above: list[Heading] = []
    begin: int | None = None
    for place, (start, stop) in enumerate(itertools.pairwise(bounds)):
        if place:
            heading = marks[place - 1]
            above = [*(one for one in above if one.level < heading.level), heading]
        begin = start if begin is None else begin
        lines = [line for line in page.text[start:stop].splitlines() if line.strip()]
        underlined = len(lines) == 2 and not lines[1].strip(" =-")
        alone = place > 0 and (len(lines) <= 1 or underlined) and place < len(marks)
        if alone and marks[place].level > marks[place - 1].level:
            continue
        if page.text[begin:stop].strip():
            yield begin, stop, above
        begin = None


def _paragraphs(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the spans between blank lines; one that is too long to look at together is divided at a space."""
    bounds = [start, *(match.end() for match in _BLANK.finditer(text, start, stop)), stop]
    for first, last in itertools.pairwise(bounds):
        while last - first > _LONGEST:
            place = max(text.rfind(mark, first + _LONGEST // 2, first + _LONGEST) for mark in ("\n", " "))
            middle = place + 1 if place > first else first + _LONGEST
            yield first, middle
            first = middle
        if text[first:last].strip():
            yield first, last

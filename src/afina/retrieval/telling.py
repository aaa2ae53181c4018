"""Find in an index the passages that tell what is asked: where the words of a question's own passages stand."""

import re
from collections.abc import Iterator, Sequence

from afina.retrieval.edition import Edition
from afina.retrieval.index import Hit, Index
from afina.retrieval.questions import DocumentQuestion, same_words

__all__ = ["hits_of", "may_tell", "telling_rows"]

_WORD = re.compile(r"\S+")
_HEAD = 6
"""Words of a passage's beginning by which the places are found where it may stand."""


def telling_rows(index: Index, questions: Sequence[DocumentQuestion]) -> list[list[int]]:
    """Return for each question the rows of the passages that tell its answer, the one with most of it first.

    They are those that have some of the question's passages, or stand in its file; of these, those that hold the answer's
    words where any does (in a file alone, no other). Nothing where no such place is in the index.
    """
    edition = index.edition
    places = _places(edition, dict.fromkeys(passage for each in questions for passage in each.passages))
    files = _pages_of(edition, {each.file for each in questions if each.file and not each.passages})
    rows = []
    for question in questions:
        spans = [span for passage in question.passages for span in places.get(passage, ())]
        in_file = files.get(question.file, []) if not question.passages else []
        rows.append(_rows(index, question, spans or in_file, only_held=not spans))
    return rows


def _rows(
    index: Index, question: DocumentQuestion, spans: Sequence[tuple[int, int, int]], *, only_held: bool
) -> list[int]:
    shared: dict[int, int] = {}
    for page, start, stop in spans:
        for row, begin, end in index.edition.rows_at(page, start, stop):
            shared[row] = max(shared.get(row, 0), min(stop, end) - max(start, begin))
    ranked = sorted(shared, key=lambda row: (-shared[row], row))
    # What has the words of the answer tells it; beside it lies what only belongs to the passage.
    held = [row for row in ranked if may_tell(question, index.edition.chunk(row).text)]
    return held if held or only_held else ranked


def may_tell(question: DocumentQuestion, text: str) -> bool:
    """Return whether a text holds what a right answer holds, whatever its case, spaces and marks."""
    # A space on either side: `10` is not to be found in `100`.
    inside = f" {same_words(text)} "
    return any(f" {words} " in inside for words in map(same_words, question.holds) if words)


def hits_of(index: Index, rows: Sequence[int]) -> list[Hit]:
    """Return rows as what a search finds."""
    return [Hit(rank, row, 1.0, index.edition.chunk(row)) for rank, row in enumerate(rows, start=1)]


def _places(edition: Edition, passages: Sequence[str] | dict[str, None]) -> dict[str, list[tuple[int, int, int]]]:
    """Return where each passage stands, whatever the case and spaces: page, start and stop."""
    heads: dict[tuple[str, ...], list[tuple[list[str], str]]] = {}
    for passage in passages:
        # A passage without a word stands nowhere.
        if words := passage.casefold().split():
            heads.setdefault(tuple(words[:_HEAD]), []).append((words, passage))
    lengths = sorted({len(head) for head in heads})
    met: dict[str, list[tuple[int, int, int]]] = {}
    # One walk over the pages' words for all passages: to look for each passage in each page would take hours for many.
    for page, _, text in edition.pages() if heads else ():
        spans = [match.span() for match in _WORD.finditer(text)]
        words = [text[start:stop].casefold() for start, stop in spans]
        for place, passage, count in _met(words, heads, lengths):
            met.setdefault(passage, []).append((page, spans[place][0], spans[place + count - 1][1]))
    return met


def _met(
    words: Sequence[str], heads: dict[tuple[str, ...], list[tuple[list[str], str]]], lengths: Sequence[int]
) -> Iterator[tuple[int, str, int]]:
    """Yield where among a page's words a passage begins, which one, and its number of words."""
    for length in lengths:
        # Heads of one length at a time, as each is looked up as a whole.
        for place in range(len(words) - length + 1):
            for whole, passage in heads.get(tuple(words[place : place + length]), ()):
                if list(words[place : place + len(whole)]) == whole:
                    yield place, passage, len(whole)


def _pages_of(edition: Edition, names: set[str]) -> dict[str, list[tuple[int, int, int]]]:
    """Return the pages of each file, whole; a file may be named without its folders where no other has that name."""
    pages: dict[str, list[tuple[int, int, int]]] = {name: [] for name in names}
    if not names:
        return pages
    known = [row.name for row in edition.files()]
    by_name: dict[str, list[str]] = {}
    for name in known:
        by_name.setdefault(name.rpartition("/")[2], []).append(name)
    meant = {}
    for name in names:
        others = by_name.get(name, [])
        # A name that several files have names none of them.
        meant[name if name in known else others[0] if len(others) == 1 else ""] = name
    for page, file, text in edition.pages():
        if file in meant:
            pages[meant[file]].append((page, 0, len(text)))
    return pages

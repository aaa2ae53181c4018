"""Markdown: a file as it stands, divided by its headings."""

import re
from pathlib import Path

from afina.retrieval.readers.base import Document, FileReader, Heading, PageText, reader
from afina.retrieval.readers.text import decoded

__all__ = ["Markdown", "headings_of"]

_FENCE = re.compile(r"[ ]{0,3}(```+|~~~+)")
_HASHES = re.compile(r"[ ]{0,3}(#{1,6})[ \t]++(.*+)\n?")
_UNDERLINE = re.compile(r"[ ]{0,3}(=+|-+)[ \t]*\r?\n?")


def headings_of(text: str) -> tuple[Heading, ...]:
    """Return the headings of a Markdown text: lines of #, and lines underlined by = or -; none in fenced code."""
    headings: list[Heading] = []
    fence, start, blank = "", 0, True
    before: Heading | None = None  # a line that is one if the next underlines it: it begins a paragraph
    for line in text.splitlines(keepends=True):
        title, heading = line.strip(), None
        if mark := _FENCE.match(line):
            fence = mark[1][:3] if not fence else "" if mark[1].startswith(fence) else fence
        elif not fence and (match := _HASHES.fullmatch(line)) and (name := _named(match[2])):
            heading = Heading(start, len(match[1]), name)
        elif before and (match := _UNDERLINE.fullmatch(line)):
            heading = Heading(before.start, 1 if match[1][0] == "=" else 2, before.title)
        if heading:
            headings.append(heading)
        begins = blank and title and not fence and not mark and not heading and title[0] not in ">|-*+="
        before = Heading(start, 1, title) if begins else None
        blank = not title or heading is not None
        start += len(line)
    return tuple(headings)


def _named(rest: str) -> str:
    """Return what a heading says, without the spaces and marks behind it."""
    return rest.removesuffix("\r").rstrip(" \t").rstrip("#").rstrip(" \t")


@reader("markdown")
class Markdown(FileReader):
    """Reads Markdown, whose marks stay in the text."""

    endings = (".md", ".markdown", ".mdx")

    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        notes: list[str] = []
        text = decoded(path, notes)
        return Document([PageText(text, headings=headings_of(text))], notes)

"""Register the readers of documents: a format is one file of this folder, found by the endings of files' names.

A reader gives a file's text page by page, with its headings. Spans of chunks count characters of that text, which the
index holds, so that `page.text[start:stop]` is the very chunk whatever becomes of the file.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from afina.errors import UsageError
from afina.registry import Registry, listing

__all__ = ["READERS", "Document", "FileReader", "Heading", "PageText", "endings", "plain", "reader", "reader_of"]

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Heading:
    """Says where in a page's text a part begins, and what it is called; 1 is the highest level."""

    start: int
    level: int
    title: str


@dataclass(frozen=True)
class PageText:
    """Holds the text of one page, of one row of a table, or of a whole file that has neither."""

    text: str
    number: int | None = None
    """Counted from 1; None where the file has no pages."""
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True)
class Document:
    """Holds what was read of a file."""

    pages: Sequence[PageText]
    notes: list[str] = field(default_factory=list)
    """Assumptions, and what could not be read of it."""


class FileReader(ABC):
    """Reads files of one format."""

    name: ClassVar[str] = ""
    endings: ClassVar[tuple[str, ...]]
    most_bytes: ClassVar[int] = 1 << 28
    """Largest file that is read; beyond lies a single text of which hundreds of megabytes would lie in memory at once."""
    counts: ClassVar[str] = "page"
    """Thing that a page's number counts."""

    @abstractmethod
    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        """Read a file; `columns` are those whose values are the text, of a table.

        Raises `UsageError` in one sentence for a file that is none of this format, or cannot be read.
        """


READERS: Registry[type[FileReader]] = Registry("reader", "afina.retrieval.readers")
"""All formats by name."""

reader = READERS.register


def endings() -> dict[str, str]:
    """Return the format of each ending of a file's name, without importing any reader."""
    entries = listing("afina.retrieval.readers", "reader").values()
    return {ending: entry.name for entry in entries for ending in entry.constants["endings"]}


def reader_of(path: Path) -> FileReader:
    """Return what reads a file; raises `UsageError` for a name with another ending."""
    # A copy of a folder may hold endings in capitals.
    known = endings()
    if (ending := path.suffix.lower()) not in known:
        raise UsageError(f"{path} is of an unknown type '{ending or path.name}'; possible: {', '.join(sorted(known))}.")
    return READERS[known[ending]]()


def plain(text: str) -> str:
    """Return a text without what UTF-8 cannot hold or a data base would cut it at: a sign of the same length stands there."""
    return _UNWRITABLE.sub("\ufffd", text)

"""Lines of files of any size and encoding, one by one, with what cannot be read said beside them.

In a file of mixed encodings, bytes that are not UTF-8 are read as Windows-1252, each by itself, since it may have been put
together from several sources.
"""

import codecs
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from afina.data.files.compression import COMPRESSED, opened
from afina.data.files.tables import encoding_of

__all__ = ["BEGINNING", "CHUNK", "LONGEST_LINE", "SourceFile", "fallback", "lines_of", "open_decoded"]

LONGEST_LINE = 16 << 20
"""Bytes up to which a line is a row; a longer one is passed over piece by piece, and said."""
BEGINNING = 1_000
"""Letters that are kept of what cannot be read."""
CHUNK = 1 << 20
_BY_LINE = ("utf-8", "utf-8-sig", "cp1252")
"""Encodings whose lines can be told apart as bytes; any other file is decoded as a whole."""


@dataclass
class SourceFile:
    """A file that is read row by row, and what was noticed on the way."""

    path: Path
    longest_line: int = LONGEST_LINE
    seen: Counter[str] = field(default_factory=Counter)
    """Counts of what was noticed and changed no row, by sentence."""


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    try:
        return wrong.decode("cp1252"), error.end
    # Windows-1252 has five bytes without a letter, which latin-1 has one for.
    except UnicodeDecodeError:
        return wrong.decode("latin-1"), error.end


def fallback() -> str:
    codecs.register_error("afina-windows-1252", _as_windows)
    return "afina-windows-1252"


def _decoded(data: bytes, source: SourceFile) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        source.seen["lines that are not UTF-8, read as Windows-1252"] += 1
        return data.decode("utf-8", fallback())


def open_decoded(source: SourceFile) -> BinaryIO | io.TextIOWrapper:
    """Open a file behind its byte order mark: as bytes where lines can be told apart in them, else as text."""
    encoding = encoding_of(source.path)
    file = opened(source.path)
    # A line's end is one byte in these, and nothing else is.
    if encoding.codec in _BY_LINE:
        if encoding.codec == "utf-8-sig":
            file.read(3)
        return file
    source.seen[encoding.note] = 1
    # Only the line feed ends a line, as for the readers by bytes; a carriage return before it is taken off later.
    return io.TextIOWrapper(file, encoding=encoding.codec, errors="replace", newline="\n")


def lines_of(source: SourceFile) -> Iterator[tuple[int, str, str]]:
    """Yield each line's number, its text without the line's end, and a problem; of a line too long, its beginning."""
    file = open_decoded(source)
    end: Any = "\n" if isinstance(file, io.TextIOWrapper) else b"\n"
    number = 0
    with file:
        # One byte more than is allowed, which tells a line of just that length from a longer one.
        while line := file.readline(source.longest_line + 1):
            number += 1
            problem = ""
            # Where going back costs a decompression from the start, the rest is read over.
            if len(line) > source.longest_line and not line.endswith(end):
                packed = source.path.suffix.lower() in COMPRESSED
                length, line = (
                    len(line)
                    + (_read_over(file) if isinstance(file, io.TextIOWrapper) or packed else _pass_over(file)),
                    line[:BEGINNING],
                )
                problem = (
                    f"a line of {length:,} bytes, where {source.longest_line:,} is the longest that is read; only its "
                    "beginning is here"
                )
            text = line if isinstance(line, str) else _decoded(line, source)
            yield number, text.rstrip("\r\n"), problem


def _read_over(file: Any) -> int:
    """Go to the next line's start, in pieces, and return how far that is."""
    length = 0
    while more := file.readline(CHUNK):
        length += len(more)
        if more[-1:] in ("\n", b"\n"):
            break
    return length


def _pass_over(file: BinaryIO) -> int:
    """Do as `_read_over`, in a file where going back is cheap; `readline` would take half a minute for 2 GB."""
    length = 0
    while data := file.read(CHUNK):
        end = data.find(b"\n")
        if end >= 0:
            # Back to the byte behind the line's end, as more was read.
            file.seek(end + 1 - len(data), 1)
            return length + int(end) + 1
        length += len(data)
    return length

"""Reading files of any size row by row: what one row cannot give is said beside it, and the others go on.

At no time is more than one row (or one batch of a parquet file) in memory. Bytes that are not UTF-8 are read as
Windows-1252, each by itself, since a file put together from several sources may hold both.
"""

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from afina.data.files import check_file
from afina.errors import UsageError

__all__ = ["LONGEST_LINE", "SUFFIXES", "RawRow", "Source", "read_rows"]

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".json", ".parquet")
LONGEST_LINE = 16 << 20
"""Bytes up to which a line is a row; a longer one is passed over piece by piece, and said."""
_BEGINNING = 1_000
_CHUNK = 1 << 20
_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


@dataclass(frozen=True)
class RawRow:
    """A row as it stands in a file, or why it could not be read."""

    place: str
    """Such as `line 12`."""
    values: Mapping[str, Any]
    """By column; a line of a text file is under `line`, and of what could not be read the beginning under `unread`."""
    problem: str = ""


@dataclass
class Source:
    """A file that is read row by row, and what was noticed on the way."""

    path: Path
    longest_line: int = LONGEST_LINE
    seen: Counter[str] = field(default_factory=Counter)
    """How often something was noticed that changed no row, by what it was."""


def read_rows(source: Source) -> Iterator[RawRow]:
    """Yield the rows of a file; raises `UsageError` for one that is missing, empty or of an unknown type."""
    path = source.path
    check_file(path, SUFFIXES)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(path)
    elif suffix == ".json":
        yield from _json_rows(source)
    elif suffix in (".csv", ".tsv"):
        yield from _delimited_rows(source)
    else:
        parse = _json_line if suffix == ".jsonl" else _plain_line
        yield from (parse(number, text, problem) for number, text, problem in _lines(source))


def _plain_line(number: int, text: str, problem: str) -> RawRow:
    return RawRow(f"line {number}", {"unread" if problem else "line": text}, problem)


def _json_line(number: int, text: str, problem: str) -> RawRow:
    place = f"line {number}"
    if problem or not text.strip():
        return RawRow(place, {"unread": text}, problem or "empty line")
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        return RawRow(place, {"unread": text[:_BEGINNING]}, f"not valid JSON ({getattr(error, 'msg', 'too deep')})")
    return _object(place, values)


def _object(place: str, values: Any) -> RawRow:
    if isinstance(values, Mapping):
        return RawRow(place, values)
    if isinstance(values, list) and values and all(isinstance(value, Mapping) for value in values):
        return RawRow(place, {"messages": values})
    return RawRow(place, {"unread": json.dumps(values, ensure_ascii=False)[:_BEGINNING]}, "not a JSON object")


# -- text ------------------------------------------------------------------------------------------------------------


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    try:
        return wrong.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return wrong.decode("latin-1"), error.end


def _fallback() -> str:
    codecs.register_error("afina-windows-1252", _as_windows)
    return "afina-windows-1252"


def _decoded(data: bytes, source: Source) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        source.seen["lines that are not UTF-8, read as Windows-1252"] += 1
        return data.decode("utf-8", _fallback())


def _open(path: Path) -> BinaryIO | io.TextIOWrapper:
    """Open a file behind its byte order mark: as text where that says UTF-16 or UTF-32, else as bytes."""
    file = path.open("rb")
    start = file.read(4)
    wide = next((encoding for mark, encoding in _BOMS if start.startswith(mark)), None)
    file.seek(3 if start.startswith(codecs.BOM_UTF8) else 0)
    if wide is None:
        return file
    return io.TextIOWrapper(file, encoding=wide, errors="replace", newline="\n")


def _lines(source: Source) -> Iterator[tuple[int, str, str]]:
    """Yield each line's number, its text without the line's end, and a problem; of a line too long, its beginning."""
    file = _open(source.path)
    end: Any = "\n" if isinstance(file, io.TextIOWrapper) else b"\n"
    number = 0
    with file:
        while line := file.readline(source.longest_line + 1):
            number += 1
            problem = ""
            if len(line) > source.longest_line and not line.endswith(end):
                length, line = len(line) + _pass_over(file), line[:_BEGINNING]
                problem = (
                    f"a line of {length:,} bytes, where {source.longest_line:,} is the longest that is read; only its "
                    "beginning is here"
                )
            text = line if isinstance(line, str) else _decoded(line, source)
            yield number, text.rstrip("\r\n"), problem


def _pass_over(file: BinaryIO | io.TextIOWrapper) -> int:
    """Go to the next line's start and return how far that is; `readline` would take half a minute for 2 GB."""
    length = 0
    if isinstance(file, io.TextIOWrapper):
        while more := file.readline(_CHUNK):
            length += len(more)
            if more.endswith("\n"):
                break
        return length
    while data := file.read(_CHUNK):
        end = data.find(b"\n")
        if end >= 0:
            file.seek(end + 1 - len(data), 1)
            return length + end + 1
        length += len(data)
    return length


# -- tables ----------------------------------------------------------------------------------------------------------


def _delimited_rows(source: Source) -> Iterator[RawRow]:
    passed: list[RawRow] = []

    def lines() -> Iterator[str]:
        for number, text, problem in _lines(source):
            if problem:
                passed.append(_plain_line(number, text, problem))
            yield "\n" if problem else text + "\n"

    csv.field_size_limit(source.longest_line)
    numbered = lines()
    first = next(numbered, "")
    delimiter = "\t" if source.path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    reader = csv.reader(_again(first, numbered), delimiter=delimiter, strict=True)
    begun = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise UsageError(f"{source.path} has two columns of the same name in its first line: {', '.join(header)}.")
        while True:
            begun = reader.line_num + 1
            row = next(reader, None)
            yield from passed
            passed.clear()
            if row is None:
                return
            place = f"line {begun}" if begun == reader.line_num else f"lines {begun} to {reader.line_num}"
            if len(row) == len(header):
                yield RawRow(place, dict(zip(header, row, strict=True)))
            elif row:
                text = delimiter.join(row)
                yield RawRow(place, {"unread": text}, f"{len(row)} fields where the first line has {len(header)}")
    except csv.Error as error:
        raise UsageError(
            f"{source.path}, lines {begun} to {reader.line_num}: {error}; a quotation mark there is not closed or not "
            "doubled."
        ) from None


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    import pyarrow as arrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=100):
                columns = {name: _values(batch.column(name)) for name in batch.schema.names}
                for row in zip(*columns.values(), strict=True):
                    number += 1
                    yield RawRow(f"row {number}", dict(zip(columns, row, strict=True)))
    except (arrow.ArrowException, OSError) as error:
        after = f" after row {number}" if number else ""
        raise UsageError(f"{path} is no readable parquet file{after} ({str(error).splitlines()[0]}).") from None


def _values(column: Any) -> list[Any]:
    import pyarrow as arrow

    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        raw = column.cast(arrow.large_binary() if column.type == arrow.large_string() else arrow.binary())
        values = raw.to_pylist()
    return [value.decode("utf-8", _fallback()) if isinstance(value, bytes) else value for value in values]


# -- one JSON document -----------------------------------------------------------------------------------------------


def _json_rows(source: Source) -> Iterator[RawRow]:
    """Yield the objects of a list, or of a file that holds one after another, without reading all of it."""
    file = _open(source.path)
    text = file if isinstance(file, io.TextIOWrapper) else io.TextIOWrapper(file, encoding="utf-8", errors=_fallback())
    decoder = json.JSONDecoder()
    buffer, at, number, inside, ended = "", 0, 0, False, False
    with text:
        while True:
            while at < len(buffer) and (
                buffer[at].isspace() or buffer[at] in ",]" or (buffer[at] == "[" and not inside)
            ):
                inside, at = inside or buffer[at] == "[", at + 1
            try:
                values, at = decoder.raw_decode(buffer, at)
            except (json.JSONDecodeError, RecursionError) as error:
                if ended and at >= len(buffer):
                    return
                if ended or len(buffer) - at > source.longest_line:
                    raise UsageError(
                        f"{source.path}, item {number + 1}: not valid JSON ({getattr(error, 'msg', 'too deep')}), or longer "
                        f"than {source.longest_line:,} characters."
                    ) from None
                # As much again as there is: an item of any length is tried a few times, not once a chunk.
                more = text.read(max(_CHUNK, len(buffer) - at))
                buffer, at, ended = buffer[at:] + more, 0, not more
                continue
            number, inside = number + 1, True
            yield _object(f"item {number}", values)

"""Reading files of any size row by row: what one row cannot give is said beside it, and the others go on.

Compression, encoding, separators, quotation marks and layouts are told as `read_table` (data/files/tables.py) tells them. At
no time is more than one row (or one batch of a parquet file) in memory.
"""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from afina.corpus.lines import BEGINNING, CHUNK, SourceFile, fallback, lines_of, open_decoded
from afina.data.dialogues.interaction import RawRow
from afina.data.files.compression import COMPRESSED, format_of, reading
from afina.data.files.delimited import header_of, known_values, swallowed
from afina.data.files.dialects import Dialect, dialect_of, escaped, unescaped
from afina.data.files.json_rows import DoubledKey, parsed, rows_of_document, single_keys
from afina.data.files.tables import SUFFIXES as TABLES
from afina.data.files.tables import check_file, read_table
from afina.errors import UsageError
from afina.json_files import json_problem

__all__ = ["SUFFIXES", "read_rows"]

SUFFIXES = (".txt", *TABLES)
_SAMPLE = 4 << 20
"""Characters by which the separator and the kind of quoting are told."""


def read_rows(source: SourceFile) -> Iterator[RawRow]:
    """Yield the rows of a file; raises `UsageError` for one that is missing, empty or of an unknown type."""
    path = source.path
    check_file(path, SUFFIXES)
    with reading(path):
        yield from _KINDS.get(format_of(path), _table_rows)(source)


def _plain_line(number: int, text: str, problem: str) -> RawRow:
    return RawRow(f"line {number}", {"unread" if problem else "line": text}, problem)


def _json_line(number: int, text: str, problem: str) -> RawRow:
    place = f"line {number}"
    if problem or not text.strip():
        return RawRow(place, {"unread": text}, problem or "empty line")
    try:
        values = parsed(text)
    except DoubledKey as error:
        return RawRow(place, {"unread": text[:BEGINNING]}, error.msg)
    except (ValueError, RecursionError) as error:
        return RawRow(place, {"unread": text[:BEGINNING]}, json_problem(error))
    return _object(place, values)


def _object(place: str, values: Any) -> RawRow:
    if isinstance(values, Mapping):
        # What is not a number (NaN) is missing.
        return RawRow(place, {key: None if value != value else value for key, value in values.items()})
    if isinstance(values, list) and values and all(isinstance(value, Mapping) for value in values):
        return RawRow(place, {"messages": values})
    return RawRow(place, {"unread": json.dumps(values, ensure_ascii=False)[:BEGINNING]}, "not a JSON object")


# -- tables ----------------------------------------------------------------------------------------------------------


def _delimited_rows(source: SourceFile) -> Iterator[RawRow]:
    # Lines that cannot be read reach no parser; they wait here for their turn among the rows.
    passed: list[RawRow] = []

    def lines() -> Iterator[str]:
        for number, text, problem in lines_of(source):
            if problem:
                passed.append(_plain_line(number, text, problem))
            # As in a table read at once, a carriage return ends a line too.
            yield from ("\n",) if problem else io.StringIO(text + "\n", newline="")

    numbered = lines()
    dialect, sample, numbered = _dialect(source, numbered)
    # A field may be as long as a line; Python's own bound is smaller.
    csv.field_size_limit(source.longest_line)
    rows = (escaped(line) for line in numbered) if dialect.backslash else numbered
    reader = csv.reader(
        rows, delimiter=dialect.separator, quoting=csv.QUOTE_MINIMAL if dialect.quoting else csv.QUOTE_NONE, strict=True
    )
    begun = 0
    try:
        for _ in range(dialect.skip):
            next(reader)
        first = next(reader, [])
        header, width = header_of(first, str(source.path)), len(first)
        known = known_values(sample, dialect, width) if dialect.quoting and '"' in sample else []
        while True:
            begun = reader.line_num + 1
            row = next(reader, None)
            yield from passed
            passed.clear()
            if row is None:
                return
            row = unescaped(row) if dialect.backslash else row
            place = f"line {begun}" if begun == reader.line_num else f"lines {begun} to {reader.line_num}"

            # A quotation mark that was never closed takes following rows into its field without an error.
            if (joins := swallowed(row, known, dialect)) is not None:
                yield RawRow(place, {"unread": dialect.separator.join(row)}, joins)
            # Files that were put together have the columns' names again in the middle.
            elif row == first and width > 1:
                source.seen["lines that are the columns' names once more: left out"] += 1
            # Empty fields behind the last column come from a spreadsheet.
            elif len(row) >= width and not any(field.strip() for field in row[width:]):
                yield RawRow(place, dict(zip(header, row, strict=False)))
            elif row:
                text = dialect.separator.join(row)
                yield RawRow(place, {"unread": text}, f"{len(row)} fields where the first line has {width}")
    except csv.Error as error:
        raise UsageError(
            f"{source.path}, lines {begun} to {reader.line_num}: {error}; a quotation mark on line {begun} is not closed "
            "or not doubled."
        ) from None


def _dialect(source: SourceFile, lines: Iterator[str]) -> tuple[Dialect, str, Iterator[str]]:
    """Return how fields are divided, told by the first lines, these, and all lines again."""
    sample: list[str] = []
    size = 0
    for line in lines:
        sample.append(line)
        size += len(line)
        # Enough lines to tell by, and no more than fit in memory.
        if size > _SAMPLE:
            break
    notes: list[str] = []
    suffix = format_of(source.path)
    dialect = dialect_of("".join(sample), str(source.path), suffix, notes, whole=size <= _SAMPLE)
    source.seen.update(dict.fromkeys(notes, 1))
    return dialect, "".join(sample), itertools.chain(sample, lines)


def _table_rows(source: SourceFile) -> Iterator[RawRow]:
    """Read a table of another kind as a whole."""
    notes: list[str] = []
    table = read_table(source.path, notes)
    source.seen.update(dict.fromkeys(notes, 1))
    columns = {name: _values(table[name]) for name in table.column_names}
    for number, row in enumerate(zip(*columns.values(), strict=True), start=1):
        yield RawRow(f"row {number}", dict(zip(columns, row, strict=True)))


def _parquet_rows(source: SourceFile) -> Iterator[RawRow]:
    import pyarrow as arrow
    from pyarrow import parquet

    path, number = source.path, 0
    # A compressed file cannot be read from its end, where parquet has its index.
    if path.suffix.lower() in COMPRESSED:
        yield from _table_rows(source)
        return
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
        # Text that is no UTF-8 is taken as bytes, and decoded as other files are.
        raw = column.cast(arrow.large_binary() if column.type == arrow.large_string() else arrow.binary())
        values = raw.to_pylist()
    return [value.decode("utf-8", fallback()) if isinstance(value, bytes) else value for value in values]


# -- one JSON document -----------------------------------------------------------------------------------------------


def _json_rows(source: SourceFile) -> Iterator[RawRow]:
    """Yield the objects of a list, or of a file that holds one after another, without reading all of it."""
    file = open_decoded(source)
    text = file if isinstance(file, io.TextIOWrapper) else io.TextIOWrapper(file, encoding="utf-8", errors=fallback())
    decoder = json.JSONDecoder(object_pairs_hook=single_keys)
    buffer, at, number, inside, ended = "", 0, 0, False, False
    with text:
        while True:
            while at < len(buffer) and (
                buffer[at].isspace() or buffer[at] in ",]" or (buffer[at] == "[" and not inside)
            ):
                inside, at = inside or buffer[at] == "[", at + 1
            try:
                values, at = decoder.raw_decode(buffer, at)
            except DoubledKey as error:
                raise UsageError(f"{source.path}, item {number + 1}: {error.msg}; keep one of them.") from None
            except (ValueError, RecursionError) as error:
                if ended and at >= len(buffer):
                    return
                if ended or len(buffer) - at > source.longest_line:
                    if not number and not inside and buffer[at : at + 1] == "{":
                        yield from _table_rows(source)
                        return
                    raise UsageError(
                        f"{source.path}, item {number + 1}: {json_problem(error)}, or longer than "
                        f"{source.longest_line:,} characters."
                    ) from None

                # As much again as there is: an item of any length is tried a few times, not once a chunk.
                more = text.read(max(CHUNK, len(buffer) - at))
                buffer, at, ended = buffer[at:] + more, 0, not more
                continue
            if not number and not inside and isinstance(values, dict):
                while not buffer[at:].strip() and not ended:
                    more = text.read(CHUNK)
                    buffer, ended = buffer + more, not more
                if not buffer[at:].strip():
                    # One document, of whatever layout.
                    yield from _document_rows(source, values)
                    return
            number, listed, inside = number + 1, inside, True
            yield _object(f"item {number}", {"text": values} if listed and isinstance(values, str) else values)


def _document_rows(source: SourceFile, document: Any) -> Iterator[RawRow]:
    notes: list[str] = []
    rows = rows_of_document(document, str(source.path), notes)
    source.seen.update(dict.fromkeys(notes, 1))
    yield from (_object(place, row) for place, row in rows)


def _line_rows(source: SourceFile) -> Iterator[RawRow]:
    yield from (_plain_line(number, text, problem) for number, text, problem in lines_of(source))


def _json_line_rows(source: SourceFile) -> Iterator[RawRow]:
    """Yield a row a line, or those of one list that only the file's name says to be of lines."""
    lines = lines_of(source)
    first: list[tuple[int, str, str]] = []
    for line in lines:
        first.append(line)
        if len(filled := [each for each in first if each[2] or each[1].strip()]) == 2:
            break
    if filled and not filled[0][2] and filled[0][1].lstrip().startswith("[") and _goes_on(filled):
        yield from _json_rows(source)
        return
    for number, text, problem in itertools.chain(first, lines):
        yield _json_line(number, text, problem)


def _goes_on(lines: list[tuple[int, str, str]]) -> bool:
    """Return whether a list that begins on the first line is the whole file: nothing follows, or it goes on behind it."""
    try:
        json.loads(lines[0][1])
    except (ValueError, RecursionError):
        return len(lines) > 1
    return len(lines) == 1


_KINDS: dict[str, Callable[[SourceFile], Iterator[RawRow]]] = {
    ".txt": _line_rows, ".csv": _delimited_rows, ".tsv": _delimited_rows, ".jsonl": _json_line_rows,
    ".ndjson": _json_line_rows, ".json": _json_rows, ".parquet": _parquet_rows,
}  # fmt: skip
"""Kinds that are read row by row; any other is read as a whole."""

"""Reading tables from files as people have them: one reader for every command, and never anything pickled.

A kind of file is a row of `READERS`; each may be compressed, and text may have any encoding that can be told.
"""

import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as arrow

from afina.data.columns import check_utf8
from afina.data.files.compression import COMPRESSED, contents, format_of, opened, reading
from afina.data.files.delimited import read_delimited
from afina.data.files.encodings import Encoding, check_encoding, recognise
from afina.data.files.json_rows import read_json
from afina.errors import UsageError

__all__ = [
    "FILES",
    "LINE",
    "READERS",
    "SUFFIXES",
    "check_file",
    "encoding_of",
    "is_table",
    "label_names_of",
    "read_table",
    "read_text",
    "same_label_names",
    "say",
    "separator_of",
    "table_of",
]

LINE = "\0line"
"""Column that holds the lines of a text file until a task says what they are."""
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".joblib")


@dataclass(frozen=True)
class _Asked:
    """Holds what a person said of a file; left out, it is recognised."""

    separator: str | None
    encoding: str | None
    every_row: bool = False
    """True where a line that repeats the header counts as an empty row, so that later rows keep their numbers."""


def read_table(
    path: Path, notes: list[str] | None = None, *, separator: str | None = None, encoding: str | None = None,
    lines: bool = False, every_row: bool = False,
) -> arrow.Table:  # fmt: skip
    """Read a file into a table with at least one row; what was assumed goes to `notes`, or is logged as a warning.

    `separator` and `encoding` are recognised where they are not given; with `lines` a text file is a table of its lines, and
    with `every_row` a line that names the columns once more is an empty row.
    Raises `UsageError` that says what is wrong and where.
    """
    # What it is and whether it is there, before anything is opened: each of these has a sentence of its own.
    check_file(path, FILES if lines else SUFFIXES)
    assumed: list[str] = []
    with reading(path):
        reader = _read_lines if format_of(path) in TEXT_FILES else READERS[format_of(path)]
        table = reader(path, assumed, _Asked(separator, encoding, every_row))
    say(path, assumed, notes)
    table = _without_views(table)
    if table.num_rows == 0:
        raise UsageError(f"{path} has column names and no rows.")
    for name in table.column_names:
        check_utf8(table, name, str(path))
    return table


def _without_views(table: arrow.Table) -> arrow.Table:
    """Return a table whose texts are of the kinds that can be divided and compared; polars writes others."""
    for place, field in enumerate(table.schema):
        if "view" in str(field.type):
            column = table.column(place)
            plain = arrow.types.is_string_view(field.type)
            made = column.cast(arrow.large_string()) if plain else arrow.array(column.to_pylist())
            table = table.set_column(place, field.name, made)
    return table


def say(path: Path, assumed: list[str], notes: list[str] | None) -> None:
    """Add what was assumed about a file to `notes`, with its name; without them, log it as a warning."""
    for note in assumed:
        if notes is None:
            logging.getLogger("afina").warning("%s: %s", path.name, note)
        else:
            notes.append(f"{path.name}: {note}")


def is_table(path: Path) -> bool:
    """Return whether a file's name says that it is a table, compressed or not."""
    return format_of(path) in SUFFIXES


def _readable_in(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return how to go on with a folder: by the first of its files that could be read."""
    files = islice((own for own in sorted(folder.rglob("*")) if format_of(own) in suffixes and own.is_file()), 3)
    names = [str(own.relative_to(folder)) for own in files]
    return f"; give one of those in it, such as {', '.join(names)}" if names else f"; give {', '.join(suffixes)}"


def check_file(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise `UsageError` unless the file is there, holds something and is of a known type."""
    suffix = format_of(path)
    known = f"{', '.join(suffixes)} (compressed too: {', '.join(COMPRESSED)})"

    # Before any other check: even to ask what is in such a file may run code.
    if suffix in _PICKLED:
        raise UsageError(f"{path} may hold pickled objects, which can run code; give {known}.")
    if suffix in (".xls", ".ods"):
        raise UsageError(f"{path} is of a kind of spreadsheet that is not read; save it as .xlsx or .csv.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, where one file is read{_readable_in(path, suffixes)}.")
    if suffix not in suffixes:
        raise UsageError(f"{path} is of an unknown type '{suffix or path.name}'; give {known}.")
    if not path.is_file():
        raise UsageError(f"{path} does not exist (looked for in {path.absolute().parent}).")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.")


# -- text ------------------------------------------------------------------------------------------------------------


def encoding_of(path: Path) -> Encoding:
    """Return the encoding of a file's text, compressed or not, by reading through it once."""
    with reading(path), opened(path) as file:
        return recognise(file)


def read_text(path: Path, notes: list[str], *, encoding: str | None = None) -> str:
    """Return a file's text without a byte order mark; notes an encoding that is not UTF-8, raises where none fits."""
    with reading(path):
        data = contents(path)
    if encoding is not None:
        return _decoded(data, check_encoding(encoding), path)
    recognised = recognise(io.BytesIO(data))
    if recognised.broken:
        raise UsageError(f"{path}, {recognised.broken} the file as UTF-8.")
    if recognised.note:
        notes.append(recognised.note)
    return _decoded(data, recognised.codec, path)


def _decoded(data: bytes, codec: str, path: Path) -> str:
    try:
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        line = data[:start].count(b"\n") + 1
        raise UsageError(f"{path}, line {line}: the bytes there are no {codec}; save the file as UTF-8.") from None


def _read_delimited(path: Path, notes: list[str], asked: _Asked) -> arrow.Table:
    text = read_text(path, notes, encoding=asked.encoding)
    columns, separator = read_delimited(
        text, str(path), format_of(path), notes, separator=asked.separator, every_row=asked.every_row
    )
    table = arrow.table({name: arrow.array(values, type=arrow.large_string()) for name, values in columns.items()})
    return table.replace_schema_metadata({"afina": json.dumps({"separator": separator})})


def _read_lines(path: Path, notes: list[str], asked: _Asked) -> arrow.Table:
    # Only line feeds end a line: splitlines() would also break a text at U+2028 and its like.
    lines = read_text(path, notes, encoding=asked.encoding).replace("\r\n", "\n").removesuffix("\n").split("\n")
    return arrow.table({LINE: arrow.array(lines, type=arrow.large_string())})


def _read_json(path: Path, notes: list[str], asked: _Asked) -> arrow.Table:
    text = read_text(path, notes, encoding=asked.encoding)
    return table_of(
        [row for _, row in read_json(text, str(path), notes, lines=format_of(path) in (".jsonl", ".ndjson"))]
    )


def table_of(rows: list[Mapping[str, Any]]) -> arrow.Table:
    """Return rows as a table; a column of several types becomes text, what is no text as JSON."""
    # Keys in the order in which they first came; a row that lacks one has a missing value there.
    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = {str(name): _column([row.get(name) for row in rows]) for name in names}
    return arrow.table(columns) if columns else arrow.table({"text": arrow.array([], type=arrow.string())})


def _column(values: list[Any]) -> arrow.Array:
    try:
        column = arrow.array(values)
        # A column gives each of its objects the keys of all: those of different keys are kept as JSON text instead.
        if not arrow.types.is_nested(column.type) or column.to_pylist() == values:
            return column
    except (arrow.ArrowException, OverflowError):
        pass
    # What is not a number is missing, here as in a column of numbers.
    return arrow.array([None if value is None or value != value else _as_text(value) for value in values])


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else str(value)


# -- other formats ---------------------------------------------------------------------------------------------------


def _bytes(path: Path) -> Any:
    """Return a path, or the bytes that are compressed in it."""
    if path.suffix.lower() not in COMPRESSED:
        return path
    return arrow.BufferReader(contents(path))


def _read_parquet(path: Path, notes: list[str], asked: _Asked) -> arrow.Table:
    from pyarrow import parquet

    try:
        # Without partitioning: a folder called label=1 adds no column.
        return parquet.read_table(_bytes(path), partitioning=None)
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} is no readable parquet file ({str(error).splitlines()[0]}).") from None


def _read_arrow(path: Path, notes: list[str], asked: _Asked) -> arrow.Table:
    """Read Arrow's stream (which data sets are saved as), or its file format (Feather)."""
    from pyarrow import ipc

    source = _bytes(path)
    try:
        with arrow.memory_map(str(source)) if isinstance(source, Path) else source as file:
            # The file format begins with its name, the stream with a length.
            start = file.read(6)
            file.seek(0)
            return (ipc.open_file if start == b"ARROW1" else ipc.open_stream)(file).read_all()
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} is no readable Arrow file ({(str(error).splitlines() or ['damaged'])[0]}).") from None


def _read_excel(path: Path, notes: list[str], asked: _Asked) -> arrow.Table:
    from afina.data.files.excel import read_excel

    return read_excel(path, notes)


READERS: dict[str, Callable[[Path, list[str], _Asked], arrow.Table]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    ".xlsx": _read_excel,
}
"""Functions that read a file, by the ending of its name."""
SUFFIXES = tuple(READERS)
TEXT_FILES = (".txt", ".conll", ".conllu", ".iob", ".iob2", ".bio")
"""Endings of files of lines, whose form their content tells (text_files.py, tag_forms.py)."""
FILES = (*SUFFIXES, *TEXT_FILES)


def separator_of(table: arrow.Table) -> str | None:
    """Return what separated the columns of a table's file, where it was one of text."""
    separator = _stored(table, b"afina").get("separator")
    return separator if isinstance(separator, str) else None


def label_names_of(table: arrow.Table, column: str) -> tuple[str, ...] | None:
    """Return the label names (of a column of lists, their items') that Hugging Face datasets wrote into a schema."""
    feature: Any = _stored(table, b"huggingface")
    for key in ("info", "features", column):
        feature = feature.get(key) if isinstance(feature, dict) else None
    if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def same_label_names(tables: Mapping[str, arrow.Table], column: str, where: str) -> tuple[str, ...] | None:
    """Return the first table's names of its labels; raises `UsageError` where another table numbers its labels otherwise."""
    (first, given), *others = ((part, label_names_of(table, column)) for part, table in tables.items())
    for part, names in others:
        if given is not None and names is not None and names != given:
            raise UsageError(
                f"{where}: the labels of {part} are numbered {_numbered(names, given)}, and those of {first} "
                f"{_numbered(given, names)}; write the names themselves into column '{column}'."
            )
    return given


def _numbered(names: tuple[str, ...], other: tuple[str, ...]) -> str:
    """Show the labels about which two numberings part."""
    parted = [place for place, name in enumerate(names) if other[place : place + 1] != (name,)]
    return ", ".join(f"{place}: '{names[place]}'" for place in parted[:3]) or f"0 to {len(names) - 1}"


def _stored(table: arrow.Table, key: bytes) -> dict[str, Any]:
    """Return an object that a schema's metadata hold as JSON; another program's may hold anything."""
    try:
        values = json.loads((table.schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}

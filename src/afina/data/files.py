"""Reading tables of text from files: .csv, .tsv, .jsonl, .json, .parquet; UTF-8, and never anything pickled."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as arrow

from afina.errors import UsageError

__all__ = ["SUFFIXES", "check_file", "label_names_of", "read_table"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".joblib")


def read_table(path: Path) -> arrow.Table:
    """Read a file into a table with at least one row; raises `UsageError` that says what is wrong and where."""
    check_file(path, SUFFIXES)
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = _read_parquet(path)
        elif suffix in (".csv", ".tsv"):
            table = _read_delimited(path, "\t" if suffix == ".tsv" else ",")
        else:
            table = _read_json(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}).") from None
    if table.num_rows == 0:
        raise UsageError(f"{path} has column names and no rows.")
    return table


def check_file(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise `UsageError` unless the file is there, holds something and is of a known type."""
    suffix = path.suffix.lower()
    if suffix in _PICKLED:
        raise UsageError(f"{path} may hold pickled objects, which can run code; give {', '.join(suffixes)}.")
    if suffix not in suffixes:
        raise UsageError(f"{path} is of an unknown type '{suffix or path.name}'; give {', '.join(suffixes)}.")
    if not path.is_file():
        raise UsageError(f"{path} does not exist.")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.")


def _read_parquet(path: Path) -> arrow.Table:
    from pyarrow import parquet

    try:
        # Without partitioning: a folder called label=1 adds no column.
        return parquet.read_table(path, partitioning=None)
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} is no readable parquet file ({str(error).splitlines()[0]}).") from None


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{path}, line {line}: the byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8."
        ) from None


def _read_delimited(path: Path, delimiter: str) -> arrow.Table:
    # A field may be longer than the csv module's default of 128 KiB.
    csv.field_size_limit(1 << 30)
    # Only line feeds end a line: splitlines() would also break a text at U+2028 and its like.
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        rows = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise UsageError(
                    f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(header)}; "
                    "quote fields that hold the delimiter."
                )
            rows.append(row)
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}.") from None
    if len(set(header)) != len(header):
        raise UsageError(f"{path} has two columns of the same name in its first line: {', '.join(header)}.")
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    return arrow.table({name: _column(values) for name, values in zip(header, columns, strict=True)})


def _column(values: tuple[str, ...]) -> arrow.Array:
    """Keep a column of a text file as it is written; blank is missing."""
    return arrow.array([value if value.strip() else None for value in values], type=arrow.large_string())


def _read_json(path: Path) -> arrow.Table:
    text = _text(path)
    # Each row with the line it stands on, or its place in a list.
    rows = _json_list(path, text) if text.lstrip().startswith("[") else _json_lines(path, text)
    for where, row in rows:
        if not isinstance(row, dict):
            raise UsageError(f'{path}, {where}: an object is wanted, as in {{"text": ..., "label": ...}}.')
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(path, rows)
    names = list(dict.fromkeys(key for _, row in rows for key in row))
    columns = {}
    for name in names:
        values = [row.get(name) for _, row in rows]
        try:
            columns[name] = arrow.array(values)
        except (arrow.ArrowException, OverflowError):
            columns[name] = arrow.array([None if value is None else str(value) for value in values])
    return arrow.table(columns) if columns else arrow.table({"text": arrow.array([], type=arrow.string())})


def _json_list(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        return [(f"item {number}", row) for number, row in enumerate(json.loads(text), start=1)]
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}).") from None
    except RecursionError:
        raise UsageError(f"{path}: the JSON is nested too deeply.") from None


def _json_lines(path: Path, text: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append((f"line {number}", json.loads(line)))
        except json.JSONDecodeError as error:
            raise UsageError(f"{path}, line {number}: not valid JSON ({error.msg}).") from None
        except RecursionError:
            raise UsageError(f"{path}, line {number}: the JSON is nested too deeply.") from None
    return rows


def _refuse_surrogates(path: Path, rows: list[tuple[str, Any]]) -> None:
    for where, row in rows:
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UsageError(f"{path}, {where}: half of a surrogate pair (\\ud800 to \\udfff) is not UTF-8.") from None


def label_names_of(table: arrow.Table, column: str) -> tuple[str, ...] | None:
    """Return the label names (of a column of lists, their items') that Hugging Face datasets wrote into a schema."""
    stored = (table.schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    feature = json.loads(stored).get("info", {}).get("features", {}).get(column, {})
    if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if names else None

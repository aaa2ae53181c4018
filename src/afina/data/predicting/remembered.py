"""Remember which columns an adapter learned from, so that a file with the same columns can be read without naming them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as arrow

from afina.data.columns import joined
from afina.data.files.compression import format_of, opened, reading
from afina.data.files.tables import encoding_of
from afina.data.names import QUESTIONS, TEXTS, TITLES, usual_name
from afina.dataset_spec import DatasetSpec
from afina.errors import AfinaError, UsageError, nearest
from afina.json_files import read_json_object

__all__ = ["Remembered", "reading_of", "remembered", "spec_for"]

_AS_ASCII = ("iso2022", "hz", "utf-7", "utf_7")
"""Encodings that write other letters as ASCII: a file of them looks like UTF-8."""


@dataclass(frozen=True)
class Remembered:
    """Columns of the data set that an adapter was trained on, and how its file was to be read."""

    text: tuple[str, ...] = ()
    """Several where they were joined."""
    text_pair: str | None = None
    separator: str | None = None
    encoding: str | None = None


def remembered(adapter: Path) -> Remembered:
    """Return what an adapter's folder says of its columns; nothing where it says nothing, as PEFT's folders do."""
    try:
        facts = read_json_object(adapter / "afina.json").get("facts")
    except (FileNotFoundError, AfinaError):
        return Remembered()  # whoever loads the adapter says what is wrong with it
    columns, source = (_object(facts, key) for key in ("columns", "source"))
    text = columns.get("text")
    # One column, or those that were joined.
    names = tuple(text) if isinstance(text, list) else (text,)
    return Remembered(
        tuple(name for name in names if isinstance(name, str)), _text(columns, "text_pair"), _text(source, "separator"),
        _text(source, "encoding"),
    )  # fmt: skip


def reading_of(path: Path, memory: Remembered) -> tuple[str | None, str | None]:
    """Return with which separator and encoding to read a file: the adapter's, unless the file shows that it has others.

    What a person had to say of the file to learn from need not be true of the next one.
    """
    separator, encoding = memory.separator, memory.encoding
    if format_of(path) not in (".csv", ".tsv", ".json", ".jsonl", ".ndjson") or not path.is_file():
        return separator, encoding
    if encoding is not None and not encoding.lower().replace("-", "").startswith(_AS_ASCII):
        recognised = encoding_of(path)
        # A byte order mark or plain UTF-8 shows itself; other encodings cannot be told from one another.
        shown = not recognised.broken and recognised.codec.startswith("utf")
        encoding = None if shown else encoding
    if separator is not None:
        with reading(path), opened(path) as file:
            # A line of any length is no table's heading.
            first = file.readline(1 << 20)
        separator = separator if separator.encode() in first else None
    return separator, encoding


def _object(facts: Any, key: str) -> dict[str, Any]:
    value = facts.get(key) if isinstance(facts, dict) else None
    return value if isinstance(value, dict) else {}


def _text(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) and value else None


def spec_for(
    table: arrow.Table, where: str, memory: Remembered, text: str | None, text_pair: str | None, notes: list[str]
) -> tuple[arrow.Table, DatasetSpec]:
    """Return a table, with a column of joined texts where the adapter learned from such, and which columns to read.

    What the person names comes first (several with commas between them), then the adapter's columns, then the usual names.
    Raises `UsageError` where only some of the joined columns are there.
    """
    there = table.column_names
    names: tuple[str, ...] = ()
    if text is not None:
        parts = tuple(part.strip() for part in text.split(","))
        # A column's own name may have a comma in it.
        names = parts if text not in there and len(parts) > 1 else (text,)
    elif memory.text and (all(name in there for name in memory.text) or len(memory.text) > 1):
        names = memory.text
        if lacking := [name for name in names if name not in there]:
            raise UsageError(
                f"{where} has no column '{lacking[0]}', and the adapter learned from {' and '.join(names)}, joined; say with "
                f"--text which columns are to be read{nearest(lacking[0], there)}"
            )
    elif memory.text:
        notes.append(
            f"there is no column '{memory.text[0]}', from which the adapter learned; its texts are found by their usual names"
        )
    # A pair belongs to the adapter's own text; to another text it would be a stranger.
    pair = text_pair or (memory.text_pair if names == memory.text and text is None else None)
    if pair is not None and pair not in there and text_pair is None:
        raise UsageError(
            f"{where} has no column '{pair}', and the adapter learned from pairs of '{memory.text[0]}' and '{pair}'; say "
            f"with --text and --text-pair which columns are to be read{nearest(pair, there)}"
        )
    if not names and usual_name(there, (*TEXTS, *TITLES)) is None:
        # What is asked of a model that writes stands under a question's name.
        names = tuple(found for found in [usual_name(there, QUESTIONS)] if found is not None)
    spec: DatasetSpec = DatasetSpec.parse({"path": where, "text": list(names) or None, "text_pair": pair}, where)
    if not spec.joined:
        return table, spec
    tables, spec = joined({"file": table}, spec, where, notes)
    return tables["file"], spec

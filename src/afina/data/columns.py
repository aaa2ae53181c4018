"""Which columns of a table are texts and labels, found by their usual names, and the texts as strings."""

from collections.abc import Mapping

import pyarrow as arrow

from afina.config import DatasetSpec
from afina.errors import UsageError, nearest

__all__ = ["LINE", "ROW", "find_columns", "find_label", "numbered", "texts"]

ROW = "\0row"
"""Column that keeps each row's number in its file, so that an error can name the row after others were dropped."""

LINE = "\0line"
"""Column of the lines of a text file, before it is known what they are."""

_PAIRS = (
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
)
_TEXT = ("text", "sentence", "content", "review", "body", "message", "premise", "sentence1", "question1", "question")
_LABEL = ("label", "labels", "class", "category", "target", "score", "stars", "sentiment", "answer")


def numbered(table: arrow.Table) -> arrow.Table:
    """Return the table with the number of each row, from 1."""
    return table.append_column(ROW, arrow.array(range(1, table.num_rows + 1), type=arrow.int64()))


def find_label(names: list[str]) -> str | None:
    """Return the column that is called as labels usually are, whatever its case."""
    known = {name.lower(): name for name in reversed(names)}
    return next((known[name] for name in _LABEL if name in known), None)


def find_columns(
    tables: Mapping[str, arrow.Table], spec: DatasetSpec, where: str, *, with_label: bool = True
) -> dict[str, str]:
    """Return the columns for `text`, `text_pair` (where there are pairs) and `label`, the same in every table."""
    names = [name for name in next(iter(tables.values())).column_names if name != ROW]
    first, second = _find_texts(names, spec)
    found = {"text": first, "text_pair": second}
    if with_label:
        found["label"] = spec.label or find_label(names)
    listed = ", ".join(names)
    for key in found:
        if found[key] is None and key != "text_pair":
            raise UsageError(f"{where} has no column that looks like a {key}; say which with {key}: ({listed}).")
    chosen = {key: name for key, name in found.items() if name is not None}
    for split, table in tables.items():
        own = [name for name in table.column_names if name != ROW]
        for key, name in chosen.items():
            if name not in own:
                close = nearest(name, own)
                among = "" if "possible" in close else f" (its columns: {', '.join(own)})"
                raise UsageError(f"{where} ({split}) has no column '{name}' for {key}{close}{among}")
    return chosen


def _find_texts(names: list[str], spec: DatasetSpec) -> tuple[str | None, str | None]:
    if spec.text is not None:
        return spec.text, spec.text_pair
    known = {name.lower(): name for name in reversed(names)}
    if spec.text_pair is None:
        for first, second in _PAIRS:
            if first in known and second in known:
                return known[first], known[second]
            if first == "text" and first in known:
                return known[first], None
    return next((known[name] for name in _TEXT if name in known), None), spec.text_pair


def texts(table: arrow.Table, column: str, where: str) -> list[str]:
    """Return a column as strings, what is missing as an empty one; raises `UsageError` for what is no text."""
    values = table[column].combine_chunks() if table[column].num_chunks != 1 else table[column].chunk(0)
    if arrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if arrow.types.is_nested(values.type):
        raise UsageError(f"{where}: column '{column}' holds {values.type}, not texts; name another column.")
    try:
        # Bytes become text, and what a parquet file calls text is looked at: its writer may not have.
        if arrow.types.is_binary(values.type) or arrow.types.is_large_binary(values.type):
            values = values.cast(arrow.large_string())
        values.validate(full=True)
    except arrow.ArrowInvalid:
        raise UsageError(_not_utf8(table, values, column, where)) from None
    return [value if isinstance(value, str) else "" if value is None else str(value) for value in values.to_pylist()]


def _not_utf8(table: arrow.Table, values: arrow.Array, column: str, where: str) -> str:
    raw = arrow.binary() if values.type in (arrow.string(), arrow.binary()) else arrow.large_binary()
    for place, value in enumerate(values.cast(raw).to_pylist()):
        try:
            (value or b"").decode("utf-8")
        except UnicodeDecodeError:
            row = table[ROW][place].as_py() if ROW in table.column_names else place + 1
            return f"{where}, row {row}: the text in column '{column}' is not UTF-8; save the file as UTF-8."
    return f"{where}: column '{column}' cannot be read as text."

"""Find which columns of a table are texts and labels by their usual names, and read the texts as strings."""

import re
from collections.abc import Mapping

import pyarrow as arrow

from afina.data.names import BODIES, LABELS, TEXT_PAIRS, TEXTS, TITLES, plain_name, plain_names, usual_name
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise, nearest

__all__ = [
    "ROW",
    "check_utf8",
    "find_columns",
    "find_label",
    "joined",
    "left_out",
    "numbered",
    "texts",
    "title_and_body",
]

ROW = "\0row"
"""Column that keeps each row's number in its file, so that an error can name the row after others were dropped."""


def numbered(table: arrow.Table) -> arrow.Table:
    """Return the table with the number of each row, from 1."""
    return table.append_column(ROW, arrow.array(range(1, table.num_rows + 1), type=arrow.int64()))


def find_label(names: list[str]) -> str | None:
    """Return the column that is called as labels usually are, in English or Portuguese, whatever its case and accents."""
    return usual_name(names, LABELS)


def joined(
    tables: Mapping[str, arrow.Table], spec: DatasetSpec, where: str, notes: list[str]
) -> tuple[dict[str, arrow.Table], DatasetSpec]:
    """Return the tables with a column of the joined texts that a spec asks for, and the spec that names it.

    Left to itself, a title is joined with the description or summary under it, and that is noted.
    """
    first = next(iter(tables.values()))
    names = [name for name in first.column_names if name != ROW]
    # Only where nobody named a column: a person's choice is never added to.
    if spec.text is None and (pair := title_and_body(names)) and spec.messages is None and spec.target is None:
        spec = spec.model_copy(update={"text": " + ".join(pair), "joined": pair})
        notes.append(f"the texts are {' and '.join(pair)}, joined; to read one alone, say so with text:")
    if not spec.joined:
        return dict(tables), spec
    assert spec.text is not None
    made = {}
    for split, table in tables.items():
        if spec.text in table.column_names:
            made[split] = table
            continue
        _check_there(list(spec.joined), table, f"{where} ({split})", "text")
        columns = [texts(table, name, where) for name in spec.joined]

        # An empty part leaves no empty line: a title alone is a text too.
        lines = ["\n".join(part for part in row if part.strip()) for row in zip(*columns, strict=True)]
        # A row without any part is a missing text and not an empty one.
        made[split] = table.append_column(
            spec.text, arrow.array([line or None for line in lines], arrow.large_string())
        )
    return made, spec


def title_and_body(names: list[str]) -> tuple[str, ...] | None:
    """Return columns of a title and of what is written under it, where neither alone is the text."""
    title, body = usual_name(names, TITLES), usual_name(names, TEXTS)
    weak = body is not None and plain_name(body) in BODIES
    return (title, body) if title and body and weak else None


def find_columns(
    tables: Mapping[str, arrow.Table],
    spec: DatasetSpec,
    where: str,
    *,
    with_label: bool = True,
    named_by: str | None = "{key}:",
) -> dict[str, str]:
    """Return the columns for `text`, `text_pair` (where there are pairs) and `label`, the same in every table.

    Raises `UsageError` for one that is not there, which says how to name it: by a study file's key unless `named_by` says
    otherwise, such as `--{key}` where a command has options for it, or None where nothing names columns.
    """
    names = [name for name in next(iter(tables.values())).column_names if name != ROW]
    first, second = _find_texts(names, spec)
    columns = {"text": first, "text_pair": second}
    if with_label:
        columns["label"] = spec.label or find_label([name for name in names if name not in (first, second)])
    listed = ", ".join(names)
    for key in columns:
        if columns[key] is None and key != "text_pair":
            several = _several_labels(tables, names) if key == "label" else ""
            way = "call that one" if named_by is None else "say which with"
            name = key if named_by is None else named_by.format(key=key)
            raise UsageError(
                f"{where} has no column that looks like a {key}{several}; {way} {name} ({listed}){_nameless(names)}."
            )
    chosen = {key: name for key, name in columns.items() if name is not None}
    for split, table in tables.items():
        # A test part without labels, and with no other column that could be them, is one of a competition.
        further = set(_own(table)) - set(names)
        for key, name in chosen.items():
            if key == "label" and split == "test" and name not in table.column_names and not further:
                raise UsageError(
                    f"{where} ({split}) has no labels ({', '.join(_own(table))}), and train has '{name}'; give the train "
                    "file alone (a part of it is kept for the test), and predict the other with afina predict --file."
                )
            _check_there([name], table, f"{where} ({split})", key)
    return chosen


def _nameless(names: list[str]) -> str:
    """Say so where the first line of a file is a row: numbers and sentences are no names of columns."""
    rows = [name for name in names if re.fullmatch(r"[-+]?[\d.,]+", name) or len(name) > 60 or name.count(" ") > 5]
    return "; its first line looks like a row: write the columns' names above it" if rows else ""


def _own(table: arrow.Table) -> list[str]:
    return [name for name in table.column_names if name != ROW]


def _check_there(names: list[str], table: arrow.Table, where: str, key: str) -> None:
    there = _own(table)
    for name in names:
        if name not in there:
            close = nearest(name, there)
            among = "" if "possible" in close else f" (its columns: {', '.join(there)})"
            raise UsageError(f"{where} has no column '{name}' for {key}{close}{among}")


def _several_labels(tables: Mapping[str, arrow.Table], names: list[str]) -> str:
    """Say so where a table has a column of 0 and 1 for each of several labels."""
    table = next(iter(tables.values()))
    flags = [name for name in names if _flags(table[name])]
    if len(flags) < 2:
        return ""
    listed = ", ".join(flags[:4]) + (", ..." if len(flags) > 4 else "")
    return (
        f", but {len(flags)} of 0 and 1 ({listed}): several labels a row are learned by task: multilabel, and one alone by "
        f"label: {flags[0]}"
    )


def _flags(column: arrow.ChunkedArray) -> bool:
    # Scores may be 0.0 and 1.0 by chance; flags are whole numbers, truths or text.
    if arrow.types.is_nested(column.type) or arrow.types.is_floating(column.type):
        return False
    # The first thousand rows show it: what is refused later names the row.
    values = {str(value) for value in column.slice(0, 1_000).to_pylist()} - {"None"}
    return bool(values) and values <= {"0", "1", "True", "False"}


def left_out(table: arrow.Table, columns: Mapping[str, str]) -> list[str]:
    """Say which columns look as if they were meant too: a title beside the text, a second label."""
    names = [name for name in _own(table) if name not in columns.values()]
    sentences = []
    title = usual_name(names, TITLES)
    if title is not None and "text_pair" not in columns and not columns["text"].startswith(f"{title} + "):
        sentences.append(
            f"the texts are '{columns['text']}' alone; to read '{title}' too, write text: [{title}, {columns['text']}]"
        )
    if (other := find_label(names)) is not None and "label" in columns:
        sentences.append(f"the labels are '{columns['label']}'; '{other}' looks like labels too, and is not read")
    return sentences


def _find_texts(names: list[str], spec: DatasetSpec) -> tuple[str | None, str | None]:
    if spec.text is not None:
        return spec.text, spec.text_pair
    known = plain_names(names)
    if spec.text_pair is None:
        # Pairs first, as a text beside its pair would be read alone otherwise.
        for first, second in TEXT_PAIRS:
            if first in known and second in known:
                return known[first], known[second]
            if first == "text" and first in known:
                return known[first], None
    return usual_name(names, TEXTS) or usual_name(names, TITLES), spec.text_pair


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

    # What is not a number (NaN) stands for a text that is missing.
    return [
        value if isinstance(value, str) else "" if value is None or value != value else str(value)
        for value in values.to_pylist()
    ]


def check_utf8(table: arrow.Table, column: str, where: str) -> None:
    """Raise `UsageError` for a column whose texts are not UTF-8: a parquet file's writer may not have looked."""
    try:
        table[column].validate(full=True)
    except arrow.ArrowInvalid as error:
        if "UTF" not in str(error) or arrow.types.is_nested(table[column].type):
            raise UsageError(f"{where}: column '{column}' is damaged; write the file again.") from None
        raise UsageError(_not_utf8(table, table[column].combine_chunks(), column, where)) from None


def _not_utf8(table: arrow.Table, values: arrow.Array, column: str, where: str) -> str:
    # As bytes, so that a text that is none does not stop the reading of the others.
    raw = arrow.binary() if values.type in (arrow.string(), arrow.binary()) else arrow.large_binary()
    wrong: list[tuple[str, str]] = []
    for place, value in enumerate(values.cast(raw).to_pylist()):
        try:
            (value or b"").decode("utf-8")
        except UnicodeDecodeError:
            wrong.append((f"row {table[ROW][place].as_py() if ROW in table.column_names else place + 1}", ""))
    if not wrong:
        return f"{where}: column '{column}' cannot be read as text."
    others = likewise(wrong)
    return f"{where}, {wrong[0][0]}: the text in column '{column}' is not UTF-8; save the file as UTF-8{others}."

"""Several labels a row, read as people keep them: lists, a text with a mark between labels, or columns of 0 and 1."""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as arrow

from afina.data.columns import ROW, find_columns
from afina.data.sources.finding import Parts
from afina.errors import UsageError, nearest

__all__ = ["check_sets", "listed_labels"]

_MARKS = (";", "|", ",")
"""Separators of labels in a text; the first of them that occurs is taken."""
_LABELS = "several labels"
_MOST_LABELS = 2_000


def listed_labels(parts: Parts, notes: list[str]) -> tuple[Parts, list[str], tuple[str, ...] | None]:
    """Return the tables with one column of labels, a JSON list a row, in place of others, these, and the labels' names.

    Names are None where the rows' labels are all that is known of them.
    """
    spec = parts.spec

    # Columns of 0 and 1 are labels only where no column looks like one, and nobody named one.
    flags = spec.flags or (_flags(parts) if spec.label is None and not _has_labels(parts) else ())
    if flags:
        for split, table in parts.tables.items():
            for name in flags:
                if name not in table.column_names:
                    there = [column for column in table.column_names if column != ROW]
                    raise UsageError(f"{parts.where} ({split}) has no column '{name}' for label{nearest(name, there)}")
        if not spec.flags:
            notes.append(f"the labels are the columns of 0 and 1: {', '.join(flags)}")
        made = {split: _of_flags(own, flags, parts.place(split)) for split, own in parts.tables.items()}
        return _relabelled(parts, made, flags), list(flags), flags
    column = find_columns(parts.tables, spec, parts.where)["label"]
    # A list may be kept as a list or written out as text.
    values = {split: [_listed(value) for value in own[column].to_pylist()] for split, own in parts.tables.items()}
    every = [value for own in values.values() for value in own if value is not None]

    # One mark for the whole column: a label may hold a comma where semicolons stand between.
    mark = next((m for m in _MARKS if any(m in value for value in every if isinstance(value, str))), None)
    if mark is not None:
        notes.append(f"the labels of a row stand in one text, with '{mark}' between them")
    # Rows of zeros and ones, one for each label, and not of numbers that are labels.
    lists = [value for value in every if isinstance(value, list)]
    if lists and len(lists) == len(every) and _are_flags(lists):
        names = parts.label_names or tuple(str(place) for place in range(len(lists[0])))
        if parts.label_names is None:
            notes.append(f"the {len(names)} labels of '{column}', 0 or 1 each, have no names: they are numbered from 0")
        sets = {split: [flags and _marked(names, flags) for flags in rows] for split, rows in values.items()}
        return _relabelled(parts, sets, (column,)), [column], names
    named = {split: [_names(value, mark, parts.label_names) for value in own] for split, own in values.items()}
    return _relabelled(parts, named, (column,)), [column], None


def _relabelled(parts: Parts, sets: Mapping[str, Sequence[list[str] | None]], columns: Sequence[str]) -> Parts:
    """Return the parts with their columns of labels as one of JSON lists."""
    tables = {}
    for split, table in parts.tables.items():
        # In order and once each, so that the same labels are the same text.
        texts = [None if own is None else json.dumps(sorted(set(own))) for own in sets[split]]
        others = table.drop_columns(list(columns))
        tables[split] = others.append_column(_LABELS, arrow.array(texts, type=arrow.string()))
    return replace(parts, tables=tables, spec=parts.spec.model_copy(update={"label": _LABELS, "flags": ()}))


def _has_labels(parts: Parts) -> bool:
    try:
        find_columns(parts.tables, parts.spec, parts.where)
    except UsageError:
        return False
    return True


def _flags(parts: Parts) -> tuple[str, ...]:
    """Return the columns that hold nothing but 0 and 1, if there are two at least."""
    table = next(iter(parts.tables.values()))
    text = find_columns(parts.tables, parts.spec, parts.where, with_label=False).values()
    flags = [name for name in table.column_names if name not in (ROW, *text) and _all_flags(table[name].to_pylist())]
    # One alone is a label of two classes, which is no set.
    return tuple(flags) if len(flags) > 1 else ()


def _all_flags(values: Sequence[object]) -> bool:
    # A list is no flag, and could not stand in a set.
    known = {value for value in values if value is not None} if not any(isinstance(v, list) for v in values) else set()
    return bool(known) and all(_flag(value) is not None for value in known)


def _flag(value: object) -> int | None:
    return {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1, "false": 0, "true": 1}.get(str(value).strip())


def _of_flags(table: arrow.Table, flags: Sequence[str], place: str) -> list[list[str] | None]:
    """Return each row's labels; None where a column has nothing for it."""
    columns = [table[name].to_pylist() for name in flags]
    rows: list[list[str] | None] = []
    for number, values in enumerate(zip(*columns, strict=True)):
        # A row with a hole in one of its flags is no row without that label: nobody knows it.
        column = [None if value is None else _flag(value) for value in values]
        for name, value, flag in zip(flags, values, column, strict=True):
            if value is not None and flag is None:
                raise UsageError(f"{place}, row {table[ROW][number].as_py()}: '{name}' is {value!r}, neither 0 nor 1.")
        rows.append(None if None in column else [name for name, flag in zip(flags, column, strict=True) if flag])
    return rows


def _listed(value: Any) -> Any:
    """Return a list that is written as text as a list; other values as they are, what is empty as None."""
    # Only what begins as a list, set or tuple does: anything else is a label.
    if isinstance(value, str) and value.strip().startswith(("[", "(", "{")):
        try:
            read = ast.literal_eval(value.strip())
        # A label may begin with a bracket.
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value
        return list(read) if isinstance(read, (list, tuple, set)) else value
    return None if isinstance(value, str) and not value.strip() else value


def _are_flags(lists: Sequence[list[Any]]) -> bool:
    """Return whether these are a 0 or 1 for each label, not labels."""
    return len(lists[0]) > 1 and all(
        len(own) == len(lists[0]) and all(_flag(value) is not None for value in own) for own in lists
    )


def _names(value: Any, mark: str | None, known: tuple[str, ...] | None) -> list[str] | None:
    """Return the names of a row's labels; a number is the place of a name where the source gives names."""
    if value is None:
        return None
    parts = value if isinstance(value, list) else value.split(mark) if isinstance(value, str) else [value]
    filled = [part for part in parts if part is not None]
    if known is not None and all(isinstance(part, int) and 0 <= part < len(known) for part in filled):
        return [known[int(part)] for part in filled]
    names = [str(part).strip() for part in filled]
    return [name for name in names if name]


def check_sets(names: Sequence[str], sets: Mapping[str, Sequence[list[str]]], where: str, notes: list[str]) -> None:
    """Raise `UsageError` for labels of which nothing can be learned, and note those that a split lacks."""
    if len(names) < 2:
        raise UsageError(
            f"{where}: there are no two labels ({', '.join(names) or 'none'}); nothing is to be told apart."
        )
    if len(names) > _MOST_LABELS:
        raise UsageError(
            f"{where}: there are {len(names):,} different labels, '{names[0]}' and '{names[1]}' among them; name another "
            "column with label:."
        )
    counts = {split: _counted(names, rows) for split, rows in sets.items()}
    # A label that every row has, or none, tells no rows apart.
    everywhere = [label for label in names if counts["train"][label] in (0, len(sets["train"]))]
    if len(everywhere) == len(names):
        raise UsageError(f"{where}: every train row has the same labels; there is nothing to learn.")
    if everywhere:
        listed = ", ".join(everywhere[:5]) + (", ..." if len(everywhere) > 5 else "")
        notes.append(f"of {listed} nothing can be learned: every train row has it, or none")
    if untested := [label for label in names if not counts["test"][label] and label not in everywhere]:
        listed = ", ".join(untested[:5]) + (", ..." if len(untested) > 5 else "")
        notes.append(f"no test row has {listed}: how well it is told is not measured")


def _marked(names: Sequence[str], flags: Sequence[Any]) -> list[str]:
    """Return the names whose flag is set."""
    return [name for name, flag in zip(names, flags, strict=False) if flag]


def _counted(names: Sequence[str], rows: Sequence[Any]) -> dict[str, int]:
    """Return how many rows have each name."""
    return {name: sum(name in row for row in rows) for name in names}

"""A hub data set's columns as its preset says them: places inside others, and words with columns in braces."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import pyarrow as arrow

from afina.data.sources.presets import Preset
from afina.errors import UsageError, likewise

__all__ = ["preset_columns"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def preset_columns(table: arrow.Table, preset: Preset, place: str) -> tuple[arrow.Table, dict[str, str]]:
    """Return the table with every column that the preset composes, and the columns' names by what they mean.

    Raises `UsageError` for a column that is not there: the set on the hub is then another than it was.
    """
    named: dict[str, str] = {}
    for key in ("text", "text_pair", "target"):
        if (recipe := getattr(preset, key)) is None:
            continue
        if recipe in table.column_names:
            named[key] = recipe
            continue
        named[key] = key
        values = (
            _composed(table, recipe, place)
            if "{" in recipe
            else [_inside(v, recipe) for v in _column(table, recipe, place)]
        )
        texts = [None if value is None else str(value) for value in values]
        table = _with(table, key, arrow.array(texts, type=arrow.large_string()))
    if preset.choices is not None:
        answers = _answers(table, preset, place)
        right = arrow.array(_right(table, preset, answers, place), type=arrow.int64())
        table = _with(table, "choices", arrow.array(answers, type=arrow.list_(arrow.large_string())))
        return _with(table, "label", right), {**named, "choices": "choices", "label": "label"}
    if preset.target is None:
        _column(table, preset.label, place)
        named["label"] = preset.label
    return table, named


def _with(table: arrow.Table, name: str, values: arrow.Array) -> arrow.Table:
    """Return the table with this column, in the place of one of the same name."""
    table = table.drop_columns([name]) if name in table.column_names else table
    return table.append_column(name, values)


def _column(table: arrow.Table, recipe: str, place: str) -> list[Any]:
    name = recipe.partition(".")[0]
    if name not in table.column_names:
        raise UsageError(
            f"{place} has no column '{name}' now, but {', '.join(table.column_names)}; name its columns yourself, with path: "
            "instead of the preset."
        )
    values: list[Any] = table[name].to_pylist()
    return values


def _inside(value: Any, path: str) -> Any:
    """Return what stands in a value at the place behind its column's name, `text.0`; None where there is nothing."""
    for key in path.split(".")[1:]:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            # A place that is not there is a missing value, as SQuAD has questions without an answer.
            value = value[int(key)] if int(key) < len(value) else None
        else:
            return None
    return value


def _composed(table: arrow.Table, recipe: str, place: str) -> list[str]:
    names = [name for _, name, _, _ in Formatter().parse(recipe) if name]
    columns = [_column(table, name, place) for name in names]
    rows = zip(*columns, strict=True)
    return [recipe.format(**{name: "" if v is None else v for name, v in zip(names, row, strict=True)}) for row in rows]


def _answers(table: arrow.Table, preset: Preset, place: str) -> list[list[str]]:
    if isinstance(preset.choices, tuple):
        rows = zip(*(_column(table, name, place) for name in preset.choices), strict=True)
        return [[str(answer) for answer in row] for row in rows]
    assert preset.choices is not None
    return [
        [str(one) for one in _inside(value, preset.choices) or ()] for value in _column(table, preset.choices, place)
    ]


def _right(table: arrow.Table, preset: Preset, answers: list[list[str]], place: str) -> list[int | None]:
    """Return the place of each row's right answer, by its key or number; None where none is said."""
    labels = _column(table, preset.label, place)
    keys: list[Any] = [None] * len(labels)
    if preset.keys is not None:
        keys = [_inside(value, preset.keys) for value in _column(table, preset.keys, place)]
    places: list[int | None] = []
    wrong: list[tuple[str, str]] = []
    first = ""
    for row, (label, choices, known) in enumerate(zip(labels, answers, keys, strict=True), start=1):
        # -1 and nothing at all are what publishers write where an answer is kept back.
        if label is None or str(label).strip() in ("", "-1"):
            places.append(None)
            continue
        if known is not None:
            right = list(known).index(label) if label in known else -1
        else:
            # Numbered from 0 or 1 by the set, or lettered as tests are.
            right = int(label) - preset.first if str(label).isdigit() else _LETTERS.find(str(label).upper())
        if not 0 <= right < len(choices):
            wrong.append((f"row {row}", f"{label!r} of {len(choices)}"))
            first = (
                f"{place}, row {row}: the answer {label!r} is none of its {len(choices)}" if len(wrong) == 1 else first
            )
        places.append(right)
    if wrong:
        raise UsageError(f"{first}{likewise(wrong)}.")
    return places

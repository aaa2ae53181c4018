"""Make a task of a column of labels: class indices with their names, or numbers."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute

from afina.data.columns import ROW
from afina.errors import UsageError, likewise, shown

__all__ = ["are_quantities", "check_classes", "check_few_labels", "classes", "note_dates", "numbers", "typed"]

_MOST_CLASSES = 200
_FEW_CLASSES = 10
"""Labels that are never too many for their rows: a small file of stars has a class for each."""
# 007 is a name and no number: reading it as 7 would change it.
_WHOLE = r"^-?(0|[1-9][0-9]{0,17})$"
_NUMBER = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
_PLAIN = r"^-?(0|[1-9][0-9]*|0?\.[0-9]+|[1-9][0-9]*\.[0-9]*|0\.[0-9]*)([eE][-+]?[0-9]+)?$"


def typed(tables: Mapping[str, arrow.Table], column: str, where: str) -> dict[str, arrow.Table]:
    """Return the tables with labels of one type in all of them: whole numbers, numbers, bools or strings.

    Text files know only strings: they are numbers where every one of them, in every table, is written as one.
    """
    # All splits together, as a column may look like numbers in one and not in another.
    parts = {split: _plain(table[column], column, where) for split, table in tables.items()}
    kinds = {part.type for part in parts.values()}
    if len(kinds) > 1:
        # Whole numbers in one split and decimals in another are numbers; anything else is compared as text.
        mixed = kinds <= {arrow.int64(), arrow.float64()}
        parts = {split: part.cast(arrow.float64() if mixed else arrow.string()) for split, part in parts.items()}
    if all(part.type == arrow.string() for part in parts.values()):
        # Whole numbers before decimals: `3` is to stay 3.
        for pattern, kind in ((_WHOLE, arrow.int64()), (_PLAIN, arrow.float64())):
            blanked = {split: _without_nan(part) for split, part in parts.items()}
            if all(_every(part, pattern) for part in blanked.values()):
                parts = {split: part.cast(kind) for split, part in blanked.items()}
                break
    return {
        split: table.set_column(table.column_names.index(column), column, parts[split])
        for split, table in tables.items()
    }


def _plain(values: arrow.ChunkedArray, column: str, where: str) -> arrow.ChunkedArray:
    """Bring a column to int64, float64 (missing for not a number), bool or string."""
    kind = values.type
    # pandas keeps few different labels as categories.
    if arrow.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if arrow.types.is_nested(kind):
        several = arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind)
        what, advice = "objects", ""
        # What is meant by several labels has a task, which the sentence names.
        if several:
            what, advice = (
                "lists",
                "; where a row has several, write task: multilabel",
            )
        raise UsageError(
            f"{where}: column '{column}' holds {what}; a label is one number or string for each row{advice}."
        )
    if arrow.types.is_boolean(kind):
        return values
    try:
        if arrow.types.is_integer(kind):
            return values.cast(arrow.int64())
        if arrow.types.is_floating(kind) or arrow.types.is_decimal(kind):
            values = values.cast(arrow.float64())
            return compute.if_else(compute.is_nan(values), None, values)
        return values.cast(arrow.string())
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        raise UsageError(f"{where}: column '{column}' of type {kind} cannot be read as labels.") from None


def _without_nan(values: arrow.ChunkedArray) -> arrow.ChunkedArray:
    # Before numbers are looked for, as a hole written out is none.
    missing = compute.is_in(values, value_set=arrow.array(["nan", "NaN", "NAN"]))
    return compute.if_else(missing, arrow.scalar(None, arrow.string()), values)


def _every(values: arrow.ChunkedArray, pattern: str) -> bool:
    """Tell whether all values that are there, of which there is one at least, are written so."""
    # None where nothing is there to judge by.
    return compute.all(compute.match_substring_regex(values, pattern)).as_py() is True


def are_quantities(tables: Mapping[str, arrow.Table], column: str) -> bool:
    """Return whether labels are numbers of which some have decimals."""
    # Whole numbers may be classes or quantities, which nothing shows; decimals are no classes.
    if tables["train"][column].type != arrow.float64():
        return False
    # Of all splits: quantities may be whole in one of them.
    each = (table[column].drop_null().to_numpy() for table in tables.values())
    return any(bool((values != np.round(values)).any()) for values in each)


def check_few_labels(train: arrow.ChunkedArray, column: str, where: str, names: tuple[str, ...] | None) -> None:
    """Raise `UsageError` for train labels that are too many for classes, unless the source names them."""
    distinct, rows = len(compute.unique(train.drop_null())), len(train.drop_null())
    number = train.type in (arrow.int64(), arrow.float64())
    # A column of names, numbers or texts that was taken for labels: most of its values stand there once.
    many = distinct > max(_FEW_CLASSES, rows / 3)
    if names is None and (many or (distinct == rows and distinct > 2) or (number and distinct > _MOST_CLASSES)):
        advice = "task: regression if they are quantities" if number else "task: chat if they are what is to be written"
        raise UsageError(
            f"{where}: column '{column}' has {distinct:,} different labels in {rows:,} train rows, too few rows a label to "
            f"learn; name another label: column, or set {advice}, or task: classification if they are classes."
        )


def numbers(table: arrow.Table, column: str, place: str) -> np.ndarray:
    """Return labels as float64; one that is no finite number is an error that names its row."""
    values = table[column]
    good = compute.match_substring_regex(values, _NUMBER) if values.type == arrow.string() else compute.is_valid(values)
    if compute.all(good).as_py():
        # A plus sign and spaces are people's; arrow knows neither.
        if values.type == arrow.string():
            values = compute.utf8_trim_whitespace(values)
            values = compute.replace_substring_regex(values, r"^\+", "")
        result: np.ndarray = np.array(values.cast(arrow.float64()).to_numpy(), dtype=np.float64)
        # Infinity is a number to arrow, and no target.
        bad = np.flatnonzero(~np.isfinite(result))
    else:
        result, bad = np.empty(0), np.flatnonzero(~good.to_numpy())
    if len(bad):
        values = table[column].to_pylist()

        # With words among them, commas were not read: it is the word that is no number.
        wrong = sorted(bad, key=lambda place: not any(map(str.isalpha, str(values[place]))))
        rows = [(f"row {table[ROW][int(at)].as_py()}", shown(values[at])) for at in wrong]
        row, value = rows[0]
        raise UsageError(f"{place}, {row}: the label {value} is not a number, as regression needs{likewise(rows)}.")
    return result


def classes(
    tables: Mapping[str, arrow.Table], column: str, where: str, names: tuple[str, ...] | None, notes: list[str]
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return label names and class indices; -1 marks rows that the publisher left unlabelled.

    It does so only in sets that name their labels. In others -1 is a class: as many mean "negative" by it as "none".
    """
    kind = tables["train"][column].type
    # Places of names are trusted only where the source gives the names.
    if names is not None and kind == arrow.int64():
        return names, {split: _indices(table, column, where, split, names) for split, table in tables.items()}
    every: set[Any] = set().union(*(compute.unique(table[column]).to_pylist() for table in tables.values()))

    # By value and not by first appearance: the same labels get the same numbers, however the rows are ordered.
    order = sorted(every)

    # A number from a table of decimals (3.0) is the label 3.
    shown = tuple(str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in order)
    if kind != arrow.string() and -1 in every and len(every) > 2:
        notes.append("-1 is taken for a label like the others; leave its rows out if it means that there is none")

    # Texts that are all among the names: the source's own order numbers them.
    if names and every <= set(names):
        order, shown = list(names), names
    values = arrow.array(order, type=kind)
    indices = {split: compute.index_in(table[column], value_set=values) for split, table in tables.items()}
    return shown, {split: part.to_numpy().astype(np.int64) for split, part in indices.items()}


def _indices(table: arrow.Table, column: str, where: str, split: str, names: tuple[str, ...]) -> np.ndarray:
    values: np.ndarray = table[column].to_numpy().astype(np.int64)
    wrong = np.flatnonzero((values < -1) | (values >= len(names)))
    if len(wrong):
        rows = [(f"row {table[ROW][int(at)].as_py()}", str(values[at])) for at in wrong]
        row, value = rows[0]
        raise UsageError(
            f"{where} ({split}), {row}: the label {value} has no name; the data names {len(names)}: "
            f"{', '.join(names[:10])}{likewise(rows)}."
        )

    # As test parts of public benchmarks are published.
    if len(values) and (values == -1).all():
        raise UsageError(
            f"{where} ({split}): every label is -1, so its labels are not public; "
            "name a split that has them, such as split: {test: validation}."
        )
    return values


def check_classes(names: tuple[str, ...], labels: Mapping[str, np.ndarray], where: str, notes: list[str]) -> None:
    """Raise `UsageError` when train has one class only, or another split has a class that train lacks.

    Classes that no test row has are noted: nothing is measured of them.
    """
    present = np.unique(labels["train"])
    if len(present) < 2:
        raise UsageError(f"{where}: train has only one class ('{names[int(present[0])]}'); at least two are needed.")
    # Fewer than three rows a class, of which the test takes some.
    if len(present) > len(labels["train"]) / 3:
        notes.append(f"{len(present)} classes in {len(labels['train'])} train rows: too few rows a class to learn from")
    for split, values in labels.items():
        unseen = [int(label) for label in np.unique(values) if label not in present]
        if unseen:
            count = int(np.isin(values, unseen).sum())
            what = (
                f"label {_listed(names, unseen)} stands"
                if len(unseen) == 1
                else f"labels {_listed(names, unseen)} stand"
            )
            raise UsageError(
                f"{where}: the {what} in {count:,} {split} rows and in no train row; add some there, or leave those out."
            )
    if untested := [int(label) for label in present if label not in labels["test"]]:
        count = int(np.isin(labels["train"], untested).sum())
        rows = "1 train row" if count == 1 else f"{count:,} train rows"
        notes.append(
            f"no test row is labelled {_listed(names, untested)} ({rows}): how well it is told is not measured"
        )


_DAY = r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))"
_TIME = r"([T ]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?Z|[-+]\d{2}:?\d{2})?)?"
_DATE = re.compile(_DAY + _TIME)
"""A day, with or without the time of day, as people and programs write it."""


def note_dates(names: tuple[str, ...], column: str, notes: list[str]) -> None:
    """Note labels that look like dates: they are learned as classes, each for itself, in no order."""
    dates = [name for name in names if _DATE.fullmatch(name)]
    # More than half, as a single name may look like a date by chance.
    if 2 * len(dates) > len(names):
        notes.append(
            f"the labels in column '{column}' look like dates ('{dates[0]}'), and each is a class; is another column meant?"
        )


def _listed(names: tuple[str, ...], labels: list[int]) -> str:
    return ", ".join(f"'{names[label]}'" for label in labels[:5]) + (", ..." if len(labels) > 5 else "")

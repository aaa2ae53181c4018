"""Read labels as people write them: with invisible characters, decimal commas, and words for a missing value."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

import pyarrow as arrow

from afina.data.files.tables import separator_of
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["MISSING", "tidied", "visible"]

MISSING = ("nan", "-nan", "NaN", "NAN", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/D", "NaT", "#NULL!")
"""Texts that pandas, R, databases and spreadsheets write for a value that is not there."""
_DOUBTFUL = ("None", "none", "NONE", "-", "?")
"""Texts that stand for a missing value among numbers; among words each may be a class."""
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")

_NUMBER = re.compile(r"[-+]?[\d.,]*\d([eE][-+]?\d+)?")
"""Anything made of a number's marks; how its commas and points are meant is another question."""
_POINTS = re.compile(r"[-+]?(\d+(?:\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
_COMMAS = re.compile(r"[-+]?\d*,\d+|[-+]?\d{1,3}(\.\d{3})+(,\d+)?|[-+]?\d+")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
_LIST = re.compile(r"\s*[\[(].*[\])]\s*", re.DOTALL)


def tidied(
    tables: Mapping[str, arrow.Table], column: str, spec: DatasetSpec, where: str, notes: list[str]
) -> dict[str, arrow.Table]:
    """Return the tables with a column of label texts made plain; other types are left as they are.

    Spaces and invisible characters that tell no labels apart for a reader are taken off, missing values written out become
    missing, numbers with decimal commas get points; each is noted. Raises `UsageError` for lists, and for numbers that can be
    read in two ways.
    """
    written = {split: _strings(table[column]) for split, table in tables.items()}
    # One split of numbers is enough to see that the column is typed.
    if any(values is None for values in written.values()):
        return dict(tables)
    texts = {
        split: [None if value is None else visible(value) for value in values or ()]
        for split, values in written.items()
    }
    _note_invisible([(a, b) for split in texts for a, b in zip(written[split] or (), texts[split], strict=True)], notes)
    # All splits together: the same text is to mean the same in each.
    counts = Counter(value for values in texts.values() for value in values if value)
    _refuse_lists(counts, column, where)
    numeric = all(_NUMBER.fullmatch(label) for label in counts if label not in (*MISSING, *_DOUBTFUL))
    absent = _absent(counts, spec, numeric)
    _note_missing(absent, counts, spec, numeric, notes)
    # Without what stands for none, which would be no number.
    there = Counter({label: count for label, count in counts.items() if label not in absent})
    decimal = _decimal(there, spec, _semicolons(tables), f"{where}: column '{column}'", notes) if numeric else None
    if not numeric:
        _note_case(there, notes)
    final = {label: _pointed(label, decimal) if decimal else label for label in there}
    texts = {split: [final.get(value) if value else None for value in values] for split, values in texts.items()}
    return {
        split: table.set_column(table.column_names.index(column), column, arrow.array(texts[split], arrow.string()))
        for split, table in tables.items()
    }


def _strings(values: arrow.ChunkedArray) -> list[str | None] | None:
    if arrow.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not (arrow.types.is_string(values.type) or arrow.types.is_large_string(values.type)):
        # A column of nothing has no type, and is missing throughout.
        return [None] * len(values) if arrow.types.is_null(values.type) else None
    try:
        strings: list[str | None] = values.to_pylist()
    except UnicodeDecodeError:
        return None
    return strings


def visible(label: str) -> str | None:
    """Return a label as it is seen: composed, without invisible characters, with single spaces; none if nothing is left."""
    # Composed, as an accent may be written as one character or as two.
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", label)).split()) or None


def _note_invisible(pairs: list[tuple[str | None, str | None]], notes: list[str]) -> None:
    changed = Counter((before, after) for before, after in pairs if before and after and before != after)
    if not changed:
        return
    (before, after), _ = changed.most_common(1)[0]
    rows = sum(changed.values())
    notes.append(
        f"{rows:,} {'label has' if rows == 1 else 'labels have'} spaces or invisible characters that were taken off, so that "
        f"{before!r} is {after!r}"
    )


def _refuse_lists(counts: Counter[str], column: str, where: str) -> None:
    lists = [label for label in counts if _LIST.fullmatch(label)]
    # Half of them, as a class may stand in brackets.
    if lists and 2 * len(lists) > len(counts):
        _refuse_several(lists[0][:40], f"{where}: column '{column}'")


# -- what is missing -------------------------------------------------------------------------------------------------


def _absent(counts: Counter[str], spec: DatasetSpec, numeric: bool) -> dict[str, int]:
    """Return the labels that stand for none, with how many rows have them."""
    # What a person said of their data goes before any guess, also if it is nothing.
    known = spec.missing if spec.missing is not None else (*MISSING, *(_DOUBTFUL if numeric else ()))
    return {label: count for label, count in counts.items() if label in known}


def _note_missing(
    absent: Mapping[str, int], counts: Counter[str], spec: DatasetSpec, numeric: bool, notes: list[str]
) -> None:
    meant = (
        "" if numeric or spec.missing is not None else "; if it is a class, write missing: [] in the data set's keys"
    )
    for label, count in absent.items():
        rows = "1 row's label is" if count == 1 else f"the labels of {count:,} rows are"
        notes.append(f"{rows} '{label}', taken for none{meant}")
    doubtful = [label for label in counts if label in _DOUBTFUL and label not in absent]
    if doubtful and spec.missing is None:
        notes.append(
            f"the label '{doubtful[0]}' is taken for a class; if it means none, write missing: ['{doubtful[0]}']"
        )


def _note_case(counts: Counter[str], notes: list[str]) -> None:
    alike: dict[str, list[str]] = {}
    for label in counts:
        # Not made one: which of them was meant only their author knows.
        alike.setdefault(label.casefold(), []).append(label)
    for same in alike.values():
        if len(same) > 1:
            listed = " and ".join(f"'{label}' ({counts[label]:,})" for label in sorted(same))
            notes.append(
                f"the labels {listed} differ in capitals only and are classes of their own; are they meant to be one?"
            )


# -- decimals --------------------------------------------------------------------------------------------------------


def _semicolons(tables: Mapping[str, arrow.Table]) -> bool:
    """Return whether all files have semicolons between columns, as spreadsheets write where decimals have commas."""
    return all(separator_of(table) == ";" for table in tables.values())


def _decimal(counts: Counter[str], spec: DatasetSpec, semicolons: bool, column: str, notes: list[str]) -> str | None:
    """Return what stands before decimals where that is not plain; raises for numbers that can be read in two ways."""
    patterns = {",": _COMMAS, ".": _POINTS}
    if spec.decimal is not None:
        if wrong := [label for label in counts if not patterns[spec.decimal].fullmatch(label)]:
            raise UsageError(f"{column}: with decimal: '{spec.decimal}', the label '{wrong[0]}' is no number.")
        return spec.decimal
    commas = [label for label in counts if "," in label]
    if not commas:
        _refuse_points(counts, semicolons, column)
        return None
    # A way fits if all labels can be read in it; of several that fit, none is told by the marks alone.
    ways = [mark for mark, pattern in patterns.items() if all(pattern.fullmatch(label) for label in counts)]
    if not ways:
        points = [label for label in counts if "." in label and "," not in label]
        if not points:
            _refuse_several(commas[0], column)
        raise UsageError(
            f"{column} has numbers with commas ('{commas[0]}') and with points ('{points[0]}'); write all of them in one way."
        )
    if len(ways) == 2 and not semicolons:
        raise UsageError(
            f"{column}: the comma of '{commas[0]}' may stand before decimals or thousands; say which with decimal: ',' or "
            "decimal: '.'."
        )
    if ways[0] == "." and not semicolons:
        notes.append(f"the commas of labels such as '{commas[0]}' divide thousands")
        return "."
    if not semicolons and not _surely_decimals(counts, commas):
        raise UsageError(
            f"{column}: '{commas[0]}' may be a number with decimals or two labels; write decimal: ',' if it is a number "
            "(several labels a row are task: multilabel)."
        )
    notes.append(f"labels such as '{commas[0]}' are numbers with decimal commas")
    return ","


def _refuse_points(counts: Counter[str], semicolons: bool, column: str) -> None:
    """Refuse `1.250` where decimals have commas and every point may divide thousands: it may be 1250 or 1.25."""
    points = [label for label in counts if "." in label]
    if semicolons and points and all(_THOUSANDS.fullmatch(label) for label in points):
        raise UsageError(
            f"{column}: the point of '{points[0]}' may stand before decimals or thousands; say which with decimal: '.' or "
            "decimal: ','."
        )


def _surely_decimals(counts: Counter[str], commas: list[str]) -> bool:
    """Return whether labels with commas are no lists of whole numbers: all have one, or one has decimals as numbers do."""
    # 0,5 is no list of labels, and 1,25 hardly one.
    return len(commas) == len(counts) or any(re.search(r"(^|\D)0,|,\d\d", label) for label in commas)


def _refuse_several(label: str, column: str) -> None:
    raise UsageError(
        f"{column} has lists such as '{label}', several labels a row; write task: multilabel, or give each label a "
        "column of its own, of 0 and 1, and learn one (label: NAME)."
    )


def _pointed(label: str, decimal: str) -> str:
    if decimal == ",":
        # Points divide thousands where commas stand before decimals.
        label = label.replace(".", "").replace(",", ".")
    return label.replace(",", "").removeprefix("+")

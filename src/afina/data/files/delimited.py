"""Read tables of text with a separator: every one of their rows, or none."""

import re
from collections.abc import Sequence
from contextlib import suppress

from afina.data.files.dialects import SEPARATORS, Dialect, Unparsed, dialect_of, parse
from afina.errors import UsageError, likewise

__all__ = ["header_of", "known_values", "read_delimited", "swallowed"]


def read_delimited(
    text: str, place: str, suffix: str, notes: list[str], *, separator: str | None = None, every_row: bool = False
) -> tuple[dict[str, list[str | None]], str]:
    """Return the columns of a text, where blank is missing, and the separator.

    A line that names the columns once more is no row, or with `every_row` an empty one.

    Raises `UsageError` with the line for rows that do not fit.
    """
    if (at := text.find("\0")) >= 0:
        raise UsageError(
            f"{place}, line {text.count(chr(10), 0, at) + 1}: it holds a zero byte, so the file is damaged."
        )
    dialect = dialect_of(text, place, suffix, notes, separator=separator)
    try:
        rows = list(parse(text, dialect))
    except Unparsed as failure:
        raise UsageError(_sentence(place, failure, dialect)) from None
    if not rows:
        return {}, dialect.separator
    (_, first), *rows = rows
    header = header_of(first, place)
    # Marks can join rows only where fields may be in quotation marks.
    if dialect.quoting and len(header) > 1:
        _refuse_swallowed(rows, dialect, len(header), place)
    rows = _without_headers(rows, first, notes, every_row=every_row)
    # An empty line in a file of one column is a row without a value.
    fitted = [(line, _fitted(row, len(first))) for line, row in rows if row or len(header) == 1]
    _refuse_unlike(fitted, len(first), place, dialect, header)
    values = [row for _, row in fitted]
    _note_unnamed(values, rows, len(header), notes)
    columns = list(zip(*values, strict=True)) or [()] * len(header)
    filled = [[value if value.strip() else None for value in column] for column in columns]
    # Columns without a name were left out of the header, and are left out here.
    return dict(zip(header, filled, strict=False)), dialect.separator


# -- rows ------------------------------------------------------------------------------------------------------------


def _sentence(place: str, failure: Unparsed, dialect: Dialect) -> str:
    advice = (
        '; write a quotation mark within a field twice (""), and the field in quotation marks'
        if dialect.quoting
        else ""
    )
    return f"{place}, line {failure.line}: {failure.why}{advice}."


def header_of(first: list[str], place: str) -> list[str]:
    """Return the columns' names, without the empty ones at the end; others without a name are called by their place."""
    # Spreadsheets put invisible signs into names, which nobody could ever type.
    names = [re.sub("[\u200b\u200c\u200d\u2060\ufeff]", "", name).strip() for name in first]
    while len(names) > 1 and not names[-1]:
        names.pop()
    names = [name or f"unnamed_{number}" for number, name in enumerate(names, start=1)]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"{place} has two columns of the same name in its first line: '{doubled}'; rename one of them."
        )
    return names


def _without_headers(
    rows: list[tuple[int, list[str]]], first: list[str], notes: list[str], *, every_row: bool
) -> list[tuple[int, list[str]]]:
    """Leave out, or empty, rows that are the first line once more, as in files put together from several; that is noted."""
    # In a file of one column a row may well say the same as the name.
    again = [line for line, row in rows if row == first] if len(first) > 1 else []
    if not again:
        return rows
    times = f"line {again[0]} is" if len(again) == 1 else f"{len(again):,} lines (the first: {again[0]}) are"
    if every_row:
        notes.append(f"{times} the columns' names once more, and no row: without an answer")
        return [(line, [""] * len(row) if row == first else row) for line, row in rows]
    notes.append(f"{times} the columns' names once more, and no row: left out")
    return [(line, row) for line, row in rows if row != first]


def _fitted(row: list[str], width: int) -> list[str]:
    """Return a row without the empty fields that it has more than the first line."""
    row = row or [""]
    return row[:width] if len(row) > width and not any(field.strip() for field in row[width:]) else row


def _refuse_unlike(
    rows: list[tuple[int, list[str]]], width: int, place: str, dialect: Dialect, header: list[str]
) -> None:
    """Raise `UsageError` for rows with more or fewer fields than the first line has."""
    wrong = [(line, row) for line, row in rows if len(row) != width]
    if not wrong:
        return
    line, row = wrong[0]
    raise UsageError(
        f"{place}, line {line}: {len(row)} fields where the first line has {width}{_advice(row, dialect, header)}"
        f"{likewise([(f'line {line}', f'{len(row)} fields') for line, row in wrong])}."
    )


def _advice(row: list[str], dialect: Dialect, header: list[str]) -> str:
    kind = SEPARATORS.get(dialect.separator, repr(dialect.separator))
    if len(header) == 1:
        return f"; put texts that hold {kind} in quotation marks, or say what separates the columns with separator:"
    if len(row) > len(header):
        what = "put a field that holds it in quotation marks" if dialect.quoting else "a field cannot hold it"
        return f" ({kind} separates them); {what}"
    return f" ({kind} separates them)"


def _note_unnamed(values: list[list[str]], rows: list[tuple[int, list[str]]], named: int, notes: list[str]) -> None:
    extra = max(map(len, values), default=named) - named
    if not extra:
        return
    filled = [line for (line, row) in rows if any(field.strip() for field in row[named:])]
    held = f"; {len(filled):,} rows hold something there, the first on line {filled[0]}" if filled else ", and empty"
    what = "a column at the end has" if extra == 1 else f"{extra} columns at the end have"
    notes.append(f"{what} no name{held}: left out")


def _refuse_swallowed(rows: list[tuple[int, list[str]]], dialect: Dialect, width: int, place: str) -> None:
    """Refuse quotation marks that stand in texts as letters, and so join rows."""
    # Without a line's end in a field nothing can have been joined.
    if not any("\n" in field for _, row in rows for field in row):
        return
    known = _known([row for _, row in rows], width)
    wrong = [(line, joins) for line, row in rows if (joins := swallowed(row, known, dialect)) is not None]
    if wrong:
        others = likewise([(f"line {line}", "") for line, _ in wrong])
        line, joins = wrong[0]
        raise UsageError(f'{place}, line {line}: {joins}; write a quotation mark within a field twice (""){others}.')


def swallowed(row: list[str], known: Sequence[set[str]], dialect: Dialect) -> str | None:
    """Say so where a field with line ends looks as if a quotation mark that is a letter had joined rows; `known` has each
    column's few values.

    Each line within such a field ends as rows do, with one of the few values of the last column, or begins with one of
    the first column's, or has as many fields as a row and one of the few values in its place.
    """
    if len(row) != len(known) or len(row) < 2 or not any("\n" in field for field in row):
        return None
    mark = dialect.separator
    before = row[-2].replace("\r\n", "\n").split("\n")[:-1]
    after = row[-1].replace("\r\n", "\n").split("\n")[1:]
    ends = [part.rpartition(mark)[2].strip() for part in before]
    starts = [part.partition(mark)[0].strip() for part in after]
    pieces = [(before, ends, known[-1]), (after, starts, known[0])]
    place = next(number for number, field in enumerate(row) if "\n" in field)
    behind = mark.join(row[place:]).replace("\r\n", "\n").split("\n")[1:]
    fields = [part.split(mark) for part in behind]
    if all(len(parts) == len(row) for parts in fields):
        pieces += [(behind, [own[at].strip() for own in fields], known[at]) for at in range(1, len(row) - 1)]
    for lines, values, few in pieces:
        if lines and few.issuperset(values) and all(mark in part for part in lines):
            return (
                f"a quotation mark that is opened there is closed {len(lines)} lines later, and each line between is like a "
                f"row of its own ('{values[0]}')"
            )
    # What cannot be parsed at its end still shows its columns' few values before.
    return None


def known_values(text: str, dialect: Dialect, width: int) -> list[set[str]]:
    """Return each column's values, where they are as few as labels are, in the beginning of a file."""
    rows: list[list[str]] = []
    with suppress(Unparsed):
        for _, row in parse(text, dialect):
            rows.append(row)
    return _known(rows[1:], width)


def _known(rows: list[list[str]], width: int) -> list[set[str]]:
    whole = [row for row in rows if len(row) == width]
    return [_few_values(whole, column) for column in range(width)]


def _few_values(rows: list[list[str]], column: int) -> set[str]:
    """Return a column's values where they are as few as labels are, without blank ones."""
    values = {row[column].strip() for row in rows if "\n" not in row[column]} - {""}
    return values if len(values) <= max(2, len(rows) // 3) else set()

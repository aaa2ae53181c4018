"""Tables of text with a separator: which one it is, whether quotation marks quote, and the rows, every one of them or none.

In .csv files quotation marks quote. In .tsv files they often do not (GLUE's, many of the hub's): there they are read as
letters wherever each line is a row of its own, unless all of them can only have been written by something that quotes.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from afina.errors import UsageError, likewise

__all__ = [
    "SEPARATORS",
    "Dialect",
    "dialect_of",
    "escaped",
    "header_of",
    "known_values",
    "parse",
    "read_delimited",
    "swallowed",
    "unescaped",
]

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_QUOTED, _BACKSLASH = "\ue000", "\ue001"
"""What stands for an escaped quotation mark and backslash while a line is parsed."""
_LONGEST_FIELD = 1 << 30


@dataclass(frozen=True)
class Dialect:
    """Says how fields are divided."""

    separator: str
    quoting: bool = True
    """Whether a field in quotation marks may hold separators and line ends."""
    backslash: bool = False
    r"""Whether \" is a quotation mark, and \\ a backslash."""
    skip: int = 0
    """Lines before the header: Excel's `sep=;`."""


@dataclass(frozen=True)
class _Failure(Exception):
    """Says where rows cannot be told apart, and why."""

    line: int
    why: str


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
    except _Failure as failure:
        raise UsageError(_sentence(place, failure, dialect)) from None
    if not rows:
        return {}, dialect.separator
    (_, first), *rows = rows
    header = header_of(first, place)
    if dialect.quoting and len(header) > 1:
        _refuse_swallowed(rows, dialect, len(header), place)
    rows = _without_headers(rows, first, notes, every_row=every_row)
    fitted = [(line, _fitted(row, len(first))) for line, row in rows if row or len(header) == 1]
    _refuse_unlike(fitted, len(first), place, dialect, header)
    values = [row for _, row in fitted]
    _note_unnamed(values, rows, len(header), notes)
    columns = list(zip(*values, strict=True)) or [()] * len(header)
    filled = [[value if value.strip() else None for value in column] for column in columns]
    return dict(zip(header, filled, strict=False)), dialect.separator


# -- rows ------------------------------------------------------------------------------------------------------------


def parse(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line it begins on; raises `_Failure`. A blank line is a row without fields."""
    # A field may be longer than the csv module's default of 128 KiB.
    csv.field_size_limit(_LONGEST_FIELD)
    # Only line ends of files end a line: splitlines() would also break a text at U+2028 and its like.
    lines: Iterable[str] = io.StringIO(escaped(text) if dialect.backslash else text, newline="")
    reader = csv.reader(
        lines,
        delimiter=dialect.separator,
        quoting=csv.QUOTE_MINIMAL if dialect.quoting else csv.QUOTE_NONE,
        strict=True,
    )
    begun = 1
    try:
        for number, row in enumerate(reader):
            if number >= dialect.skip:
                yield begun, unescaped(row) if dialect.backslash else row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise _Failure(begun, _unclosed(begun, reader.line_num, str(error))) from None


def escaped(text: str) -> str:
    r"""Put marks in place of \" and \\, which `unescaped` turns into what they stand for."""
    return re.sub(r'\\(["\\])', lambda found: _QUOTED if found[1] == '"' else _BACKSLASH, text)


def unescaped(row: list[str]) -> list[str]:
    """Put quotation marks and backslashes back into a row that was parsed with marks in their place."""
    return [field.replace(_QUOTED, '"').replace(_BACKSLASH, "\\") for field in row]


def _unclosed(begun: int, line: int, error: str) -> str:
    if "end of data" in error:
        return "a quotation mark is opened there and never closed"
    if "expected after" in error:
        where = f"on line {line}, " if line != begun else ""
        return f"a quotation mark that is opened there is closed {where}in the middle of a field"
    return error


def _sentence(place: str, failure: _Failure, dialect: Dialect) -> str:
    advice = (
        '; write a quotation mark within a field twice (""), and the field in quotation marks'
        if dialect.quoting
        else ""
    )
    return f"{place}, line {failure.line}: {failure.why}{advice}."


def header_of(first: list[str], place: str) -> list[str]:
    """Return the columns' names, without the empty ones at the end; others without a name are called by their place."""
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
    if not any("\n" in field for _, row in rows for field in row):
        return
    known = _known([row for _, row in rows], width)
    wrong = [(line, found) for line, row in rows if (found := swallowed(row, known, dialect)) is not None]
    if wrong:
        others = likewise([(f"line {line}", "") for line, _ in wrong])
        line, found = wrong[0]
        raise UsageError(f'{place}, line {line}: {found}; write a quotation mark within a field twice (""){others}.')


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
    found = [(before, ends, known[-1]), (after, starts, known[0])]
    place = next(number for number, field in enumerate(row) if "\n" in field)
    behind = mark.join(row[place:]).replace("\r\n", "\n").split("\n")[1:]
    fields = [part.split(mark) for part in behind]
    if all(len(parts) == len(row) for parts in fields):
        found += [(behind, [own[at].strip() for own in fields], known[at]) for at in range(1, len(row) - 1)]
    for lines, values, few in found:
        if lines and few.issuperset(values) and all(mark in part for part in lines):
            return (
                f"a quotation mark that is opened there is closed {len(lines)} lines later, and each line between is like a "
                f"row of its own ('{values[0]}')"
            )
    return None


def known_values(text: str, dialect: Dialect, width: int) -> list[set[str]]:
    """Return each column's values, where they are as few as labels are, in the beginning of a file."""
    rows: list[list[str]] = []
    with suppress(_Failure):
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


# -- the dialect -----------------------------------------------------------------------------------------------------


def dialect_of(
    text: str, place: str, suffix: str, notes: list[str], *, separator: str | None = None, whole: bool = True
) -> Dialect:
    """Return how a text divides fields, and note what was assumed; `whole` where nothing comes behind the text."""
    first = text[: text.find("\n") + 1] or text
    skip = 0
    if found := re.fullmatch(r'"?sep=(.)"?\s*', first):
        skip, separator = 1, separator or found[1]
        notes.append(f"its first line, 'sep={_shown(found[1])}', names the separator")
    usual = "\t" if suffix == ".tsv" else ","
    if separator is None:
        separator = _separator(text if whole else text[: text.rfind("\n") + 1], usual, place)
        if separator != usual:
            notes.append(f"columns are separated by {SEPARATORS[separator]}")
    dialect = Dialect(separator, skip=skip)
    if '"' not in text:
        return replace(dialect, quoting=suffix != ".tsv")
    if not whole:
        text = text[: text.rfind("\n") + 1]
    return _tabbed(text, dialect, notes) if suffix == ".tsv" else _quoted(text, dialect, notes)


def _shown(separator: str) -> str:
    return "a tab" if separator == "\t" else separator


def _separator(text: str, usual: str, place: str) -> str:
    """Return the one separator that the first line has, or of several the one that all rows agree with."""
    first = re.sub(r'"(?:[^"]|"")*"', '""', text[: text.find("\n") + 1] or text)
    there = [mark for mark in SEPARATORS if mark in first]
    if len(there) < 2:
        return there[0] if there else usual
    fitting = [mark for mark in there if _table(text, Dialect(mark)) is not None]
    if len(fitting) > 1:
        listed = " or ".join(SEPARATORS[mark] for mark in fitting)
        raise UsageError(f"{place}: its columns may be separated by {listed}; say which with separator:.")
    return fitting[0] if fitting else usual if usual in there else max(there, key=first.count)


def _table(text: str, dialect: Dialect) -> list[list[str]] | None:
    """Return the rows where all of them have as many fields as the first, else None."""
    rows: list[list[str]] = []
    try:
        for _, row in parse(text, dialect):
            if row and rows and len(row) != len(rows[0]):
                if len(row) < len(rows[0]) or any(field.strip() for field in row[len(rows[0]) :]):
                    return None
                row = row[: len(rows[0])]
            if row:
                rows.append(row)
    except _Failure:
        return None
    return rows


def _quoted(text: str, dialect: Dialect, notes: list[str]) -> Dialect:
    r"""Read quotation marks as quoting, doubled or escaped with a backslash, whichever the rows fit."""
    if '\\"' not in text:
        return dialect
    plain, slashed = _table(text, dialect), _table(text, replace(dialect, backslash=True))
    if slashed is None:
        return dialect
    if plain is not None:
        # A program that doubles quotation marks quotes what has one: in a field without quotation marks \" is an escape.
        read = sum(field.count('\\"') for row in plain for field in row)
        if read <= text.count('\\""'):
            return dialect
    notes.append('quotation marks within fields are escaped with a backslash (\\"), and were read so')
    return replace(dialect, backslash=True)


def _tabbed(text: str, dialect: Dialect, notes: list[str]) -> Dialect:
    """Choose between quotation marks that quote and such that are letters; see the head of this file."""
    letters = replace(dialect, quoting=False)
    if not re.search(r'(^|[\t\n\r])"', text):
        return letters
    plain, quoted = _table(text, letters), _table(text, dialect)
    if plain is None:
        if quoted is not None:
            notes.append("fields in quotation marks hold tabs or line ends, and were read as quoted")
            return dialect
        # Neither fits: the lines as they are name the row that does not.
        return letters
    if quoted is not None and len(quoted) == len(plain) and _written_quoted(plain):
        notes.append("fields stand in quotation marks, which were taken off")
        return dialect
    count = sum(field.startswith('"') for row in plain for field in row)
    what = "a field begins" if count == 1 else f"{count:,} fields begin"
    found = re.search(r'(^|[\t\n\r])"', text)
    line = text.count("\n", 0, found.end()) + 1 if found else 1
    notes.append(f"{what} with a quotation mark (line {line}), which is read as a letter like any other")
    return letters


def _written_quoted(rows: list[list[str]]) -> bool:
    """Return whether whole columns are quoted, or only the fields that need it: what programs that quote write."""

    def quoted(field: str) -> bool:
        return len(field) > 1 and field.startswith('"') and field.endswith('"')

    if any(all(quoted(field) for field in column if field) for column in zip(*rows[1:], strict=True) if any(column)):
        return True
    return all('"' in field[1:-1] for row in rows for field in row if quoted(field))

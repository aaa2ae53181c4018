"""Tell how a table of text divides its fields: which separator it has, and whether quotation marks quote.

In .csv files quotation marks quote. In .tsv files they often do not (GLUE's, many of the hub's): there they are read as
letters wherever each line is a row of its own, unless all of them can only have been written by something that quotes.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from afina.errors import UsageError

__all__ = ["SEPARATORS", "Dialect", "Unparsed", "dialect_of", "escaped", "parse", "unescaped"]

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_QUOTED, _BACKSLASH = "\ue000", "\ue001"
"""Private-use characters that stand for an escaped quotation mark and backslash while a line is parsed."""
_LONGEST_FIELD = 1 << 30


@dataclass(frozen=True)
class Dialect:
    """Says how fields are divided."""

    separator: str
    quoting: bool = True
    """True where a field in quotation marks may hold separators and line ends."""
    backslash: bool = False
    r"""True where \" is a quotation mark, and \\ a backslash."""
    skip: int = 0
    """Lines before the header: Excel's `sep=;`."""


@dataclass(frozen=True)
class Unparsed(Exception):
    """Says where rows cannot be told apart, and why."""

    line: int
    why: str


def parse(text: str, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line it begins on; raises `Unparsed`. A blank line is a row without fields."""
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
            # Lines before the header are parsed all the same, so that lines are counted as they stand in the file.
            if number >= dialect.skip:
                yield begun, unescaped(row) if dialect.backslash else row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise Unparsed(begun, _unclosed(begun, reader.line_num, str(error))) from None


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


def dialect_of(
    text: str, place: str, suffix: str, notes: list[str], *, separator: str | None = None, whole: bool = True
) -> Dialect:
    """Return how a text divides fields, and note what was assumed; `whole` where nothing comes behind the text."""
    first = text[: text.find("\n") + 1] or text

    # Excel writes this line for itself, and it is no row.
    skip = 0
    if match := re.fullmatch(r'"?sep=(.)"?\s*', first):
        skip, separator = 1, separator or match[1]
        notes.append(f"its first line, 'sep={_shown(match[1])}', names the separator")
    usual = "\t" if suffix == ".tsv" else ","
    if separator is None:
        separator = _separator(text if whole else text[: text.rfind("\n") + 1], usual, place)
        # What is as the ending says is no assumption to be told.
        if separator != usual:
            notes.append(f"columns are separated by {SEPARATORS[separator]}")
    dialect = Dialect(separator, skip=skip)
    if '"' not in text:
        # Without any quotation mark both ways read the same; the more usual one is taken.
        return replace(dialect, quoting=suffix != ".tsv")

    # The beginning of a file may end in the middle of a line, which would look like a row that is too short.
    if not whole:
        text = text[: text.rfind("\n") + 1]
    return _tabbed(text, dialect, notes) if suffix == ".tsv" else _quoted(text, dialect, notes)


def _shown(separator: str) -> str:
    return "a tab" if separator == "\t" else separator


def _separator(text: str, usual: str, place: str) -> str:
    """Return the one separator that the first line has, or of several the one that all rows agree with."""
    # What stands in quotation marks is text: a comma there says nothing.
    first = re.sub(r'"(?:[^"]|"")*"', '""', text[: text.find("\n") + 1] or text)
    there = [mark for mark in SEPARATORS if mark in first]
    if len(there) < 2:
        return there[0] if there else usual
    # Several marks in the header: the one that divides every row into as many fields is the separator.
    fitting = [mark for mark in there if _table(text, Dialect(mark)) is not None]
    if len(fitting) > 1:
        listed = " or ".join(SEPARATORS[mark] for mark in fitting)
        raise UsageError(f"{place}: its columns may be separated by {listed}; say which with separator:.")
    # Where nothing fits the commonest mark is taken: the line that does not fit is named when it is read.
    return fitting[0] if fitting else usual if usual in there else max(there, key=first.count)


def _table(text: str, dialect: Dialect) -> list[list[str]] | None:
    """Return the rows where all of them have as many fields as the first, else None."""
    rows: list[list[str]] = []
    try:
        for _, row in parse(text, dialect):
            if row and rows and len(row) != len(rows[0]):
                # Empty fields at a row's end come from spreadsheets and are no columns.
                if len(row) < len(rows[0]) or any(field.strip() for field in row[len(rows[0]) :]):
                    return None
                row = row[: len(rows[0])]
            if row:
                rows.append(row)
    except Unparsed:
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
    """Choose between quotation marks that quote and such that are letters; see above."""
    letters = replace(dialect, quoting=False)
    # A quotation mark in the middle of a field quotes nothing.
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
    match = re.search(r'(^|[\t\n\r])"', text)
    line = text.count("\n", 0, match.end()) + 1 if match else 1
    notes.append(f"{what} with a quotation mark (line {line}), which is read as a letter like any other")
    return letters


def _written_quoted(rows: list[list[str]]) -> bool:
    """Return whether whole columns are quoted, or only the fields that need it: what programs that quote write."""

    def quoted(field: str) -> bool:
        return len(field) > 1 and field.startswith('"') and field.endswith('"')

    if any(all(quoted(field) for field in column if field) for column in zip(*rows[1:], strict=True) if any(column)):
        return True
    return all('"' in field[1:-1] for row in rows for field in row if quoted(field))

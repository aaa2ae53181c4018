"""Rows of JSON: a list of objects, one object a line, and the other layouts that pandas and data sets are written in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from afina.data.names import MESSAGE_LISTS, WORDS, usual_name, usual_names
from afina.errors import UsageError, likewise
from afina.json_files import json_problem

__all__ = ["DoubledKey", "parsed", "read_json", "rows_of_document", "single_keys"]

Placed = list[tuple[str, Any]]
"""Each row with what to call its place: `line 3`, `item 3`."""


class DoubledKey(json.JSONDecodeError):
    """Raised for an object that has a key twice, of which the first value would be lost."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key '{key[:60]}' stands twice in one object", "", 0)


def single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's keys with their values; raises `DoubledKey` where one is there twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        raise DoubledKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return values


def parsed(text: str) -> Any:
    """Return the value that a JSON text holds, of which no object has a key twice."""
    return json.loads(text, object_pairs_hook=single_keys)


def read_json(text: str, place: str, notes: list[str], *, lines: bool = False) -> Placed:
    """Return the objects of a text, each with its place; `lines` where the name says one object a line."""
    rows = [(where, _as_row(row)) for where, row in _read(text, place, notes, lines)]
    wrong = [(where, _kind(row)) for where, row in rows if not isinstance(row, dict)]
    if wrong:
        where, kind = wrong[0]
        raise UsageError(
            f'{place}, {where}: an object is wanted, as in {{"text": ..., "label": ...}}, not {kind}{likewise(wrong)}.'
        )
    # Escapes are the only way for half a pair to come in, so other files need not be walked through.
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(place, rows)
    return rows


def _as_row(value: Any) -> Any:
    """Return a list of messages as a row that has them."""
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return {"messages": value}
    return value


def _read(text: str, place: str, notes: list[str], lines: bool) -> Placed:
    """Read one document, or else one value a line: whichever the text is."""
    problem = ""
    try:
        document = parsed(text)
    except DoubledKey as error:
        problem = f"{place}: {error.msg}; keep one of them."
    except json.JSONDecodeError as error:
        problem = f"{place}, line {error.lineno}: {json_problem(error)}."
    except (ValueError, RecursionError) as error:
        problem = f"{place}: {json_problem(error)}."
    if not problem:
        # One line in a file of lines is one row, whatever it looks like.
        single = lines and isinstance(document, dict)
        return [("line 1", document)] if single else rows_of_document(document, place, notes)

    # No document: then each line may be one, whatever the file's name says.
    by_line = _lines(text)
    if isinstance(by_line, list):
        return by_line
    others = likewise([(f"line {number}", why) for number, why in by_line.wrong])
    number, why = by_line.wrong[0]

    # A file whose first line is whole is one of lines, whatever it is called.
    whole = number > next(at for at, line in enumerate(text.split("\n"), start=1) if line.strip())
    raise UsageError(f"{place}, line {number}: {why}{others}." if lines or whole else problem)


@dataclass(frozen=True)
class _Unread:
    """Lines that hold no value: their numbers, and why."""

    wrong: list[tuple[int, str]]


def _lines(text: str) -> Placed | _Unread:
    """Return the value on each line, or which lines have none."""
    rows: Placed = []
    wrong: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append((f"line {number}", parsed(line)))
        except DoubledKey as error:
            wrong.append((number, error.msg))
        except (ValueError, RecursionError) as error:
            wrong.append((number, json_problem(error)))
    return _Unread(wrong) if wrong else rows


def _refuse_surrogates(place: str, rows: Placed) -> None:
    wrong: list[tuple[str, str]] = []
    for where, row in rows:
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            wrong.append((where, ""))
    if wrong:
        half = "half of a surrogate pair (\\ud800 to \\udfff) is not UTF-8"
        raise UsageError(f"{place}, {wrong[0][0]}: {half}{likewise(wrong)}.")


# -- layouts ---------------------------------------------------------------------------------------------------------


def rows_of_document(document: Any, place: str, notes: list[str]) -> Placed:
    """Return the rows of one JSON document in any known layout; raises `UsageError` for one of no rows."""
    if isinstance(document, list):
        if document and all(isinstance(value, str) for value in document):
            notes.append("a list of texts, read as a column called text")
            document = [{"text": value} for value in document]
        return [(f"item {number}", row) for number, row in enumerate(document, start=1)]
    if not isinstance(document, dict):
        raise UsageError(f"{place} is JSON and holds no rows, but {_kind(document)}; write a list of objects.")
    for layout in _LAYOUTS:
        if (rows := layout(document, place, notes)) is not None:
            return [(f"item {number}", row) for number, row in enumerate(rows, start=1)]
    return [("item 1", document)]


def _split(document: Mapping[str, Any], place: str, notes: list[str]) -> list[Any] | None:
    """Read pandas' orient="split": names, and lists of values."""
    if not {"columns", "data"} <= document.keys() or not document.keys() <= {"columns", "data", "index"}:
        return None
    names, rows = document["columns"], document["data"]
    if not isinstance(names, list) or not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise UsageError(f"{place}, item {number} of data: {len(row)} values for {len(names)} columns.")
    notes.append('read as pandas writes it with orient="split"')
    return [dict(zip(map(str, names), row, strict=True)) for row in rows]


def _held(document: Mapping[str, Any], place: str, notes: list[str]) -> list[Any] | None:
    """Read rows under one name, with something about them beside: {"version": ..., "data": [...]}."""
    lists = {
        name: value
        for name, value in document.items()
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
    }

    # Another list beside the rows, or names that columns have, and it is a row itself.
    beside = [name for name, value in document.items() if name not in lists and isinstance(value, list)]
    if not lists or beside or usual_names(document):
        return None
    if len(lists) > 1:
        raise UsageError(
            f"{place} holds several lists of rows ({', '.join(lists)}); write each to a file of its own, such as "
            "train.jsonl and test.jsonl in one folder."
        )
    ((name, rows),) = lists.items()
    notes.append(f"the rows are those under '{name}'")
    return list(rows)


def _columns(document: Mapping[str, Any], place: str, notes: list[str]) -> list[Any] | None:
    """Read columns as lists of one length: {"text": [...], "label": [...]}."""
    columns = list(document.values())
    if len(columns) < 2 or not all(isinstance(column, list) for column in columns):
        return None

    # A row of words and tags, or of messages, is a row.
    if usual_name(document, (*WORDS, *MESSAGE_LISTS)) or any(isinstance(v, dict) for own in columns for v in own):
        return None
    lengths = {name: len(column) for name, column in document.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise UsageError(f"{place} holds lists of different lengths ({listed}); columns have one value for each row.")
    notes.append("read as columns, each a list")
    return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]


def _indexed(document: Mapping[str, Any], place: str, notes: list[str]) -> list[Any] | None:
    """Read pandas' orient="columns" (its default) and "index": an object of objects, the one way round or the other."""
    inner = list(document.values())
    if not inner or not all(isinstance(value, dict) for value in inner):
        return None
    by_column = [key for value in inner for key in value]

    # Which way round it is shows by the names that are known as columns', or else by the numbers that count rows.
    outside, inside = usual_names(document), usual_names(inner[0])
    if outside == inside or not by_column:
        outside, inside = not _numbers(document), not _numbers(inner[0])
    if outside == inside:
        if len(inner) == 1:
            return None
        raise UsageError(
            f"{place} is JSON of objects within an object, of which neither names columns that are known; write a list of "
            'objects (in pandas: to_json(orient="records")).'
        )
    if inside:
        notes.append('read as pandas writes it with orient="index"')
        return inner
    keys = list(dict.fromkeys(by_column))
    notes.append('read as pandas writes it with orient="columns"')
    return [{name: column.get(key) for name, column in document.items()} for key in keys]


def _numbers(keys: Mapping[str, Any]) -> bool:
    return all(key.isdecimal() for key in keys)


_LAYOUTS: tuple[Callable[[Mapping[str, Any], str, list[str]], list[Any] | None], ...] = (
    _split, _held, _columns, _indexed,
)  # fmt: skip
"""Tried in turn; each returns rows, or None for a document of another layout."""


def _kind(value: Any) -> str:
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")

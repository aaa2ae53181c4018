"""Read what came after release, row by row: files in any form that is predicted from, folders that grow, a server's log."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from afina.corpus.lines import SourceFile, lines_of
from afina.corpus.stream import read_rows
from afina.data.cell_text import cell_text
from afina.data.columns import find_columns, texts
from afina.data.dialogues.interaction import RawRow
from afina.data.files.compression import format_of
from afina.data.files.tables import SUFFIXES, is_table, table_of
from afina.data.predicting.logged import RequestLog, is_log
from afina.data.predicting.remembered import Remembered, spec_for
from afina.errors import UsageError, nearest

__all__ = ["NewColumns", "NewRow", "RowSource", "labels_by_id", "sources_of"]

_AT_ONCE = 1000
"""Rows that are made a table of at a time: no more are held of a file of any size."""
_LINES = (".txt", ".log", ".md")
"""Endings of files in a folder whose lines are texts; a file that is named alone may have any."""
_IDS = ("id", "row_id", "request", "request_id")


@dataclass(frozen=True)
class NewColumns:
    """Names the columns of new rows; what is left out is the adapter's own, or has a usual name."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    time: str | None = None
    id: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class NewRow:
    """Holds a row that came after release."""

    place: str
    """Where it is found again: its file with its line, or its request."""
    text: str
    text_pair: str | None = None
    id: str | None = None
    time: datetime | None = None
    label: Any = None
    """The right answer, None where it is not known."""
    group: str = ""


@dataclass
class RowSource:
    """Reads the rows of a file, or the texts of a log of requests."""

    path: Path
    columns: NewColumns
    memory: Remembered
    label: str | None = None
    """The column of labels that the adapter learned from, if it says so."""
    adapter: str = ""
    """The adapter's name in a log."""
    passed: Counter[str] = field(default_factory=Counter)
    """Rows that were passed over, by the reason."""
    notes: list[str] = field(default_factory=list)
    is_log: bool = False

    def rows(self) -> Iterator[NewRow]:
        """Yield the rows that have a text; raises `UsageError` for a file that cannot be read, or lacks a column."""
        each = self._of_log() if self.is_log else self._of_table() if is_table(self.path) else self._of_lines()
        for row in each:
            if row.text.strip():
                yield row
            else:
                self.passed["passed over, rows without a text"] += 1

    def _of_log(self) -> Iterator[NewRow]:
        log = RequestLog(self.path)
        names = log.adapters()
        name = self.adapter if self.adapter in names or len(names) != 1 else next(iter(names))
        if name not in names:
            others = ", ".join(names) or "none"
            raise UsageError(
                f"{self.path} has no request for labels of {name} (of {others}); say which with --adapter-name."
            )
        for each in log.texts(name):
            id = each.request if each.number == 1 else f"{each.request}#{each.number}"
            yield NewRow(f"{each.request} ({each.number})", each.text, each.text_pair, id, _in_utc(each.time))
        self.passed += log.passed

    def _of_lines(self) -> Iterator[NewRow]:
        if not self.path.is_file():
            raise UsageError(f"{self.path} does not exist.")
        if not self.path.stat().st_size:
            raise UsageError(f"{self.path} is empty.")
        file = SourceFile(self.path)
        if format_of(self.path) == ".log":
            self.notes.append(f"each line of {self.path.name} is read as a text: it is no log of afina serve")
        for number, text, problem in lines_of(file):
            yield NewRow(f"{self.path.name}, line {number}", "" if problem else text)
        self.passed += Counter({f"passed over, {what}": 1 for what in file.seen})

    def _of_table(self) -> Iterator[NewRow]:
        file = SourceFile(self.path)
        rows = read_rows(file)
        first, names = True, list[str]()
        while chunk := list(islice(rows, _AT_ONCE)):
            readable = [row for row in chunk if not row.problem]
            if broken := len(chunk) - len(readable):
                self.passed["passed over, rows that cannot be read"] += broken
            if readable:
                names = list(dict.fromkeys([*names, *(key for row in readable for key in row.values)]))
                yield from self._chunk(readable, names, first=first)
                first = False
        self.notes += [f"{self.path.name}: {what}" for what in file.seen if what]

    def _chunk(self, rows: Sequence[RawRow], names: Sequence[str], *, first: bool) -> Iterator[NewRow]:
        # A column that these rows lack is one without values, as in the whole file.
        table = table_of([{name: row.values.get(name) for name in names} for row in rows])
        notes: list[str] = []
        table, spec = spec_for(table, str(self.path), self.memory, self.columns.text, self.columns.text_pair, notes)
        chosen = find_columns({"new": table}, spec, str(self.path), with_label=False, named_by="--{key}")
        asked = texts(table, chosen["text"], str(self.path))
        pairs = texts(table, chosen["text_pair"], str(self.path)) if "text_pair" in chosen else None
        if first:
            self.notes += [f"{self.path.name}: {note}" for note in notes]
            for key in ("label", "time", "id", "group"):
                self._check(key, getattr(self.columns, key), names)
        label = self.columns.label or (self.label if self.label in names else None)
        id = self.columns.id or next((name for name in _IDS if name in names), None)
        for place, (row, text) in enumerate(zip(rows, asked, strict=True)):
            yield NewRow(
                f"{self.path.name}, {row.place}", text, None if pairs is None else pairs[place],
                cell_text(row.values.get(id)) or None if id else None, self._time(row),
                _labelled(row.values.get(label)) if label else None,
                cell_text(row.values.get(self.columns.group)) if self.columns.group else "",
            )  # fmt: skip

    def _check(self, key: str, name: str | None, names: Sequence[str]) -> None:
        if name is not None and name not in names:
            raise UsageError(f"{self.path} has no column '{name}' for --{key}{nearest(name, names)}")

    def _time(self, row: RawRow) -> datetime | None:
        if self.columns.time is None:
            return None
        value = row.values.get(self.columns.time)
        time = _time_of(value)
        if time is None:
            raise UsageError(
                f"{self.path}, {row.place}: '{str(value)[:40]}' in column '{self.columns.time}' is no time; write "
                "2026-05-31, 2026-05-31T14:00 or seconds since 1970."
            )
        return time


def sources_of(
    paths: Sequence[Path], columns: NewColumns, memory: Remembered, *, label: str | None, adapter: str
) -> list[RowSource]:
    """Return the files of what was given, those of a folder in the order of their names.

    Raises `UsageError` for what is not there, and for images.
    """
    sources = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in sorted(path.iterdir()) if file.is_file() and file.name[0] != "."]
            known = [file for file in inside if format_of(file) in (*SUFFIXES, *_LINES)]
            if not known:
                raise UsageError(f"{path} has no file of rows: {', '.join((*SUFFIXES, *_LINES))}.")
            files = [RowSource(file, columns, memory, label, adapter, is_log=is_log(file)) for file in known]
            if others := len(inside) - len(known):
                files[0].notes.append(f"{path}: {others} files of other kinds are passed over")
            sources += files
            continue
        if not path.exists():
            raise UsageError(f"{path} does not exist; give a file of rows, a folder of such, or a server's log.")
        if path.suffix.lower() == ".npz":
            raise UsageError(f"{path} holds images, and afina watch reads texts.")
        sources.append(RowSource(path, columns, memory, label, adapter, is_log=is_log(path)))
    places = [source.path.resolve() for source in sources]
    if twice := next((source.path for number, source in enumerate(sources) if places[number] in places[:number]), None):
        raise UsageError(f"{twice} is given twice, so that its rows would count twice; give it once.")
    return sources


def labels_by_id(path: Path, columns: NewColumns, label: str | None, notes: list[str]) -> Mapping[str, Any]:
    """Return right answers that came later, by the id of their row, the last of each; none of an empty file.

    Notes what was passed over. Raises `UsageError` where the file has no column of ids or of labels.
    """
    if path.is_file() and not path.stat().st_size:
        return {}
    answers: dict[str, Any] = {}
    without, unread, changed = 0, 0, set[str]()
    id_column = label_column = None
    for row in read_rows(SourceFile(path)):
        if row.problem:
            unread += 1
            continue
        if id_column is None or label_column is None:
            names = list(row.values)
            id_column = columns.id or next((name for name in _IDS if name in names), None)
            wanted = (columns.label, label, "label")
            label_column = next((name for name in wanted if name in names), None)
            if id_column not in names or label_column is None:
                raise UsageError(
                    f"{path} should have a column of ids and one of labels ({', '.join(names)}); say which with --id and "
                    "--label."
                )
        value = row.values.get(label_column)
        # An answer that is of no row must not become that of every row without an id.
        name = cell_text(row.values.get(id_column))
        if _labelled(value) is None or not name:
            without += not name
            continue
        if str(answers.setdefault(name, value)) != str(value):
            changed.add(name)
        answers[name] = value
    if unread:
        notes.append(f"rows of {path.name} that cannot be read: {unread:,}")
    if without:
        notes.append(f"rows of {path.name} that have no id: {without:,}")
    if changed:
        notes.append(f"ids with several right answers in {path.name}, of which the last counts: {len(changed):,}")
    return answers


def _labelled(value: Any) -> Any:
    # An empty cell is an answer that has not come.
    return None if value is None or value != value or (isinstance(value, str) and not value.strip()) else value


def _time_of(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return _in_utc(value)
    text = cell_text(value)
    try:
        number = float(text)
    except ValueError:
        number = None
    try:
        if number is None:
            return _in_utc(datetime.fromisoformat(text))
        if len(text) in _WITHOUT_MARKS and text.isdecimal() and text[:2] in ("19", "20"):
            return datetime.strptime(text, _WITHOUT_MARKS[len(text)])
    except ValueError:
        pass
    # As seconds the thousandths that many programs write would be thousands of years away, and what is in no such stretch
    # (a year alone, a spreadsheet's day) is no time at all.
    for part in (1, 1e3, 1e6, 1e9):
        if number is not None and _FIRST <= number / part < _END:
            return datetime.fromtimestamp(number / part, UTC).replace(tzinfo=None)
    return None


_WITHOUT_MARKS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Times written in figures alone, by how many they are."""
_FIRST, _END = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1990, 2100))
"""The seconds since 1970 that are taken for a time: their thousandths, millionths and billionths are told by their size."""


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)

"""Text files as data sets: texts to learn to write, transcripts, and lines that hold a text and its label."""

import re
from collections.abc import Mapping, Sequence

import pyarrow as arrow

from afina.data.columns import ROW
from afina.data.files.tables import LINE
from afina.errors import UsageError

__all__ = ["tables_of_lines"]

LABELLED = {
    "text@label": re.compile(r"(?P<text>.+)@(?P<label>[\w-]{1,40})\s*"),
    "__label__X text (fastText)": re.compile(r"__label__(?P<label>\S+)\s+(?P<text>.+)"),
    "text, tab, label": re.compile(r"(?P<text>[^\t]+)\t(?P<label>[^\t]{1,40})"),
    "label, tab, text": re.compile(r"(?P<label>[^\t]{1,40})\t(?P<text>[^\t]+)"),
    "text;label": re.compile(r"(?P<text>.+);(?P<label>[\w-]{1,40})\s*"),
}
"""Lines of a text and its label; a file is of the form that all its lines have, with few labels."""
_MOST_LABELS = 50


def tables_of_lines(
    tables: Mapping[str, arrow.Table], kind: str, where: str, notes: list[str]
) -> dict[str, arrow.Table]:
    """Return the lines of text files as tables with columns; other tables as they are.

    `kind` is what lines are to a task (`Task.lines`): texts with a label, texts, a transcript, or nothing that it can learn.
    Lines of a transcript stay lines (conversations.py). Raises `UsageError` where it cannot be told what they are.
    """
    if not any(LINE in table.column_names for table in tables.values()) or kind == "transcript":
        return dict(tables)
    if any(LINE not in table.column_names for table in tables.values()):
        raise UsageError(f"{where}: one part is a text file and another a table; write both in one form.")
    if kind == "texts":
        return {split: _texts(table, notes) for split, table in tables.items()}
    lines = {split: _lines(table) for split, table in tables.items()}
    form = next((name for name in LABELLED if kind == "labelled" and _all_are(name, lines)), None)
    if form is None:
        raise UsageError(
            f"{where} is a text file that does not say what is to be learned: set task: language (each line or paragraph a "
            "text), chat (a transcript) or tagging (a word and its tag a line), or write a table with columns, such as "
            "text and label, as .csv."
        )
    notes.append(f"the lines are read as {form}")
    return {split: _labelled(own, LABELLED[form]) for split, own in lines.items()}


def _lines(table: arrow.Table) -> list[tuple[int, str]]:
    """Return the lines that hold something, each with its number."""
    lines = enumerate(table[LINE].to_pylist(), start=1)
    return [(number, line) for number, line in lines if line and line.strip()]


def _texts(table: arrow.Table, notes: list[str]) -> arrow.Table:
    """Read a text a line, or where blank lines divide the file, a text a paragraph."""
    filled = _lines(table)
    paragraphs: list[list[tuple[int, str]]] = []
    for number, line in filled:
        if paragraphs and paragraphs[-1][-1][0] == number - 1:
            paragraphs[-1].append((number, line))
        else:
            paragraphs.append([(number, line)])
    divided = len(paragraphs) > 1
    texts = [(part[0][0], "\n".join(line for _, line in part)) for part in paragraphs] if divided else filled
    notes.append(f"{len(texts):,} {'paragraphs between blank lines' if divided else 'lines'} are a text each")
    return _table({"text": [text for _, text in texts]}, [number for number, _ in texts])


def _all_are(form: str, lines: Mapping[str, Sequence[tuple[int, str]]]) -> bool:
    matches = [LABELLED[form].fullmatch(line) for own in lines.values() for _, line in own]
    if not matches or not all(matches):
        return False
    labels = {match["label"] for match in matches if match}
    return 2 <= len(labels) <= min(_MOST_LABELS, max(2, len(matches) // 3))


def _labelled(lines: Sequence[tuple[int, str]], form: re.Pattern[str]) -> arrow.Table:
    matches = [match for _, line in lines if (match := form.fullmatch(line))]
    columns = {name: [match[name].strip() for match in matches] for name in ("text", "label")}
    return _table(columns, [number for number, _ in lines])


def _table(columns: Mapping[str, Sequence[str]], numbers: Sequence[int]) -> arrow.Table:
    made = {name: arrow.array(values, type=arrow.large_string()) for name, values in columns.items()}
    return arrow.table(made | {ROW: arrow.array(numbers, type=arrow.int64())})

"""Rows of which the text itself is learned: texts, pairs of texts, and conversations in the forms that people keep them.

Of conversations a row's text is the JSON of its messages, [[role, content], ...].
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as arrow

from afina.config import DatasetSpec
from afina.data.columns import ROW, find_columns, texts
from afina.data.rows import Rows, TextDataset, divided, finished
from afina.errors import UsageError, nearest

__all__ = ["READERS", "find_messages", "find_pair", "read_written"]

_PAIRS = (
    ("source", "target"), ("article", "highlights"), ("document", "summary"), ("dialogue", "summary"),
    ("text", "summary"), ("text", "target"), ("instruction", "output"), ("question", "answer"), ("question", "response"),
    ("prompt", "completion"), ("prompt", "response"), ("user", "assistant"), ("input", "output"),
)  # fmt: skip
"""Columns of what is read and what is written, by their usual names."""
_MESSAGES = ("messages", "conversations", "conversation")
_ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
"""OpenAI's and ShareGPT's words, and ours."""


def read_written(
    tables: Mapping[str, arrow.Table], place: Callable[[str], str], spec: DatasetSpec, task: str, where: str,
    notes: list[str], train_limit: int | None, test_limit: int | None,
) -> TextDataset:  # fmt: skip
    """Return the data set of tables by split; `place` has what to call a split in an error.

    Rows with nothing to read or to write are left out and noted. Raises `UsageError` for columns that are not there, and
    for a conversation that is none, with its row.
    """
    splits: dict[str, Rows] = {}
    for split, table in tables.items():
        rows = READERS[task](table, spec, place(split))
        full = [
            index for index, text in enumerate(rows.text) if text and (rows.text_pair is None or rows.text_pair[index])
        ]
        if not full:
            raise UsageError(f"{place(split)}: no row has anything to learn from.")
        if missing := len(rows) - len(full):
            which = f"{missing:,} {split} {'row' if missing == 1 else 'rows'}"
            notes.append(f"{which} with an empty text, or with nothing that is said, left out")
        splits[split] = rows.take(np.array(full))
    if "test" not in splits:
        if len(splits["train"]) < 5:
            raise UsageError(
                f"{where} has {len(splits['train'])} rows; at least 5 are needed to keep some for the test."
            )
        splits["train"], splits["test"] = divided(splits["train"])
        counts = f"{len(splits['train']):,} rows to train on, {len(splits['test']):,} to test on"
        notes.append(f"{where} has no test part: {counts} (80/20, always the same)")
    return finished(spec, task, None, splits, notes, train_limit, test_limit)


def _rows(first: list[str], second: list[str] | None = None) -> Rows:
    def kept(values: list[str]) -> list[str]:
        return [value if value.strip() else "" for value in values]

    return Rows(kept(first), None if second is None else kept(second), np.zeros(len(first), dtype=np.int64))


def _texts(table: arrow.Table, spec: DatasetSpec, place: str) -> Rows:
    return _rows(texts(table, find_columns({"train": table}, spec, place, with_label=False)["text"], place))


def _pairs(table: arrow.Table, spec: DatasetSpec, place: str) -> Rows:
    columns = find_pair(table, spec, place)
    if columns is None:
        listed = ", ".join(name for name in table.column_names if name != ROW)
        raise UsageError(
            f"{place} has no columns that look like a text to read and one to write; say which with text: and target: "
            f"({listed})."
        )
    return _rows(*(texts(table, column, place) for column in columns))


def _conversations(table: arrow.Table, spec: DatasetSpec, place: str) -> Rows:
    found = table[ROW].to_pylist() if ROW in table.column_names else range(1, table.num_rows + 1)
    made: list[str] = []
    for number, turns in zip(found, _turns(table, spec, place), strict=True):
        messages = _checked(turns, f"{place}, row {number}")
        made.append(json.dumps(messages, ensure_ascii=False) if messages else "")
    return _rows(made)


READERS: dict[str, Callable[[arrow.Table, DatasetSpec, str], Rows]] = {
    "language": _texts, "seq2seq": _pairs, "chat": _conversations,
}  # fmt: skip
"""By task, what makes rows of a table."""


def find_messages(table: arrow.Table, spec: DatasetSpec) -> str | None:
    """Return the column of messages, which may be named and not there, or None where there is none."""
    known = {name.lower(): name for name in reversed(table.column_names)}
    return None if spec.text else spec.messages or next((known[name] for name in _MESSAGES if name in known), None)


def find_pair(table: arrow.Table, spec: DatasetSpec, place: str) -> tuple[str, str] | None:
    """Return the columns of what is read and what is written, or None."""
    if (spec.text is None) != (spec.target is None):
        raise UsageError("text: and target: go together: the column that is read, and the one that is written.")
    if spec.text is not None and spec.target is not None:
        for name in (spec.text, spec.target):
            if name not in table.column_names:
                raise UsageError(f"{place} has no column '{name}'{nearest(name, set(table.column_names) - {ROW})}")
        return spec.text, spec.target
    known = {name.lower(): name for name in reversed(table.column_names)}
    return next(((known[a], known[b]) for a, b in _PAIRS if a in known and b in known), None)


def _turns(table: arrow.Table, spec: DatasetSpec, place: str) -> Iterator[list[tuple[Any, Any]]]:
    """Yield each row's (role, content) as they stand there."""
    known = {name.lower(): name for name in reversed(table.column_names)}
    column = find_messages(table, spec)
    if column is not None:
        if column not in table.column_names:
            raise UsageError(f"{place} has no column '{column}' for messages{nearest(column, known)}")
        for row, value in enumerate(table[column].to_pylist(), start=1):
            yield [_turn(message, f"{place}, row {row}") for message in _listed(value, f"{place}, row {row}", column)]
        return
    columns = find_pair(table, spec, place)
    if columns is None:
        listed = ", ".join(name for name in table.column_names if name != ROW)
        raise UsageError(
            f"{place} has no conversations: a column messages (role and content) or conversations (from and value) is "
            f"wanted, or instruction and output, or question and answer; say which with messages:, or with text: and "
            f"target: ({listed})."
        )
    asked, said = (texts(table, name, place) for name in columns)
    further = texts(table, known["input"], place) if _is_alpaca(columns, known) else [""] * len(asked)
    systems = texts(table, known["system"], place) if "system" in known else [""] * len(asked)
    for system, question, more, answer in zip(systems, asked, further, said, strict=True):
        opening = [("system", system)] if system.strip() else []
        yield [*opening, ("user", f"{question}\n\n{more}" if more.strip() else question), ("assistant", answer)]


def _is_alpaca(columns: tuple[str, str], known: Mapping[str, str]) -> bool:
    return columns == (known.get("instruction"), known.get("output")) and "input" in known


def _listed(value: Any, place: str, column: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None if value.strip() else []
    if value is not None and not isinstance(value, list):
        value = None
    if value is None:
        raise UsageError(f"{place}: column '{column}' should hold a list of messages, each with a role and content.")
    return list(value)


def _turn(message: Any, place: str) -> tuple[Any, Any]:
    if isinstance(message, dict):
        for role, content in (("role", "content"), ("from", "value")):
            if message.get(role) is not None:
                return message[role], message.get(content)
    raise UsageError(f"{place}: a message should have role and content, or from and value, not {str(message)[:60]!r}.")


def _checked(turns: list[tuple[Any, Any]], place: str) -> list[tuple[str, str]]:
    """Return messages up to the last of the assistant; none where a turn is empty or the assistant says nothing.

    Raises `UsageError` for a role that there is not, and for turns out of order.
    """
    messages: list[tuple[str, str]] = []
    for number, (given, content) in enumerate(turns, start=1):
        role = _ROLES.get(str(given).lower())
        if role is None:
            raise UsageError(f"{place}: message {number} is of '{given}'; roles are {', '.join(_ROLES)}.")
        before = messages[-1][0] if messages else None
        if role == "system" and number > 1:
            raise UsageError(f"{place}: message {number} is the system's; it stands before all others.")
        wanted = "assistant" if before == "user" else "user"
        if role not in ("system", wanted):
            after = f"follows the {before}'s" if before else "is the first"
            raise UsageError(
                f"{place}: message {number} is the {role}'s and {after}; user and assistant take turns, the user first."
            )
        messages.append((role, _said(content, f"{place}, message {number}").strip()))
    while messages and messages[-1][0] != "assistant":
        messages.pop()
    return messages if all(content for _, content in messages) else []


def _said(content: Any, place: str) -> str:
    """Return a message's text; OpenAI's may be a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise UsageError(f"{place}: its content is no text; only texts can be learned.")

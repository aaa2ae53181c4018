"""Rows of which the text itself is learned: texts, pairs of texts, and conversations in the forms that people keep them.

Of conversations a row's text is the JSON of its messages, [[role, content], ...].
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import pyarrow as arrow

from afina.data.columns import ROW, find_columns, texts
from afina.data.dialogues.conversations import interactions, transcripts
from afina.data.dialogues.forms import NO_FORM, NO_MARKS, NO_MESSAGES, Columns, as_list
from afina.data.dialogues.interaction import Interaction, RawRow
from afina.data.dialogues.speakers import Speakers
from afina.data.dialogues.turns import ordered, written_out
from afina.data.dialogues.whatsapp import WHO_ANSWERS
from afina.data.files.tables import LINE
from afina.data.names import CONTEXTS, EITHER_PAIRS, HISTORIES, MESSAGE_LISTS, MESSAGES, PAIRS, usual_name, usual_pair
from afina.data.question_forms import unfolded
from afina.data.rows import Rows, TextDataset, divided, finished
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise, nearest

__all__ = [
    "RowReader",
    "conversation_rows",
    "dialogue_forms",
    "find_messages",
    "find_pair",
    "pairs",
    "read_written",
    "whole_rows",
]


_LOOKED_AT = 50
"""Rows that are looked at to say in an error what a table holds."""


class RowReader(Protocol):
    """A task that writes, as what reads rows for it."""

    @property
    def name(self) -> str: ...
    @property
    def unfolds(self) -> bool: ...
    @property
    def few_rows(self) -> str: ...
    def rows_of(self, table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows: ...


def read_written(
    tables: Mapping[str, arrow.Table], place: Callable[[str], str], spec: DatasetSpec, reader: RowReader, where: str,
    notes: list[str], train_limit: int | None, test_limit: int | None,
) -> TextDataset:  # fmt: skip
    """Return the data set of tables by split; `place` has what to call a split in an error.

    Rows with nothing to read or to write are left out and noted. Raises `UsageError` for columns that are not there, and
    for a conversation that is none, with its row.
    """
    splits: dict[str, Rows] = {}
    # One count for all splits, as a note is said once.
    seen: Counter[str] = Counter()
    if reader.unfolds:
        tables, spec = unfolded(dict(tables), spec, place, notes)
    for split, table in tables.items():
        rows = reader.rows_of(table, spec, place(split), seen)
        full = [
            index for index, text in enumerate(rows.text) if text and (rows.text_pair is None or rows.text_pair[index])
        ]
        if not full:
            raise UsageError(f"{place(split)}: no row has anything to learn from.")
        if missing := len(rows) - len(full):
            which = f"{missing:,} {split} {'row' if missing == 1 else 'rows'}"
            notes.append(f"{which} with an empty text, or with nothing that is said, left out")
        splits[split] = rows.take(np.array(full))
    notes += [f"{what}: {count:,}" for what, count in seen.items() if count]
    if "test" not in splits:
        if len(splits["train"]) < 5:
            raise UsageError(
                f"{where} has {len(splits['train'])} rows; at least 5 are needed to keep some for the test{reader.few_rows}."
            )
        splits["train"], splits["test"] = divided(splits["train"])
        counts = f"{len(splits['train']):,} rows to train on, {len(splits['test']):,} to test on"
        notes.append(f"{where} has no test part: {counts} (80/20, always the same)")
    return finished(spec, reader.name, None, splits, notes, train_limit, test_limit)


def _rows(first: list[str], second: list[str] | None = None) -> Rows:
    def kept(values: list[str]) -> list[str]:
        # Blank is empty: spaces alone are nothing to learn.
        return [value if value.strip() else "" for value in values]

    return Rows(kept(first), None if second is None else kept(second), np.zeros(len(first), dtype=np.int64))


def whole_rows(table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
    """Return the texts of a table; where they are questions alone, that is counted in `seen`."""
    try:
        column = find_columns({"train": table}, spec, place, with_label=False)["text"]
    except UsageError:
        forms = Counter[str]() if spec.text else dialogue_forms(table.slice(0, _LOOKED_AT), spec, place)
        # Most of the rows decide what a table is.
        form = max(forms, key=lambda name: forms[name], default="")
        if not form:
            raise
        raise UsageError(
            f"{place} holds conversations ({form}), not texts; to learn the answers, write task: chat."
        ) from None

    # A table of questions and answers is asked for as texts: the answers would be lost without a word.
    pair = None if spec.text else usual_pair(table.column_names, PAIRS)
    if seen is not None and pair is not None and column == pair[0]:
        seen[f"texts of '{column}' alone, and not '{pair[1]}', which task: chat or seq2seq would learn"] += (
            table.num_rows
        )
    return _rows(texts(table, column, place))


def pairs(table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
    """Return the texts of a table that are read, each with the one that is written.

    They are two columns, or what is asked and answered in whatever form the table keeps that.
    """
    seen = Counter() if seen is None else seen
    columns = find_pair(table, spec, place)

    # A column beside the pair (an input, a history) belongs to the question, which the reader of dialogues puts
    # together.
    further = None if spec.text else usual_name(set(table.column_names) - set(columns or ()), (*CONTEXTS, *HISTORIES))
    if columns is not None and further is None:
        return _rows(*(texts(table, column, place) for column in columns))
    asked: list[str] = []
    answered: list[str] = []
    wrong: list[tuple[str, str]] = []
    for row in _interactions(table, spec, place, seen):
        if row.problem == NO_MESSAGES:
            question, answer = "", ""
        elif row.problem.startswith(NO_FORM) or row.problem.startswith(NO_MARKS):
            listed = ", ".join(name for name in table.column_names if name != ROW)
            raise UsageError(
                f"{place} has no columns that look like a text to read and one to write; say which with text: and target: "
                f"({listed})."
            )
        else:
            question, answer, problem = _one_pair(row)
            # All wrong rows are counted, the first is shown.
            wrong += [(row.place, problem)] if problem else []
        asked.append(question)
        answered.append(answer)
    if wrong:
        raise UsageError(f"{place}, {wrong[0][0]}: {wrong[0][1]}{likewise(wrong)}.")
    return _rows(asked, answered)


def _one_pair(row: Interaction) -> tuple[str, str, str]:
    """Return what is asked in a dialogue and what is answered, or why it is more than that."""
    if row.problem:
        return "", "", row.problem
    roles = [message["role"] for message in row.messages]
    if row.others or [role for role in roles if role != "system"] != ["user", "assistant"]:
        count = sum(map(len, (row.messages, *row.others)))
        return "", "", f"it is a conversation of {count} messages, not a question and its answer; write task: chat"
    if row.tools or "tool_calls" in row.messages[-1]:
        return "", "", "it calls tools, which a text alone cannot say; write task: chat"
    # A weight of 0 says that this answer is not to be learned.
    if row.messages[-1].get("weight") == 0:
        return "", "", ""
    # A system turn is read in front of the question.
    asked = "\n\n".join(message["content"] for message in row.messages[:-1] if message["content"].strip())
    return asked, row.messages[-1]["content"], ""


def conversation_rows(table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
    """Return the conversations of a table, in whatever form it keeps them; what is noticed is counted in `seen`."""
    seen = Counter() if seen is None else seen
    made: list[str] = []
    wrong: list[tuple[str, str]] = []
    for row in _interactions(table, spec, place, seen):
        if row.problem == NO_MESSAGES:
            made.append("")
            continue
        if row.problem.startswith(NO_FORM):
            listed = ", ".join(name for name in table.column_names if name != ROW)
            raise UsageError(
                f"{place} has no conversations: a column messages (role and content) or conversations (from and value) is "
                f"wanted, or instruction and output, or question and answer; say which with messages:, or with text: and "
                f"target: ({listed})."
            )
        if row.problem:
            wrong.append((row.place, row.problem))
            continue
        # One row may hold several conversations.
        for talk in (row.messages, *row.others):
            messages, problem = ordered(talk, seen)
            if problem:
                wrong.append((row.place, problem))
            made.append(written_out(row, messages) if not problem else "")
    if wrong:
        where, problem = wrong[0]
        more = "; afina data clean makes a file of what can be read" if problem == NO_MARKS else ""
        others = [] if WHO_ANSWERS in problem else wrong  # it is wrong with the whole chat, and said once
        raise UsageError(f"{place}, {where}: {problem}{more}{likewise(others)}.")
    return _rows(made)


def _interactions(table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str]) -> Iterator[Interaction]:
    """Yield what each row says, by the reader that `afina data` has (conversations.py)."""
    speakers = Speakers(tuple(spec.user or ()), tuple(spec.assistant or ()))
    if LINE in table.column_names:
        lines = (
            RawRow(f"line {number}", {"line": line}) for number, line in enumerate(table[LINE].to_pylist(), start=1)
        )
        yield from transcripts(lines, speakers, seen)
        return
    names = [name for name in table.column_names if name != ROW]
    column = None if spec.text else spec.messages
    if column is not None and column not in names:
        raise UsageError(f"{place} has no column '{column}' for messages{nearest(column, names)}")
    question, answer = (find_pair(table, spec, place) if spec.text or spec.target else None) or (None, None)
    columns = Columns(messages=column, question=question, answer=answer, pairs=(*PAIRS, *EITHER_PAIRS))
    # Line numbers of a file where it has them, counted from 1 where not.
    numbers = table[ROW].to_pylist() if ROW in table.column_names else range(1, table.num_rows + 1)
    values = table.select(names).to_pylist()
    rows = (RawRow(f"row {number}", each) for number, each in zip(numbers, values, strict=True))
    yield from interactions(rows, place, speakers, columns, seen)


def dialogue_forms(table: arrow.Table, spec: DatasetSpec, place: str) -> Counter[str]:
    """Count a table's conversations by their form, and what can be read as none under ""."""
    rows = _interactions(table, spec, place, Counter())
    return Counter(row.form if row.messages and not row.problem else "" for row in rows)


def find_messages(table: arrow.Table, spec: DatasetSpec) -> str | None:
    """Return the column of messages, which may be named and not there, or None where there is none."""
    if spec.text or spec.messages:
        return None if spec.text else spec.messages
    if (name := usual_name(table.column_names, MESSAGE_LISTS)) is not None:
        return name
    # Other names may be a transcript's too.
    name = usual_name(table.column_names, MESSAGES)
    return name if name and any(as_list(value, Counter()) for value in table[name].slice(0, 50).to_pylist()) else None


def find_pair(table: arrow.Table, spec: DatasetSpec, place: str) -> tuple[str, str] | None:
    """Return the columns of what is read and what is written, or None."""
    # One of the two alone would leave the other to a guess.
    if (spec.text is None) != (spec.target is None):
        raise UsageError("text: and target: go together: the column that is read, and the one that is written.")
    if spec.text is not None and spec.target is not None:
        for name in (spec.text, spec.target):
            if name not in table.column_names:
                raise UsageError(f"{place} has no column '{name}'{nearest(name, set(table.column_names) - {ROW})}")
        return spec.text, spec.target
    return usual_pair(table.column_names, (*PAIRS, *EITHER_PAIRS))

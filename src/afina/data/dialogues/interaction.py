"""Describe what one row says, whatever form it had."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afina.data.dialogues.speakers import Message

__all__ = ["Interaction", "RawRow", "beginning_of", "dialogue_text"]

_PEEK, _LETTERS = 200, 1 << 20


@dataclass(frozen=True)
class RawRow:
    """A row as it stands in a file, or why it could not be read."""

    place: str
    """Such as `line 12`."""
    values: Mapping[str, Any]
    """Values by column; a line of a text file stands under `line`, the beginning of an unreadable row under `unread`."""
    problem: str = ""


def beginning_of(rows: Iterator[RawRow]) -> list[RawRow]:
    """Take the first rows, by which it is told what a file holds: 200, or as many as take little memory."""
    first: list[RawRow] = []
    letters = 0
    # By letters too: two hundred rows may be two hundred books.
    while len(first) < _PEEK and letters < _LETTERS and (row := next(rows, None)) is not None:
        first.append(row)
        letters += sum(len(str(value)) for value in row.values.values())
    return first


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Holds what one row says."""

    place: str
    """The row's place in its file."""
    messages: Sequence[Message] = ()
    others: Sequence[Sequence[Message]] = ()
    """Further dialogues that the same row holds."""
    text: str | None = None
    """The text of a row that is no dialogue, or as much of an unreadable row as there is."""
    label: str | None = None
    tags: Sequence[str] = ()
    """The tags of its words, in a file of tagged words."""
    generated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Columns that mean nothing here and are carried along."""
    label_from: str | None = None
    """The column that the label is read from."""
    read: frozenset[str] = frozenset()
    """The columns that its text or messages are read from."""
    tools: Sequence[Any] = ()
    """The tools that it declares; they stand in `extra` too."""
    form: str = "text"
    problem: str = ""
    """The reason why it can be no row of a result."""

    @property
    def all_text(self) -> str:
        return dialogue_text(self.messages) if self.messages else self.text or ""


def dialogue_text(messages: Iterable[Message]) -> str:
    """Return what is said, one message a line, without who says it; a call of a tool by its name and arguments."""
    lines: list[str] = []
    for message in messages:
        calls = [call["function"] for call in message.get("tool_calls", ())]
        # A call alone has no line of text before it.
        lines += [message["content"]] if message["content"] or not calls else []
        lines += [f"{call['name']} {call['arguments']}" for call in calls]
    return "\n".join(lines)

"""Keep what people say from being read as control tokens: `</s>` in a message is four letters, and not the end of a turn.

Tokenizers find their control tokens anywhere in a text. A mark that nobody sees (U+2060, of no width) is put behind the first
letter of what would be one in a message, so that it is read letter by letter; all other texts stay as they are.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from afina.data.dialogues.messages import Message

__all__ = ["as_said", "controls_of"]

_APART = "\u2060"


def controls_of(tokenizer: Any) -> re.Pattern[str] | None:
    """Return what finds a tokenizer's control tokens in a text, in capitals or not; None where it has none."""
    names = {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    names |= {str(token.content) for token in added.values() if token.special}
    # The longest first: one token may be the beginning of another.
    longest_first = sorted(filter(lambda name: len(name) > 1, names), key=len, reverse=True)
    # The first letter alone is taken, as tokens may overlap; some tokenizers write all in small letters first.
    return (
        re.compile(f"(?={'|'.join(map(re.escape, longest_first))})(.)", re.IGNORECASE | re.DOTALL)
        if longest_first
        else None
    )


def as_said(messages: Sequence[Message], controls: re.Pattern[str] | None) -> list[Message]:
    """Return messages in which nothing is a control token, neither in what is said nor in calls of tools."""
    if controls is None:
        return list(messages)
    return [
        Message(message.role, _apart(message.content, controls), _apart(dict(message.details), controls))
        for message in messages
    ]


def _apart(value: Any, controls: re.Pattern[str]) -> Any:
    # Behind the first letter, so that the rest is no token by itself either.
    if isinstance(value, str):
        return controls.sub(rf"\1{_APART}", value)
    if isinstance(value, Mapping):
        # Keys too: a tool's arguments are named by whoever calls it.
        return {_apart(key, controls): _apart(own, controls) for key, own in value.items()}
    return [_apart(own, controls) for own in value] if isinstance(value, list) else value

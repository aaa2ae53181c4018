"""Keep what people say from being read as control tokens: `</s>` in a message is four letters, and not the end of a turn.

Tokenizers find their control tokens anywhere in a text. A mark that nobody sees (U+2060, of no width) is put behind the first
letter of what would be one in a message, so that it is read letter by letter; all other texts stay as they are.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from afina.data.dialogues.messages import Message

__all__ = ["apart", "as_said", "controls_of", "named_in", "text_notes"]

_APART = "\u2060"


def controls_of(tokenizer: Any) -> re.Pattern[str] | None:
    """Return what finds a tokenizer's control tokens in a text, in capitals or not; None where it has none."""
    longest_first = _names(tokenizer)
    # The first letter alone is taken, as tokens may overlap; some tokenizers write all in small letters first.
    return (
        re.compile(f"(?={'|'.join(map(re.escape, longest_first))})(.)", re.IGNORECASE | re.DOTALL)
        if longest_first
        else None
    )


def _names(tokenizer: Any) -> list[str]:
    """Return the names of a tokenizer's control tokens, the longest first; a single letter is none."""
    names = {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    names |= {str(token.content) for token in added.values() if token.special}
    # The longest first: one token may be the beginning of another.
    return sorted(filter(lambda name: len(name) > 1, names), key=len, reverse=True)


def named_in(tokenizer: Any, text: str) -> str | None:
    """Return the first name of a control token in a text, as a tokenizer that looks for them would find it; None for none."""
    controls = _names(tokenizer)
    match = re.search("|".join(map(re.escape, controls)), text) if controls else None
    return None if match is None else match[0]


def text_notes(tokenizer: Any, prompts: Sequence[str]) -> tuple[str, ...]:
    """Say so where a prompt that is read as text has the name of a control token, which a template may have written."""
    name = next(filter(None, (named_in(tokenizer, prompt) for prompt in prompts)), None)
    return () if name is None else (f"{name} in a prompt was read as text: with --special it is the control token.",)


def as_said(messages: Sequence[Message], controls: re.Pattern[str] | None) -> list[Message]:
    """Return messages in which nothing is a control token, neither in what is said nor in calls of tools."""
    if controls is None:
        return list(messages)
    return [
        Message(message.role, apart(message.content, controls), apart(dict(message.details), controls))
        for message in messages
    ]


def apart(value: Any, controls: re.Pattern[str]) -> Any:
    """Return a text, or all texts in lists and objects, with what would be a control token read letter by letter."""
    if isinstance(value, str):
        # Letters that look like others become those in some tokenizers, and would make a token there.
        if not value.isascii() and not controls.search(value):
            folded = unicodedata.normalize("NFKC", value)
            value = folded if controls.search(folded) else value
        # Behind the first letter, so that the rest is no token by itself either.
        return controls.sub(rf"\1{_APART}", value)
    if isinstance(value, Mapping):
        # Keys too: a tool's arguments are named by whoever calls it.
        return {apart(key, controls): apart(own, controls) for key, own in value.items()}
    return [apart(own, controls) for own in value] if isinstance(value, list) else value

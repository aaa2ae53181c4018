"""Read what stands between a table's columns, as a person names it."""

from typing import Any

from afina.errors import UsageError, shown

__all__ = ["as_separator", "separator_of"]

_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|"}


def as_separator(value: Any) -> Any:
    """Return the character that a name stands for; anything else as it is."""
    return _NAMES.get(value, value) if isinstance(value, str) else value


def separator_of(name: str | None) -> str | None:
    """Return what separates columns; raises `UsageError` for what is no single character."""
    character = None if name is None else str(as_separator(name))
    if character is not None and (len(character) != 1 or character in '"\r\n'):
        raise UsageError(f"A separator is one character, or tab, comma, semicolon, bar; not {shown(name)}.")
    return character

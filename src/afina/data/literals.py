"""Lists and objects that a table keeps as text: JSON, or what Python's `str` and pandas write of them."""

import ast
import json
from typing import Any

__all__ = ["parsed_text"]

_LONGEST = 4 << 20
"""Characters of Python text that are parsed, at most: its parser takes a hundred times their memory."""


def parsed_text(text: str) -> tuple[Any, bool]:
    """Return the list or object that a text writes out, and whether it is Python's and not JSON; None where it is neither.

    Only literals are read: nothing is called or looked up.
    """
    start = text.lstrip()[:1]
    if start not in ("[", "{", "("):
        return None, False
    try:
        value = json.loads(text)
        return (value, False) if isinstance(value, list | dict) else (None, False)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST:
        return None, False
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None, False
    value = list(value) if isinstance(value, tuple) else value
    return (value, True) if isinstance(value, list | dict) else (None, False)

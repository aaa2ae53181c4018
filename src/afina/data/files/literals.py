"""Lists and objects that a table keeps as text: JSON, or what Python, pandas and numpy write of them."""

import ast
import io
import json
import re
import tokenize
from itertools import pairwise
from typing import Any

__all__ = ["parsed_text"]

_LONGEST = 4 << 20
"""Characters of Python text that are parsed, at most: its parser takes a hundred times their memory."""
_NUMBERS = re.compile(r"\[\s*(-?\d+(?:\s+-?\d+)*)\s*\]")
_APART = re.compile(r"['\"]\s+['\"]")


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
        value = _printed_by_numpy(text)
        value = ast.literal_eval(text.strip()) if value is None else value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return None, False
    value = list(value) if isinstance(value, tuple) else value
    return (value, True) if isinstance(value, list | dict) else (None, False)


def _printed_by_numpy(text: str) -> list[Any] | None:
    """Read `['a' 'b']` and `[0 1]`, which have no commas: to Python, `'a' 'b'` is one word."""
    if numbers := _NUMBERS.fullmatch(text.strip()):
        return [int(number) for number in numbers[1].split()]
    if not _APART.search(text):
        return None
    kinds = (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT)
    tokens = [each for each in tokenize.generate_tokens(io.StringIO(text.strip()).readline) if each.type not in kinds]
    beside = any(a.type == b.type == tokenize.STRING for a, b in pairwise(tokens))
    if not beside:
        return None
    inside = tokens[1:-1]
    if tokens[0].string != "[" or tokens[-1].string != "]" or any(each.type != tokenize.STRING for each in inside):
        raise ValueError("texts that stand beside one another")
    return [ast.literal_eval(each.string) for each in inside]

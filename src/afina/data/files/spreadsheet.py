"""Cells of text in files that a spreadsheet opens."""

import re

__all__ = ["guarded"]

_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*%?")


def guarded(text: str) -> str:
    """Return a cell that a spreadsheet will not run as a formula: one that begins like one gets an apostrophe before it.

    Numbers may begin with a sign.
    """
    if text[:1] in ("=", "@", "+", "-", "\t", "\r") and not _NUMBER.fullmatch(text):
        return "'" + text
    return text

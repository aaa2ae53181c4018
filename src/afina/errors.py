"""Errors that a user sees, each one sentence: what was given, what is possible, what to do."""

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "AfinaError", "Interrupted", "ProcessEnded", "Unexpected", "Unfinished", "UsageError", "likewise", "nearest",
    "shown",
]  # fmt: skip


class AfinaError(Exception):
    """Something failed that was asked for rightly (exit code 1)."""

    exit_code = 1


class UsageError(AfinaError, ValueError):
    """Says that a request cannot be done as written: the person has to change something (exit code 2)."""

    exit_code = 2


class Unexpected(AfinaError):
    """A fault that nobody foresaw, ours or a library's; `trace` is its whole traceback, for whoever mends it."""

    def __init__(self, sentence: str, trace: str) -> None:
        super().__init__(sentence, trace)  # both, so that it travels between processes
        self.trace = trace

    def __str__(self) -> str:
        return str(self.args[0])


class Unfinished(AfinaError):
    """A job was broken off by what is not its own, such as want of memory: what it was to find out is not known."""


class ProcessEnded(Unfinished):
    """The process of a job was ended from outside, or without a word."""


class Interrupted(AfinaError):
    """The person, or the system, asked a long job to stop; it goes on from its last checkpoint (exit code 130)."""

    exit_code = 130


def shown(value: object, most: int = 80) -> str:
    """Return a value as a sentence may name it: as Python writes it, with the middle left out where that is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; what holds itself or is nested as deep
        text = f"a {type(value).__name__} too large to write down"
    return text if len(text) <= most else f"{text[: most - 20]} ... {text[-15:]}"


def likewise(wrong: Sequence[tuple[str, str]], named: int = 5) -> str:
    """Return what a sentence about the first of several wrong rows or keys says of the others.

    Each is given by where it is and what stands there (or nothing). All that are `named` counts the first; the rest are
    counted: `; likewise row 4 ('x'), row 9 ('y') and 12 more`. There is nothing to say of one alone.
    """
    others = [f"{where} ({what})" if what else where for where, what in wrong[1:named]]
    more = len(wrong) - 1 - len(others)
    if more > 0:
        others.append(f"{more:,} more")
    if not others:
        return ""
    *first, last = others
    return f"; likewise {', '.join(first)} and {last}" if first else f"; likewise {last}"


def nearest(given: str, possible: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of `possible`, or a list of them all when none is close."""
    choices = sorted(possible)
    match = difflib.get_close_matches(given, choices, n=1, cutoff=0.6)
    return f"; did you mean '{match[0]}'?" if match else f"; possible: {', '.join(choices)}"

"""Errors that a user sees, each one sentence: what was given, what is possible, what to do."""

import difflib
from collections.abc import Iterable

__all__ = [
    "AfinaError", "Interrupted", "ProcessEnded", "Unexpected", "Unfinished", "UsageError", "nearest", "shown",
]  # fmt: skip


class AfinaError(Exception):
    """Something failed that was asked for rightly (exit code 1)."""

    exit_code = 1


class UsageError(AfinaError, ValueError):
    """What was asked for cannot be done as written: the person has to change something (exit code 2)."""

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


def nearest(given: str, possible: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of `possible`, or a list of them all when none is close."""
    choices = sorted(possible)
    match = difflib.get_close_matches(given, choices, n=1, cutoff=0.6)
    return f"; did you mean '{match[0]}'?" if match else f"; possible: {', '.join(choices)}"

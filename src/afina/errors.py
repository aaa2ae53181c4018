"""Errors that a user sees, each one sentence: what was given, what is possible, what to do."""

import difflib
from collections.abc import Iterable

__all__ = ["AfinaError", "Interrupted", "ProcessEnded", "Unfinished", "UsageError", "nearest"]


class AfinaError(Exception):
    """Something failed that was asked for rightly (exit code 1)."""

    exit_code = 1


class UsageError(AfinaError, ValueError):
    """What was asked for cannot be done as written: the person has to change something (exit code 2)."""

    exit_code = 2


class Unfinished(AfinaError):
    """A job was broken off by what is not its own, such as want of memory: what it was to find out is not known."""


class ProcessEnded(Unfinished):
    """The process of a job was ended from outside, or without a word."""


class Interrupted(AfinaError):
    """The person, or the system, asked a long job to stop; it goes on from its last checkpoint (exit code 130)."""

    exit_code = 130


def nearest(given: str, possible: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of `possible`, or a list of them all when none is close."""
    choices = sorted(possible)
    match = difflib.get_close_matches(given, choices, n=1, cutoff=0.6)
    return f"; did you mean '{match[0]}'?" if match else f"; possible: {', '.join(choices)}"

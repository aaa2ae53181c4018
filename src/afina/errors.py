"""Errors that a user sees, each one sentence: what was given, what is possible, what to do."""

import base64
import difflib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

__all__ = [
    "AboveLimit", "AfinaError", "Interrupted", "OutOfMemory", "ProcessEnded", "Unexpected", "Unfinished", "UsageError",
    "abridged", "is_short", "likewise", "nearest", "printable", "redacted", "shortened", "shown",
]  # fmt: skip


class AfinaError(Exception):
    """Something failed that was asked for rightly (exit code 1); its sentence holds no key and no password."""

    exit_code = 1

    def __init__(self, *words: object) -> None:
        sentence, *more = words or ("",)
        if isinstance(sentence, str):
            sentence = shortened(sentence)
        super().__init__(*(redacted(word) if isinstance(word, str) else word for word in (sentence, *more)))


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


class OutOfMemory(Unfinished):
    """A job had no room in memory; with less at once it may have."""


class ProcessEnded(Unfinished):
    """The process of a job was ended from outside, or without a word."""


_SHORT = re.compile(
    "not enough memory|can(no|')t allocate memory|out of memory|bad_alloc|could not create a primitive(?! desc)",
    re.IGNORECASE,
)
"""The words of torch, of oneDNN and of the system where memory is short: they come as errors of several kinds."""


def is_short(error: BaseException) -> bool:
    """Return whether an error is one of memory that ran out."""
    return isinstance(error, MemoryError) or _SHORT.search(str(error).strip().partition("\n")[0]) is not None


class AboveLimit(AfinaError):
    """Something that was measured lies above the limit that a person set for it (exit code 3)."""

    exit_code = 3


class Interrupted(AfinaError):
    """The person, or the system, asked a long job to stop; it goes on from its last checkpoint (exit code 130)."""

    exit_code = 130


_HIDDEN = "***"
_PASSWORD = re.compile(r"(?<=://)[^\s/@'\"]*:[^\s/'\"]*@(?=[^\s/@'\"])")
"""The name and password that stand before a server's name in an address."""
_VARIABLES = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD)$")
"""Ends of names of environment variables that hold secrets: OPENAI_API_KEY, HF_TOKEN."""
_SHORTEST = 6
"""Letters; anything shorter is a word that may stand in a sentence by chance."""


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without these secrets, those of the environment and passwords in addresses, however they are written."""
    text = _PASSWORD.sub(f"{_HIDDEN}@", text)
    for secret in (*secrets, *_of_environment()):
        for form in sorted(_forms(secret), key=len, reverse=True):
            text = text.replace(form, _HIDDEN) if len(form) >= _SHORTEST else text
    return text


_LONG = re.compile(r"\S{300,}+")
"""A name, a path or a value that nobody reads to its end."""
_LONGEST = 4_000
"""Letters of a sentence, whatever stands in it."""


def shortened(sentence: str) -> str:
    """Return a sentence with the middle left out of the names in it that are far too long, and of itself if it still is."""
    text = _LONG.sub(lambda match: f"{match[0][:120]}...{match[0][-60:]}", sentence)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 600]} ... {text[-500:]}"


_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters by which a text moves a terminal's cursor, colours or empties it, or turns the order of what is read."""


def printable(text: str) -> str:
    """Return a text in which what would command a terminal or turn the order of its letters is written out."""
    return _COMMANDS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _of_environment() -> list[str]:
    """Return the keys that this process was given, and the token that the hub's client keeps."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    try:
        stored = Path(os.environ.get("HF_TOKEN_PATH") or Path(home, "token")).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError):
        stored = ""
    return [stored.strip(), *(value for name, value in os.environ.items() if _VARIABLES.search(name) and value)]


def _forms(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, as Python, JSON and addresses write it, cut at its control characters."""
    raw = secret.encode("utf-8", "surrogateescape")
    return {
        secret, unquote(secret), repr(secret)[1:-1], repr(raw)[2:-1], json.dumps(secret)[1:-1], quote(raw, safe=""),
        quote_plus(raw), base64.b64encode(raw).decode(), " ".join(secret.split()), *re.split(r"[\x00-\x20\x7f]+", secret),
    }  # fmt: skip


def shown(value: object, most: int = 80) -> str:
    """Return a value as a sentence may name it: as Python writes it, with the middle left out where that is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; what holds itself or is nested as deep
        text = f"a {type(value).__name__} too large to write down"
    return abridged(text, most)


def abridged(text: str, most: int = 80) -> str:
    """Return a text with the middle left out where it is long."""
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


_LISTED = 120
"""Possible names that are still listed whole."""


def nearest(given: str, possible: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of `possible`, or a list of them when none is close."""
    choices = sorted(possible)
    match = difflib.get_close_matches(given, choices, n=1, cutoff=0.6)
    # Of thousands, such as tasks of another program, nobody reads a list.
    if not match and len(choices) > _LISTED:
        some = difflib.get_close_matches(given, choices, n=5, cutoff=0.0)
        return f"; of {len(choices):,} that there are, those spelled most like it are {', '.join(some)}"
    return f"; did you mean '{match[0]}'?" if match else f"; possible: {', '.join(choices)}"

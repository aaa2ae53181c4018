"""Read the log of requests that `afina serve` writes: what was asked of one adapter, where the log has texts."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from afina.data.files.compression import opened, reading
from afina.errors import UsageError

__all__ = ["ALWAYS", "LABELLING", "LoggedText", "RequestLog", "is_log"]

ALWAYS = {"time", "request", "path", "status"}
"""Keys that each line of a log has."""
LABELLING = ("/v1/classify", "/predict")
"""Paths at which texts are labelled."""
_BEGINNING = 3
"""Lines by which a log is known: the first may lack its beginning, where a log was cut (`tail -c`, a rotation)."""
_LONGEST = 32 << 20
"""Bytes of a line that are read; a request and its text are shorter."""


@dataclass(frozen=True)
class LoggedText:
    """Holds one text that was asked, and when."""

    request: str
    number: int
    """The text's place in its request, from 1."""
    time: datetime
    text: str
    text_pair: str | None


def is_log(path: Path) -> bool:
    """Return whether a file begins as a log of requests does: one of its first lines is a request, the others are no JSON."""
    try:
        with reading(path), opened(path) as file:
            for _ in range(_BEGINNING):
                if (entry := _json(file.readline(_LONGEST))) is not None:
                    return isinstance(entry, dict) and entry.keys() >= ALWAYS
    except (OSError, UsageError):
        pass
    return False


@dataclass
class RequestLog:
    """Reads a log line by line, and counts what it passes over."""

    path: Path
    passed: Counter[str] = field(default_factory=Counter)
    """Lines that were passed over, by the reason in plain words."""

    def adapters(self) -> Counter[str]:
        """Return of which adapters texts were labelled, with the number of requests."""
        return Counter(str(entry["adapter"]) for entry in self._labelled() if entry.get("adapter"))

    def texts(self, adapter: str) -> Iterator[LoggedText]:
        """Yield the texts that an adapter was asked to label, in the log's order.

        Raises `UsageError` where the log has requests of it and the text of none.
        """
        self.passed.clear()
        there = without = 0
        for entry in self._labelled():
            if entry.get("adapter") != adapter:
                continue
            time, asked = _time(entry["time"]), entry.get("text")
            if not isinstance(asked, list) or time is None:
                without += 1
                continue
            for number, each in enumerate(asked, start=1):
                there += 1
                text, pair = each if isinstance(each, list) and len(each) == 2 else (each, None)
                yield LoggedText(str(entry["request"]), number, time, str(text), None if pair is None else str(pair))
        if without and not there:
            raise UsageError(
                f"{self.path} holds {without:,} requests of {adapter} and none of their texts; start the server with "
                "--log-text to have them written down."
            )
        if without:
            self.passed["passed over, requests without a text, which the log had not been asked for yet"] = without

    def _labelled(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of requests for labels that were answered."""
        broken, cut, number = 0, False, 0
        with reading(self.path), opened(self.path) as file:
            while line := file.readline(_LONGEST):
                number += 1
                entry = _json(line)
                # The last line of a log that is cut, or still being written, has no end.
                if not line.endswith(b"\n") and entry is None:
                    cut = True
                elif not isinstance(entry, dict) or not entry.keys() >= ALWAYS:
                    broken += bool(line.strip())
                elif entry["path"] in LABELLING and entry["status"] == 200:
                    yield entry
        if cut:
            self.passed["passed over, a last line that is cut off"] = 1
        if broken:
            self.passed["passed over, lines that are no request"] = broken


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None

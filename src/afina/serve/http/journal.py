"""Write down each request as a line of JSON: who asked what of which adapter, and what became of it; no text unless asked."""

import json
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from afina.data.predicting.logged import ALWAYS
from afina.errors import UsageError
from afina.serve.http.one_line import one_line

__all__ = ["Journal", "check_log"]

_LONGEST = 32 << 20
"""Bytes of a line that are read; a request and its text are shorter."""


def check_log(place: Path) -> None:
    """Raise `UsageError` for a file that is there and is no log of requests: lines are added to such a one alone.

    What is no ordinary file (a pipe, a device) holds nothing that could be mixed up.
    """
    if place.is_dir() or not place.parent.is_dir():
        raise UsageError(
            f"--log {place} is no file that can be written; give the name of one, or - for standard output."
        )
    try:
        if not place.is_file() or not place.stat().st_size:
            return
        # One line tells whose file it is.
        with place.open("rb") as file:
            first = file.readline(_LONGEST)
    except OSError as error:
        raise UsageError(f"--log {place} cannot be read ({error.strerror}), nor written to; choose another.") from None
    try:
        entry = json.loads(first)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or not entry.keys() >= ALWAYS:
        raise UsageError(f"{place} is there and holds something else than a log of requests; choose another --log.")


class Journal:
    """Writes lines to a file, to standard output (`-`), or nowhere."""

    def __init__(self, place: str | Path | None, *, with_text: bool = False) -> None:
        """Write what was asked too where `with_text`."""
        self.with_text = with_text
        self._lock = threading.Lock()
        self._out: TextIO | None = None
        if place == "-":
            self._out = sys.stdout
        elif place is not None:
            check_log(Path(place))
            self._out = Path(place).open("a", encoding="utf-8")  # noqa: SIM115  (closed by `close`)

    def write(self, **values: Any) -> None:
        """Write a line of what is not None, with the time."""
        if self._out is None:
            return
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        entry |= {key: value for key, value in values.items() if value is not None}
        line = one_line(entry) + "\n"
        with self._lock, suppress(OSError, ValueError):  # a full disk, or a pipe that nobody reads, stops no answer
            self._out.write(line)
            self._out.flush()

    def close(self) -> None:
        """Close a file of one's own."""
        # Standard output is not ours to close.
        if self._out is not None and self._out is not sys.stdout:
            self._out.close()
        self._out = None

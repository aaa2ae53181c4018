"""Write down each request as a line of JSON: who asked what of which adapter, and what became of it; no text unless asked."""

import json
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Journal"]


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
            self._out = Path(place).open("a", encoding="utf-8")  # noqa: SIM115  (closed by `close`)

    def write(self, **values: Any) -> None:
        """Write a line of what is not None, with the time."""
        if self._out is None:
            return
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        entry |= {key: value for key, value in values.items() if value is not None}
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        with self._lock, suppress(OSError, ValueError):  # a full disk, or a pipe that nobody reads, stops no answer
            self._out.write(line)
            self._out.flush()

    def close(self) -> None:
        """Close a file of one's own."""
        if self._out is not None and self._out is not sys.stdout:
            self._out.close()
        self._out = None

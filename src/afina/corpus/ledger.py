"""Keep what a model wrote, request by request, so that a killed run goes on with the first request that is missing."""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.corpus.clean import rejects_path
from afina.corpus.interaction_file import as_values
from afina.data.dialogues.interaction import Interaction
from afina.errors import UsageError
from afina.links import open_unfollowed
from afina.whole_file import whole_file

__all__ = ["Ledger"]


class Ledger:
    """Keeps the three files, of which the requests' is written last: rows without their request's line are taken back."""

    def __init__(self, out: Path, record: Mapping[str, Any]) -> None:
        self.out, self.refused = out, rejects_path(out)
        self.log = out.with_name(f"{out.stem}.requests.jsonl")
        self.record = dict(record)
        self.done: set[int] = set()
        self.reasons: Counter[str] = Counter()

    def __enter__(self) -> "Ledger":
        """Take the three files for this process; raises `UsageError` where they are another's, in either sense."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        # Looked at before it is locked, as opening makes the file.
        self._lines()  # what is not ours is neither opened nor locked
        self._held = open_unfollowed(self.log, "ab")
        try:
            try:
                # One process at a time: two would give the same numbers to different requests.
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{self.out} is being written by another afina; wait for it or choose another name."
                ) from None
            self._go_on(self._lines())
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Rejects that there were none of leave no file.
        if self.refused.exists() and not self.refused.stat().st_size:
            self.refused.unlink()
        self._held.close()

    def _lines(self) -> list[dict[str, Any]]:
        """Return what the requests' file holds, its record first; nothing where generating begins."""
        lines = list(whole_lines(self.log))
        if not lines:
            # A file of requests may be empty: its process was killed before it wrote anything.
            begun = [path for path in (self.out, self.refused, self.log) if path.exists() and path.stat().st_size]
            if begun or self.out.exists():
                raise UsageError(
                    f"{(begun or [self.out])[0]} exists already and was not begun by generating; choose another name."
                )
        elif other := [key for key in self.record if lines[0].get(key) != self.record[key]]:
            raise UsageError(
                f"{self.out} was begun with another {', '.join(other)}; choose another name for these rows."
            )
        if any(not isinstance(line.get("request"), int) for line in lines[1:]):
            raise UsageError(f"{self.log} is no list of requests; choose another name for the rows.")
        return lines

    def _go_on(self, lines: list[dict[str, Any]]) -> None:
        """Take up what was made, and take back what a kill kept from being listed."""
        # A request counts as made when its line is whole; rows of one that has none are taken back and asked for again.
        self.done = {line["request"] for line in lines[1:]}
        for path in (self.out, self.refused):
            self._take_back(path)
        # In place, as the lock is the file's: what is cut off is the beginning of a line.
        os.truncate(self.log, _whole_bytes(self.log))
        if not lines:
            _append(self.log, [self.record])

    # Rows of requests that were never ended go: they are asked for again.
    def _take_back(self, path: Path) -> None:
        rows = list(whole_lines(path))
        try:
            good = [row for row in rows if row["extra"]["request"] in self.done]
            if path == self.refused:
                self.reasons.update(row["reason"] for row in good)
        except (KeyError, TypeError):
            raise UsageError(
                f"{path} holds rows that were not generated; keep them in a file of their own, and run the same again."
            ) from None
        # Nothing was torn: the file stays as it is, with its time.
        if path.exists() and len(good) == len(rows) and _whole_bytes(path) == path.stat().st_size:
            return
        # Written anew beside the old one, so that a kill here loses nothing either.
        with whole_file(path) as partial:
            partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in good), encoding="utf-8")

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    def rows(self) -> Iterator[dict[str, Any]]:
        return whole_lines(self.out)

    def next_numbers(self, most: int) -> list[int]:
        """Return the first numbers of requests that were not made."""
        numbers: list[int] = []
        number = 0
        # At least one, as there is always one to ask for.
        while len(numbers) < max(1, most):
            if number not in self.done:
                numbers.append(number)
            number += 1
        return numbers

    def add(self, number: int, rows: Iterable[Interaction]) -> None:
        """Write a request's rows, then that it was made."""
        accepted: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        for row in rows:
            source = self.record["model"]
            values = as_values(row, source, row.problem) if row.problem else as_values(row, source)
            values["extra"] = dict(row.extra)
            (refused if row.problem else accepted).append(
                {name: value for name, value in values.items() if value is not None}
            )
        self.reasons.update(row["reason"] for row in refused)
        for path, lines in ((self.refused, refused), (self.out, accepted)):
            _append(path, lines)

        # Last of the three files: a kill before it loses this request's rows, and never leaves some of them.
        _append(self.log, [{"request": number, "rows": len(accepted), "rejects": len(refused)}])
        self.done.add(number)


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    if not lines:
        return
    with open_unfollowed(path, "ab") as file:
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8", "replace"))
        file.flush()
        # On disk before the request counts as made.
        os.fsync(file.fileno())


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file whose last line a kill may have cut; raises `UsageError` for a line that is none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            # A line without its end was cut by a kill, and is as if it had not been begun.
            if line.endswith(b"\n"):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    value = None
                if not isinstance(value, dict):
                    raise UsageError(
                        f"{path}, line {number}: this is no JSON object; choose another name for the rows."
                    )
                yield value


def _whole_bytes(path: Path) -> int:
    """Return how many bytes of a file are whole lines."""
    whole = 0
    with path.open("rb") as file:
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
    return whole

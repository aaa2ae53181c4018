"""Keep what a model wrote, request by request, so that a killed run goes on with the first request that is missing."""

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
        self.out.parent.mkdir(parents=True, exist_ok=True)
        lines = list(whole_lines(self.log))
        if self.out.exists() and not lines:
            raise UsageError(f"{self.out} exists already and was not begun by generating; choose another name.")
        begun = lines[0] if lines else self.record
        if begun != self.record:
            other = ", ".join(key for key in self.record if begun.get(key) != self.record[key])
            raise UsageError(f"{self.out} was begun with another {other}; choose another name for these rows.")
        self.done = {line["request"] for line in lines[1:]}
        for path in (self.out, self.refused):
            self._take_back(path)
        with whole_file(self.log) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in lines or [self.record]), encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self.refused.exists() and not self.refused.stat().st_size:
            self.refused.unlink()

    def _take_back(self, path: Path) -> None:
        rows = list(whole_lines(path))
        good = [row for row in rows if row["extra"]["request"] in self.done]
        if path == self.refused:
            self.reasons.update(row["reason"] for row in good)
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
        _append(self.log, [{"request": number, "rows": len(accepted), "rejects": len(refused)}])
        self.done.add(number)


def _append(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    if not lines:
        return
    with open_unfollowed(path, "ab") as file:
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file whose last line a kill may have cut."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)

"""Files that are written whole or not at all."""

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.links import refuse_link

__all__ = ["beside", "is_partial", "partial_of", "sweep_partials", "whole_file", "write_json", "write_text"]

_PARTIAL = re.compile(r"\.(.+)\.(\d{1,10})(?:\.narrow)?\.part", re.DOTALL)
"""The name of a file that is being written beside its place: the name that it will have, the process, an ending of ours."""


@contextmanager
def whole_file(path: Path, *, make_folder: bool = True) -> Iterator[Path]:
    """Give a path beside `path` to write to, which takes its place when the block ends well, and goes when not.

    What killed processes left there of the same file is removed; another thread that writes it is waited for. Raises
    `UsageError` where `path` is a link.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    with _turn_at(path):
        partial = partial_of(path)
        try:
            yield partial

            # On the disk before it takes the other's place: after a loss of power the name stands for one of both, whole.
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


class _Turns:
    """Says which files the threads of this process are writing."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget all of them: threads that a fork leaves behind never end what they were writing."""
        self.changed, self.writing = threading.Condition(), set[Path]()


_turns = _Turns()
os.register_at_fork(after_in_child=_turns.begin)


@contextmanager
def _turn_at(path: Path) -> Iterator[None]:
    """Let one thread of this process at a time write a file, as all of them write to one place beside it."""
    name = path.absolute()
    with _turns.changed:
        _turns.changed.wait_for(lambda: name not in _turns.writing)
        _turns.writing.add(name)
    try:
        yield
    finally:
        with _turns.changed:
            _turns.writing.discard(name)
            _turns.changed.notify_all()


def write_text(path: Path, text: str) -> None:
    """Write a text file; after a kill at any moment it is the old one or the new one, whole."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object as a line; after a kill at any moment it is the old one or the new one, whole."""
    write_text(path, json.dumps(value, ensure_ascii=False) + "\n")


def partial_of(path: Path) -> Path:
    """Return where to write what is to take the place of `path`, which is no link; nothing is there, or left, of it."""
    partial = beside(path, f".{path.name}.{os.getpid()}.part")
    refuse_link(path)
    sweep_partials(path.parent, path.name)
    return partial


def beside(path: Path, name: str) -> Path:
    """Return a path of another name in the same folder; raises `UsageError` where `path` has none, as `.` and `/` have."""
    if not path.name:
        raise UsageError(f"'{path}' is a folder, and no name for what is to be written; give one.")
    return path.with_name(name)


def is_partial(name: str) -> bool:
    """Return whether a file of this name is one that is being written, or was left half written."""
    return _PARTIAL.fullmatch(name) is not None


def sweep_partials(folder: Path, name: str | None = None) -> None:
    """Remove what processes that are no more, or an earlier one of this number, left half written in a folder of ours.

    Of one file where it is named; else of all files in the folder and below.
    """
    for place, folders, files in os.walk(folder):
        for entry in [*folders, *files]:
            match = _PARTIAL.fullmatch(entry)

            # Only what no running process is writing: its number is in the name.
            if match is None or (name is not None and match[1] != name) or _runs(int(match[2])):
                continue
            path = Path(place, entry)
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        if name is not None:
            return


def _runs(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    # Another user's process: it is there.
    except PermissionError:
        return True
    return True

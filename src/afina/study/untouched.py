"""Tell whether files are still those that were read: by size, times and inode, which a new or changed file has otherwise."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["files_of", "signature"]

_MOST_FILES = 10_000


def files_of(path: Path) -> list[Path]:
    """Return the file, or all files in the folder and below; none of what is neither, or has very many."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        return []
    files = [Path(place, name) for place, _, names in os.walk(path) for name in sorted(names)]
    return sorted(files) if len(files) <= _MOST_FILES else []


def signature(files: Iterable[Path]) -> list[list[Any]]:
    """Return what changes of a file when it is written to or another takes its place."""
    return [
        [str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        for path in files
        for status in [path.stat()]
    ]

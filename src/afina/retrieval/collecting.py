"""Find the documents that a person named: files, and those of folders with everything below."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from afina.errors import UsageError
from afina.retrieval.readers.base import endings

__all__ = ["Collected", "Found", "collect", "digest_of"]


@dataclass(frozen=True)
class Found:
    """Says where a document is."""

    path: Path
    name: str
    """Name in the index: its path within the folder that was named."""
    size: int


@dataclass(frozen=True)
class Collected:
    """Holds the documents, sorted by name, and what else lay there."""

    files: list[Found]
    others: Counter[str]
    """Counts of files by endings that nothing reads."""
    links: int
    """Number of links, which are not followed."""


def collect(places: Sequence[Path], index: Path) -> Collected:
    """Return all documents in some places, without hidden files and without the index itself.

    Raises `UsageError` for a place that is not there, a file that nothing reads, and where there is no document at all.
    """
    files: dict[str, Found] = {}
    others: Counter[str] = Counter()
    links = 0
    for place in places:
        if not place.exists():
            raise UsageError(f"{place} does not exist (looked for in {place.absolute().parent}).")
        if place.is_file() and place.suffix.lower() not in endings():
            raise UsageError(
                f"{place} is of an unknown type '{place.suffix or place.name}'; possible: {', '.join(sorted(endings()))}."
            )
        # With several folders each one's name comes first, or two files in them would have one name.
        prefix = f"{place.resolve().name}/" if len(places) > 1 and place.is_dir() else ""
        for path in _below(place, index.absolute()):
            if path.is_symlink() and path != place:
                links += 1
            elif path.suffix.lower() not in endings():
                others[path.suffix.lower() or "without an ending"] += 1
            else:
                name = prefix + (path.name if path == place else path.relative_to(place).as_posix())
                # One file named twice is one document.
                if name in files and not path.samefile(files[name].path):
                    raise UsageError(
                        f"{files[name].path} and {path} would both be called {name}: give a folder that holds the two."
                    )
                files[name] = Found(path, name, path.stat().st_size)
    if not files:
        raise UsageError(
            f"There is no document in {', '.join(map(str, places))}; read are {', '.join(sorted(endings()))}."
        )
    return Collected([files[name] for name in sorted(files)], others, links)


def _below(place: Path, index: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, names in os.walk(place):
        # Sorted in place, which is how os.walk takes what to go into; the index is no document.
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(folder, name).absolute() != index
        )
        for name in sorted(names):
            path = Path(folder, name)
            # A pipe or a device would keep whoever reads it waiting; a link is counted, and not followed.
            if not name.startswith(".") and stat.S_ISREG(path.stat(follow_symlinks=False).st_mode) | path.is_symlink():
                yield path


def digest_of(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        # Of 128 bits, which is enough to tell files apart.
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

"""Keep an index's folder: which edition stands, by which settings, and that one process at a time writes.

INDEX/index.json       names the edition that stands, its settings and what it was made of
INDEX/edition-7/       chunks.db, terms.json and what the representation made; written once, never changed
INDEX/journal.db       what a run has done that was broken off
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afina import __version__
from afina.errors import AfinaError, UsageError, shown
from afina.json_files import read_json_object
from afina.links import open_unfollowed
from afina.retrieval.edition import Edition
from afina.retrieval.encoder import weights_digest
from afina.retrieval.representations.base import REPRESENTATIONS
from afina.retrieval.settings import IndexSettings
from afina.retrieval.stores.base import ELSEWHERE, store_for
from afina.whole_file import write_json

__all__ = ["FORMAT", "TERMS", "IndexFolder", "discard", "locked", "settings_that_differ", "weights_of"]

FORMAT = 1
"""Raised when what is written can no longer be read by an older Afina, or is cut otherwise."""
TERMS = "terms.json"
_INDEX = "index.json"


class IndexFolder:
    """The folder of an index, that may not be there yet."""

    def __init__(self, path: Path) -> None:
        """Take its path; raises `UsageError` for what no path can be."""
        if "\0" in str(path):
            raise UsageError(f"{shown(str(path))} is no path: it holds a NUL.")
        self.path = path

    def check_place(self) -> None:
        """Raise `UsageError` where something else is in the folder's place, so that nothing of it is touched."""
        if self.path.is_file():
            raise UsageError(f"{self.path} is a file; --out is the folder that the index gets.")
        # A folder that a killed first run left has none of these files, or only these.
        if self.path.is_dir() and not (self.path / _INDEX).is_file():
            foreign = [
                entry.name
                for entry in self.path.iterdir()
                if entry.name not in (".lock", "journal.db", "journal.db-journal")
                and not entry.name.startswith(("building-", "edition-", f".{_INDEX}."))
            ]
            if foreign:
                raise UsageError(f"{self.path} is no index and holds {foreign[0]}; give --out a folder of its own.")

    def read(self) -> dict[str, Any] | None:
        """Return what `index.json` says, None where there is none; raises `AfinaError` for one that cannot be used."""
        try:
            values = read_json_object(self.path / _INDEX, what_to_do="make the index again")
        except (FileNotFoundError, NotADirectoryError):
            return None
        number = values.get("format")
        # A newer form is cut otherwise, and an older one lacks what is looked for.
        if number != FORMAT:
            raise AfinaError(
                f"{self.path} is an index of format {number}, and this Afina reads format {FORMAT}: update Afina, or make it "
                "again with --force."
            )
        return values

    def opened(self) -> tuple[dict[str, Any], Edition]:
        """Return what `index.json` says, and the edition; raises `UsageError` where there is no index."""
        values = self.read()
        if values is None:
            why = "is no index" if self.path.exists() else "does not exist"
            raise UsageError(f"{self.path} {why}; make one: afina rag index DOCS --out {self.path}")
        return values, Edition(self.path / values["edition"])

    def edition(self) -> Edition | None:
        """Return the edition that stands, if one does."""
        values = self.read()
        return None if values is None else Edition(self.path / values["edition"])

    def next_number(self) -> int:
        """Return a number that no edition in the folder has."""
        numbers = [int(name.rpartition("-")[2]) for name in self._editions() if name.rpartition("-")[2].isdigit()]
        return max(numbers, default=0) + 1

    def check_weights(self, values: Mapping[str, Any], settings: IndexSettings) -> None:
        """Raise `UsageError` where the encoder is no longer the one that made the index's vectors, or is gone."""
        for place in filter(None, (settings.adapter, settings.model)):
            # A model of the hub may come back; a folder that is gone does not.
            if place.startswith("/") and not Path(place).exists():
                raise UsageError(
                    f"{self.path} was made with {place}, which is gone: put it back, or make the index anew with another "
                    "(--force)."
                )
        if weights_of(settings) != values["weights"]:
            which = settings.adapter or settings.model
            raise UsageError(
                f"{self.path} was made with other weights than {which} has now, so that questions and documents would not "
                "be comparable: make it anew with --force."
            )

    def publish(self, made: Path, number: int, settings: IndexSettings, roots: list[str], report: Any) -> None:
        """Let a new edition stand, and remove the others; after a kill at any moment one of the two stands."""
        # All of it on the disk before its name is.
        for path in sorted(made.rglob("*")):
            _sync(path)
        edition = self.path / f"edition-{number}"
        before, weights = self.read() or {}, weights_of(settings)
        made.rename(edition)
        _sync(self.path)
        values = {
            "format": FORMAT, "edition": edition.name, "settings": settings.as_dict(), "roots": roots,
            "weights": weights, "counts": report.counts, "facts": report.facts,
            "notes": report.notes, "afina": __version__,
        }  # fmt: skip
        # A threshold is of what is compared and how; with changed documents it still stands, and who uses it is told.
        if "threshold" in before and (before["settings"], before["weights"]) == (settings.as_dict(), weights):
            values["threshold"] = before["threshold"]
        write_json(self.path / _INDEX, values)
        # Only when the new one stands: a kill leaves both, and never none.
        for name in self._editions():
            if name != edition.name:
                discard(self.path / name)

    def keep_threshold(self, threshold: Mapping[str, Any] | None, edition: str) -> None:
        """Write a threshold into `index.json`, or take it out; raises `UsageError` where another edition stands by now."""
        with locked(self.path):
            values = self.read()
            # A threshold is of the passages on which it was found.
            if values is None or values["edition"] != edition:
                raise UsageError(f"{self.path} was changed while its threshold was looked for; give the command again.")
            values.pop("threshold", None)
            write_json(self.path / _INDEX, values if threshold is None else {**values, "threshold": threshold})

    def _editions(self) -> list[str]:
        names = (entry.name for entry in self.path.iterdir() if entry.is_dir()) if self.path.is_dir() else ()
        return [name for name in names if name.startswith(("edition-", "building-"))]


def discard(edition: Path) -> None:
    """Remove an edition, or what was built of one, with its vectors that lie elsewhere; nothing where there is none."""
    # Vectors in a data base are named by the folder that is about to go.
    for path in edition.rglob(ELSEWHERE):
        address = json.loads(path.read_text("utf-8"))[0]
        store_for(address, 0).remove(path.parent)
    shutil.rmtree(edition, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no other process write the index meanwhile; raises `UsageError` where one does."""
    with open_unfollowed(path / ".lock", "a+") as file:
        try:
            # Not waited for: a run may take hours, and its documents may be others.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip()
            raise UsageError(
                f"Another process{f' ({who})' if who else ''} is writing {path}; wait until it is done and give the command "
                "again."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def weights_of(settings: IndexSettings) -> str:
    """Return what tells the encoder's weights from others'; nothing where no vectors are made by it."""
    made = REPRESENTATIONS[settings.ranked_by](settings)
    # Words are compared without an encoder, whose weights are then nobody's concern.
    return weights_digest(settings) if any(part.embeds for part in made.parts) else ""


def settings_that_differ(before: IndexSettings, now: IndexSettings) -> str:
    """Return the first settings that are otherwise, in words; empty where none is."""
    old, new = before.as_dict(), now.as_dict()
    unlike = [f"{name} {_shown(old[name])}, not {_shown(new[name])}" for name in old if not _same(name, old, new)]
    return " and ".join(unlike[:2])


def _same(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, now = old[name], new[name]
    if name in ("model", "adapter") and now is not None and Path(now).exists():
        # A relative path and an absolute one may be one folder.
        now = str(Path(now).resolve())
    return bool(before == now) or (name in ("precision", "representation") and now == "auto")


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _sync(path: Path) -> None:
    """Have what was written on the disk before it is named."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Keep what a teacher said of a split's rows on disk: one array a kind, in the order of the rows, filled by and by.

A folder has `NAME.npy` for each array, (N, ...) for the N terms that have a label (rows, words or tokens), and `taught.json`,
which says how many rows are done. What a killed process had said is not asked again.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.data.tokens.tokens import Tokens
from afina.errors import AfinaError
from afina.whole_file import write_json

__all__ = ["Taught", "TaughtRows", "TaughtWriter", "places_of", "read_taught", "starts_of"]

_RECORD = "taught.json"


@dataclass(frozen=True, eq=False)
class Taught:
    """Holds what a teacher said of all train rows, read from its files as it is wanted."""

    arrays: Mapping[str, np.ndarray]
    """(N, ...) by name."""
    facts: Mapping[str, Any]
    """The `width` of the teacher's states, and the `seconds` that asking it took."""

    def at(self, places: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """Return what it said of these terms."""
        return {name: torch.from_numpy(np.array(own[places])).to(device) for name, own in self.arrays.items()}


@dataclass(frozen=True)
class TaughtRows:
    """Says where what a teacher said of the train rows is, and how it does itself on the test rows."""

    folder: Path
    metrics: Mapping[str, float]


def places_of(starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the numbers of the terms of these rows, in their order; `starts` has the first of each row, and the end."""
    counts = starts[rows + 1] - starts[rows]
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.repeat(starts[rows] - before, counts) + np.arange(int(counts.sum()))


def starts_of(tokens: Tokens) -> np.ndarray:
    """Return the number of the first term of each row, and behind them how many there are in all."""
    return np.concatenate([[0], np.cumsum(tokens.trained)])


class TaughtWriter:
    """Fills the arrays of a folder; it goes on where another process was broken off."""

    def __init__(self, folder: Path, terms: int) -> None:
        self.folder, self.terms = folder, terms
        folder.mkdir(parents=True, exist_ok=True)
        self._arrays: dict[str, np.memmap[Any, Any]] = {}
        self.done = self._go_on()

    def _go_on(self) -> int:
        """Return how many rows are done; 0 where nothing is, or what there is does not fit."""
        record = _record(self.folder)
        if record is None or record.get("terms") != self.terms:
            return 0
        try:
            arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r+") for name in record["arrays"]}
            done = int(record["done"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return 0
        if any(len(own) != self.terms for own in arrays.values()):
            return 0
        self._arrays = arrays
        return done

    def put(self, places: np.ndarray, values: Mapping[str, Tensor]) -> None:
        """Write what was said of these terms; raises `AfinaError` where the disk has no room for all of them."""
        if not self._arrays:
            self._begin({name: own.cpu().numpy() for name, own in values.items()})
        for name, value in values.items():
            self._arrays[name][places] = value.cpu().numpy()

    def _begin(self, some: Mapping[str, np.ndarray]) -> None:
        size = sum(self.terms * int(np.prod(own.shape[1:], dtype=np.int64)) * own.itemsize for own in some.values())
        if (free := shutil.disk_usage(self.folder).free) < size:
            raise AfinaError(
                f"What the teacher says takes {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {self.folder}; make "
                "room, set a train_limit, or keep less of each place (distil: {soft: {top: 16}})."
            )
        for name, value in some.items():
            self._arrays[name] = np.lib.format.open_memmap(
                self.folder / f"{name}.npy", mode="w+", dtype=value.dtype, shape=(self.terms, *value.shape[1:])
            )

    def reached(self, rows: int, facts: Mapping[str, Any] | None = None) -> None:
        """Say that so many rows are done, after their values are on the disk; `facts` when all are."""
        for array in self._arrays.values():
            array.flush()
        record = {"terms": self.terms, "done": rows, "arrays": sorted(self._arrays), "facts": facts}
        write_json(self.folder / _RECORD, record)


def read_taught(folder: Path) -> Taught | None:
    """Return what a teacher has said of all rows; None where it is not done, or is damaged."""
    record = _record(folder)
    if record is None or not isinstance(record.get("facts"), dict):
        return None
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in record["arrays"]}
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None
    return None if any(len(own) != record.get("terms") for own in arrays.values()) else Taught(arrays, record["facts"])


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / _RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None

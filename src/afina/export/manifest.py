"""Describe an exported folder in its `afina_export.json`: what it is, of which adapter, and how near it was to it.

The folder is used without Afina; what Afina does with it later (predict, evaluate, check) it does by this file, which names
the runtime that opens the folder and holds a digest of every other file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afina.adapters.record_file import check_fields, check_task
from afina.errors import AfinaError, likewise
from afina.json_files import read_json_object

__all__ = ["MANIFEST", "PROBE", "Manifest", "digest_of", "export_at", "is_export", "read_manifest", "write_manifest"]

MANIFEST = "afina_export.json"
PROBE = "probe.npz"
"""The file of an export's inputs and outputs at the time it was written."""
_AGAIN = "export the adapter again, or get the folder again"
_PERSONS = ("README.md",)
"""Files that people edit: they may change, or go."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Says what an exported folder is."""

    target: str
    """The name of its export target."""
    runtime: str
    """The name of the runtime that opens it."""
    runtime_version: str
    """The version of the runtime in which it was compared with the adapter."""
    source: dict[str, Any]
    """The adapter: its folder's name, the digest of its weights, method and base model."""
    task: dict[str, Any]
    """The state of the task whose outputs it gives, in their own unit."""
    max_length: int
    """Most tokens of a text."""
    precision: str
    """The precision of its weights."""
    inputs: list[str] = field(default_factory=list)
    """The names of its graph's inputs, if it is a graph."""
    reading: dict[str, Any] = field(default_factory=dict)
    """Facts that a program without Afina needs to turn a text or an image into inputs."""
    parity: dict[str, Any] = field(default_factory=dict)
    """The comparison with the adapter when it was written."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the programs that wrote it."""
    adapters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Where it holds several adapters, by name and in the order of their numbers, of each `source`, `task`, `max_length`,
    `reading`, `parity` and how many `outputs` are its own (None: all); what is said above is then of the first."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`bytes` and `sha256` of every other file by path, without those that people edit."""
    format: int = 1

    @property
    def labels(self) -> list[str] | None:
        """Return the names of its labels, None where it has none."""
        names = self.task.get("label_names")
        return None if names is None else list(names)


def is_export(folder: str | Path) -> bool:
    """Return whether a folder was written by an export that a runtime opens."""
    return (Path(folder) / MANIFEST).is_file()


def export_at(place: str | Path) -> Path | None:
    """Return the folder of an export, of it or of a file in it; None for anything else."""
    place = Path(place)
    if is_export(place):
        return place
    if place.is_file() and is_export(place.parent):
        return place.parent
    return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a folder whose other files are all there, with their digests."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_of(path)}
        # In order, so that the same folder has the same manifest.
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, *_PERSONS)
    }
    values = asdict(manifest) | {"files": files}
    (folder / MANIFEST).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: Path, *, files: bool = True) -> Manifest:
    """Read a folder's manifest, and hold its files against it, unless told that they have been changed since.

    Raises `AfinaError` in one sentence for one that is damaged or newer, and for files that are missing or changed.
    """
    path = folder / MANIFEST
    try:
        values = read_json_object(path, what_to_do=_AGAIN)
    except FileNotFoundError:
        raise AfinaError(f"{folder} is no export: it has no {MANIFEST}.") from None
    # A newer form may mean other things by the same keys.
    if isinstance(number := values.get("format"), int) and number > 1:
        raise AfinaError(f"{path} is of format {number}, which a newer Afina wrote; update it: pip install -U afina.")
    check_fields(path, values, Manifest)
    check_task(path, values["task"])
    manifest = Manifest(**values)
    if files:
        _check_files(folder, manifest.files)
    return manifest


def _check_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    missing, changed = [], []
    for name, facts in files.items():
        path = folder / name
        # A manifest from elsewhere could name any file of the machine.
        if not path.resolve().is_relative_to(folder.resolve()):
            raise AfinaError(f"{folder / MANIFEST} names {name}, which is not in its folder; {_AGAIN}.")
        if not path.is_file():
            missing.append((name, ""))
        # By size first, as it tells most damages without reading.
        elif path.stat().st_size != facts.get("bytes") or digest_of(path) != facts.get("sha256"):
            changed.append((name, ""))
    if missing:
        raise AfinaError(f"{folder} is incomplete: {missing[0][0]} is missing{likewise(missing)}; {_AGAIN}.")
    if changed:
        raise AfinaError(f"{folder} is damaged: {changed[0][0]} is not what was written{likewise(changed)}; {_AGAIN}.")


def digest_of(*paths: Path) -> str:
    """Return the SHA-256 of files, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

"""Data sets that a study is given as Python objects: kept in its folder, where its workers and a later start read them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afina.data.sources.frames import from_objects, is_objects
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["FOLDER", "with_files"]

FOLDER = "data"
"""The folder, in a study's, of rows that Python gave."""


def with_files(dataset: Any, out: Path) -> Any:
    """Return what a study says of its data with files in the place of objects.

    The files are written into the folder `out`; where a study has begun there they have to be equal to those that it began
    with. Raises `UsageError` for objects that are no data set, and for others than before.
    """
    # A list of data sets, and no list of rows: entries of a table have no path.
    if isinstance(dataset, list) and any(not isinstance(own, Mapping) or "path" in own for own in dataset):
        names = [f"data{place}" for place in range(1, len(dataset) + 1)]
        return [_kept(own, out, name) for own, name in zip(dataset, names, strict=True)]
    return _kept(dataset, out, "data")


def _kept(value: Any, out: Path, name: str) -> Any:
    if isinstance(value, Path):
        return str(value)
    if value is None or not is_objects(value):
        return value
    there = {own.name for own in out.iterdir()} if out.is_dir() else set()
    if "study.yaml" not in there and (strangers := sorted(there - {FOLDER, ".lock"})):
        raise UsageError(f"{out} is not empty and holds no study (it has {strangers[0]}); choose another folder.")
    # A study that has trained nothing yet may take what it is given now.
    if not there & {"results.jsonl", "runs", "search"}:
        return from_objects(value, out / FOLDER, name=name)
    with tempfile.TemporaryDirectory() as folder:
        spec = from_objects(value, Path(folder), name=name)
        path = out / FOLDER / Path(spec.path).name
        # By their bytes: Parquet's are the same for the same rows.
        if _files(Path(spec.path)) != _files(path):
            raise UsageError(
                f"{out} holds a study of other data than those that are given; give the same to go on with it, or choose "
                "another folder for these."
            )
    relocated: DatasetSpec = spec.model_copy(update={"path": str(path)})
    return relocated


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}

"""results.jsonl: one object a run, appended so that a kill can cost no more than the line being written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from afina.errors import UsageError
from afina.links import open_unfollowed, refuse_links_in
from afina.results.result import Result, result_of

__all__ = ["append_result", "lacks_adapter", "read_results"]


def append_result(directory: Path, result: Mapping[str, object]) -> None:
    """Append one result; a line torn by an earlier kill is ended first, so that it cannot take this one with it."""
    path = directory / "results.jsonl"
    line = json.dumps(result, ensure_ascii=False) + "\n"
    with open_unfollowed(path, "a+b") as file:
        # The file was opened for appending, so that its place is its end.
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
        file.flush()
        # On the disk before anything is built on it: what is entered here is not trained again.
        os.fsync(file.fileno())


def read_results(directory: Path) -> list[Result]:
    """Return the last result of every run, in the order in which the runs first came; a torn line is passed over.

    Raises `UsageError` when the folder is no study's.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} does not exist; give a study's folder.")
    refuse_links_in(directory)
    path = directory / "results.jsonl"
    if not path.exists():
        if (directory / "study.yaml").exists():
            return []
        raise UsageError(f"{directory} is no study's folder: it has no results.jsonl.")
    results: dict[str, Result] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            # By lines of bytes: a kill may tear a letter of several bytes, which no text could be read over.
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        what_to_do = "delete that line and run the study again, which enters what is finished anew"
        result = result_of(value, f"{path}, line {number},", what_to_do)
        results[result.run] = result
    return list(results.values())


def lacks_adapter(directory: Path, result: Result) -> bool:
    """Return whether a finished run has lost its adapter; results that came without the folder `runs` need none."""
    if not result.is_finished or result.adapter is None or not (directory / "runs").is_dir():
        return False
    folder = directory / result.adapter
    return not all((folder / name).is_file() for name in ("afina.json", "adapter_model.safetensors"))

"""Check what commands write for a person: never over what they read, over what is there only where that is asked for."""

from collections.abc import Iterable
from pathlib import Path

from afina.errors import UsageError
from afina.json_files import read_json_object

__all__ = ["check_only_ours", "check_outputs", "files_in"]


def check_outputs(
    outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None] = (), *, force: bool = False
) -> None:
    """Raise `UsageError` unless each file can be written: it is not read, holds no second result, and is not there yet.

    With `force` one that is there may be replaced, unless it is read. None stands for a file that was not asked for.
    """
    places = [Path(path) for path in outputs if path is not None]
    read = [Path(path) for path in inputs if path is not None]
    for number, path in enumerate(places):
        if any(_same(path, other) for other in read):
            raise UsageError(f"{path} is the file that is read; choose another name for the result.")
        if any(_same(path, other) for other in places[:number]):
            raise UsageError(f"{path} is to hold two results; choose another name for one of them.")
        if path.is_dir():
            raise UsageError(f"{path} is a folder; choose the name of a file.")
        if path.exists() and not force:
            raise UsageError(f"{path} exists already; choose another name, or --force to write over it.")


def files_in(folder: Path) -> list[str]:
    """Return the files of a folder and of those in it, by their paths from there."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    )


def check_only_ours(folder: Path, record: str) -> None:
    """Raise `UsageError` for a folder that is to be replaced and holds a file which its record does not list as written.

    `record` is the JSON file in it that has the names of all others as `files`.
    """
    written = read_json_object(folder / record).get("files")
    ours = {record, *map(str, written if isinstance(written, list) else ())}
    if strangers := [name for name in files_in(folder) if name not in ours]:
        raise UsageError(
            f"{folder} holds {strangers[0]}, which Afina did not write and which would go with it; move it away, or choose "
            "another --out."
        )


def _same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, also by links; one that is not there yet has its name alone."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # a name of the hub, or a file that is not there
        return one.resolve() == other.resolve()

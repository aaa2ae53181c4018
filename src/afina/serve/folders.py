"""Find adapters by name in folders: each alone, in a run's folder, or in a study's."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from afina.errors import UsageError

__all__ = ["Stamp", "adapters_in", "check_ordinary", "named_in", "stamp_of"]

Stamp = tuple[tuple[str, int, int, int, int], ...]
"""The name, size, times of writing and of any change, and inode of each file in a folder."""


def adapters_in(paths: list[Path], exported: Callable[[Path], bool] = lambda path: False) -> dict[str, Path]:
    """Return adapters by name: folders that are one, and those inside the others; and what was `exported` of some.

    An adapter that a study left is named after its run. Raises `UsageError` for a folder with none.
    """

    def is_one(path: Path) -> bool:
        return is_adapter(path) or exported(path)

    named: dict[str, Path] = {}
    for path in paths:
        # By any of the files by which an adapter is known.
        folders = {own.parent for own in path.rglob("*.json") if is_one(own.parent)}
        # What begins with a dot is still being written, or was when its process was killed.
        whole = sorted(own for own in folders if not any(part[0] == "." for part in own.relative_to(path).parts))
        inside = [path] if is_one(path) else whole
        if not inside:
            raise UsageError(f"{path} is no adapter and holds none: there is no adapter_config.json.")
        for folder in (own.resolve() for own in inside):
            if folder not in named.values():
                name = name_of(folder)
                # Two adapters of one name are told apart by a number, in the order of their folders.
                number = sum(other.partition("~")[0] == name for other in named)
                named[f"{name}~{number + 1}" if number else name] = folder
    return named


def named_in(folder: Path) -> dict[str, list[Path]]:
    """Return the adapters that stand in a folder, by name; a name that several have is nobody's, and has them all.

    They are DIR/NAME, DIR/NAME/adapter as a run leaves it, and DIR/runs/NAME/adapter as a study does.
    """
    named: dict[str, list[Path]] = {}
    for place in _places(folder):
        named.setdefault(name_of(place), []).append(place)
    return named


def _places(folder: Path) -> Iterator[Path]:
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        # One that nobody may look into keeps no other from being found.
        with suppress(PermissionError):
            yield from _within(inside)


def _within(inside: Path) -> Iterator[Path]:
    if inside.name.startswith(".") or not inside.is_dir():
        return  # what begins with a dot is still being written
    if is_adapter(inside):
        yield inside
    elif is_adapter(inside / "adapter"):
        yield inside / "adapter"
    elif inside.name == "runs":
        yield from (own / "adapter" for own in sorted(inside.iterdir()) if is_adapter(own / "adapter"))


def name_of(folder: Path) -> str:
    """Return an adapter's name: its folder's, or of one that a study left its run's."""
    if folder.is_file():
        # A file, such as a GGUF, is called by its name without its ending.
        return folder.stem
    return folder.parent.name if folder.name == "adapter" else folder.name


def is_adapter(path: Path) -> bool:
    """Return whether a folder holds the file by which an adapter is known."""
    return (path / "adapter_config.json").is_file() or (path / "afina.json").is_file()


def check_ordinary(folder: Path) -> None:
    """Raise `UsageError` for a folder that holds a pipe, a socket or a device: to read one may never end."""
    for file in sorted(folder.iterdir()):
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise UsageError(f"{file} is no ordinary file; copy the adapter again.")


def stamp_of(folder: Path) -> Stamp:
    """Return what tells a folder's contents from those that it had before, without reading them."""
    files = []
    try:
        there = sorted(folder.iterdir()) if folder.is_dir() else []
    except PermissionError:
        there = []  # whoever wants to read it is told
    for file in there:
        try:
            state = file.stat()
        except FileNotFoundError:
            continue  # gone since the folder was listed
        if file.is_file():
            # The inode too: a file that was replaced within one tick of the clock has another. And the time of any change:
            # a copy that keeps the time of writing is as large as what it replaces, and as old where both are 0.
            files.append((file.name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino))
    return tuple(files)

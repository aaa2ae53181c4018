"""Links among files that are ours: never followed, lest something else be read, emptied or removed in their place."""

import errno
import os
import stat
from pathlib import Path
from typing import IO, Any

from afina.errors import UsageError

__all__ = ["open_unfollowed", "refuse_link", "refuse_links_in"]


def refuse_link(path: Path) -> None:
    """Raise `UsageError` where a symbolic link stands in the place of a file or folder of ours; its parents may be links."""
    if path.is_symlink():
        raise _refused(path)


def refuse_links_in(folder: Path) -> None:
    """Raise `UsageError` for the first link, pipe or device below a folder of ours; the folder itself may be a link."""
    for place, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = Path(place, name)
            try:
                mode = path.lstat().st_mode
            except OSError:
                continue  # gone meanwhile: a file of another process that is being written
            if stat.S_ISLNK(mode):
                raise _refused(path)
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise _odd(path)


def open_unfollowed(path: Path, mode: str) -> IO[Any]:
    """Open a file of ours, unless it is a link: then raise `UsageError` and touch nothing."""
    try:
        return open(path, mode, encoding=None if "b" in mode else "utf-8", opener=_unfollowed)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(path) from None
        if error.errno == errno.ENXIO:
            raise _odd(path) from None
        raise


def _unfollowed(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)  # a pipe is not waited for


def _odd(path: Path) -> UsageError:
    return UsageError(f"{path} is no ordinary file; remove it from there.")


def _refused(path: Path) -> UsageError:
    try:
        target = f" to {path.readlink()}"
    except OSError:
        target = ""
    return UsageError(
        f"{path} is a link{target}, which is not followed: put the file itself there, or remove the link and try again."
    )

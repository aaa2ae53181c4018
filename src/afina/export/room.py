"""Say in one sentence that a disk is full, in whatever words the library that writes has for it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afina.errors import AfinaError

__all__ = ["room_for"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = ("no space left", "file too large", "quota exceeded", "requested and")
_LEFT = 1 << 20
"""Bytes on a disk with less of which what goes wrong is that it is full: runtimes say nothing of it."""


@contextmanager
def room_for(place: Path) -> Iterator[None]:
    """Raise `AfinaError` where what is written beside `place` finds no room."""
    try:
        yield
    except AfinaError:
        raise
    except Exception as error:
        if not _is_full(error, place):
            raise
        raise AfinaError(
            f"{place} cannot be written (the disk is full); make room there, or choose another --out."
        ) from error


def _is_full(error: BaseException, place: Path) -> bool:
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, OSError) and each.errno in _FULL:
            return True
        if any(words in str(each).lower() for words in _WORDS):
            return True
        each = each.__cause__ or each.__context__
    # Several write in C++, whose streams say no more than that they failed.
    return isinstance(error, RuntimeError | OSError) and shutil.disk_usage(place.resolve().parent).free < _LEFT

"""Files that are kept compressed: what is inside, and its bytes; one row a way of compressing."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from afina.errors import UsageError

__all__ = ["COMPRESSED", "contents", "format_of", "inner_name", "opened", "reading"]


_SHARE = 0.25
"""The share of free memory that a file's bytes may take: they are there again as text, and as rows."""
_PIECE = 1 << 24


def _gzip(path: Path) -> BinaryIO:
    import gzip

    return cast(BinaryIO, gzip.open(path, "rb"))


def _bzip2(path: Path) -> BinaryIO:
    import bz2

    return cast(BinaryIO, bz2.open(path, "rb"))


def _xz(path: Path) -> BinaryIO:
    import lzma

    return cast(BinaryIO, lzma.open(path, "rb"))


def _zstandard(path: Path) -> BinaryIO:
    import pyarrow as arrow

    # Arrow decompresses as it reads; the buffer adds lines to it.
    return cast(BinaryIO, io.BufferedReader(arrow.input_stream(str(path), compression="zstd")))


def _zip(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    return cast(BinaryIO, io.BufferedReader(archive.open(_only(archive, path))))


COMPRESSED: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": _gzip, ".bz2": _bzip2, ".xz": _xz, ".zst": _zstandard, ".zip": _zip,
}  # fmt: skip
"""Functions that open a compressed file, by its name's last ending."""


def _only(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """Return the one file of an archive, beside which macOS may have put its own."""
    members = [
        info
        for info in archive.infolist()
        if info.filename  # damaged, it may be empty
        and not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        # Hidden files are the system's own, as macOS' beside each file.
        and not Path(info.filename).name.startswith(".")
    ]
    if len(members) == 1:
        return members[0]
    listed = ", ".join(info.filename for info in members[:5]) + (", ..." if len(members) > 5 else "")
    raise UsageError(f"{path} holds {len(members)} files ({listed or 'none'}); unpack it, and give one of them.")


def contents(path: Path) -> bytes:
    """Return all bytes of a file, unpacked, to be read as a whole; read them within `reading`.

    Raises `UsageError` once they are more than this machine's free memory has room for: a small file may unpack to any size.
    """
    import psutil

    room = int(_SHARE * psutil.virtual_memory().available)
    with opened(path) as file:
        pieces: list[bytes] = []
        size = 0
        while piece := file.read(_PIECE):
            # Checked while it is read: the size that an archive states may be a lie.
            pieces.append(piece)
            if (size := size + len(piece)) > room:
                unpacked = "unpacks to" if path.suffix.lower() in COMPRESSED else "has"
                raise UsageError(
                    f"{path} {unpacked} more than {room / 1e9:.2g} GB, a quarter of the memory that is free, and is read "
                    "as a whole; divide it, or give a part of its rows."
                )
    return b"".join(pieces)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file, or with what is compressed in it, into one sentence."""
    try:
        yield
    except OSError as error:
        # An error of the system says so by its own words; without these it is the archive's.
        if error.strerror is None and path.suffix.lower() in COMPRESSED:
            raise UsageError(
                f"{path} cannot be unpacked ({error}); the file is damaged, or no {path.suffix}."
            ) from None
        raise UsageError(f"{path} cannot be read ({error.strerror or error}).") from None
    except Exception as error:
        # Each library has errors of its own (zlib.error, LZMAError, BadZipFile, EOFError, a password's RuntimeError).
        if isinstance(error, UsageError) or path.suffix.lower() not in COMPRESSED or not _unpacking(error):
            raise
        raise UsageError(f"{path} cannot be unpacked ({error}); the file is damaged, or no {path.suffix}.") from None


def _unpacking(error: Exception) -> bool:
    import lzma
    import zlib

    return isinstance(
        error, (zlib.error, lzma.LZMAError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError)
    )


def inner_name(path: Path) -> str:
    """Return the name of what a file holds: itself, or `mail.csv` of mail.csv.gz; raises for a zip of several files."""
    suffix = path.suffix.lower()
    if suffix not in COMPRESSED:
        return path.name
    inside = path.name[: -len(suffix)]
    # The name within says more than the name of the archive.
    if suffix == ".zip" and path.is_file():
        with reading(path), zipfile.ZipFile(path) as archive:
            inside = Path(_only(archive, path).filename).name
    return inside


def format_of(path: Path) -> str:
    """Return the ending, in lower case, that says what a file holds, compressed or not."""
    return Path(inner_name(path)).suffix.lower()


def opened(path: Path) -> BinaryIO:
    """Open a file's own bytes, or what is compressed in it; read them within `reading`."""
    suffix = path.suffix.lower()
    return COMPRESSED[suffix](path) if suffix in COMPRESSED else path.open("rb")

"""Keep the traceback of an error that nobody foresaw: `error.txt` in the folder of the run, or of the study."""

from pathlib import Path

from afina.errors import AfinaError, Unexpected
from afina.measure.hardware import versions
from afina.whole_file import write_text

__all__ = ["forget_trace", "with_trace"]

_FILE = "error.txt"


def with_trace(error: AfinaError, folder: Path) -> AfinaError:
    """Write the traceback of an unforeseen error into `folder` and return the error that says where it is.

    Any other error returns as it is: its sentence says all that there is to know.
    """
    if not isinstance(error, Unexpected):
        return error
    path = folder / _FILE
    installed = ", ".join(f"{name} {version}" for name, version in versions().items())
    write_text(path, f"{error}\n\n{error.trace}\n{installed}\n")
    return Unexpected(f"{error}; the whole traceback is in {path}, please report it.", error.trace)


def forget_trace(folder: Path) -> None:
    """Remove the traceback of an earlier try of a run that is now tried again."""
    (folder / _FILE).unlink(missing_ok=True)

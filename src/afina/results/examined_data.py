"""Read what a study's rows looked like before anything was trained (`corpus/examined.py`), as its folder keeps it."""

from pathlib import Path

from afina.corpus.examined import RowExamination
from afina.errors import AfinaError
from afina.json_files import read_json_object

__all__ = ["examination_path", "read_examination"]


def examination_path(directory: Path, digest: str) -> Path:
    """Return where the examination of the data set with this digest is kept."""
    return directory / "cache" / f"examined-{digest[:16]}.json"


def read_examination(directory: Path, digest: str) -> RowExamination | None:
    """Return what was found; None where it is not there, from before studies looked, or damaged: it is made again."""
    try:
        return RowExamination.of(read_json_object(examination_path(directory, digest)))
    except (AfinaError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None

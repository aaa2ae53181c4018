"""A study's folder, however a person names the study."""

from pathlib import Path
from typing import Protocol

__all__ = ["InFolder", "folder_of"]


class InFolder(Protocol):
    """Has a folder of results: a study."""

    @property
    def directory(self) -> Path: ...


def folder_of(study: str | Path | InFolder) -> Path:
    """Return the folder of a study that is given as one, or by its folder."""
    return Path(study) if isinstance(study, (str, Path)) else study.directory

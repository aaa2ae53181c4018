"""A study's folder, however a person names the study."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from afina.study.study import Study

__all__ = ["folder_of"]


def folder_of(study: "str | Path | Study") -> Path:
    """Return the folder of a study that is given as one, or by its folder."""
    return Path(study) if isinstance(study, (str, Path)) else study.directory

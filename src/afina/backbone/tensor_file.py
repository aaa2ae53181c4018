"""Writing tensors to a safetensors file, where a full disk is an error of the system like any other."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["save_tensors", "system_errors"]


def save_tensors(tensors: Mapping[str, "Tensor"], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors; raises `OSError` with the system's number where safetensors has it in its words alone."""
    from safetensors.torch import save_file

    # Made here first, so that the system says by itself if the folder cannot be written.
    path.touch()
    mode = path.stat().st_mode  # that of any new file here; the library's own is for its owner alone
    with system_errors(path):
        save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    path.chmod(mode)


@contextmanager
def system_errors(path: Path) -> Iterator[None]:
    """Raise what the system refused as the `OSError` that it is, where safetensors, writing to `path`, hides it in words."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if (code := re.search(r"os error (\d+)", str(error))) is None:
            # No error of the system: a file that is damaged, which is the caller's to name.
            raise
        number = int(code[1])
        raise OSError(number, os.strerror(number), str(path)) from error

"""Register the programs in which exports run; one more is one file in `runtimes/`.

An export target that writes for a runtime names it (`ExportTarget.runtime`). The runtime opens what was written before the
folder stands there, and again whenever `afina predict`, `afina evaluate` or `afina export --check` is given the folder.
"""

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.export.manifest import Manifest
from afina.registry import Registry

__all__ = ["RUNTIMES", "Runtime", "Session", "runtime", "runtime_of"]


class Session:
    """An exported folder, open in its runtime; a runtime overrides what its exports can do."""

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the export gives for a batch: logits (B, K), of tags (B, T, K), vectors (B, D), float32.

        Texts are `input_ids`, `attention_mask` and maybe `token_type_ids` (B, T), padded on either side; images are
        `pixel_values` (B, C, H, W).
        """
        raise NotImplementedError(f"{type(self).__name__} has no outputs of batches")

    def next_logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Return the logits (T, V) of what follows each token of a text, float32."""
        raise NotImplementedError(f"{type(self).__name__} does not write")

    def greedy(self, tokens: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        """Return the likeliest tokens after these, one after another, until one of `ends` (left out) or `most`."""
        raise NotImplementedError(f"{type(self).__name__} does not write")


class Runtime:
    """A program that runs exports; only its class is asked, as it holds nothing."""

    name: ClassVar[str] = ""
    package: ClassVar[str] = ""
    """What it is called by pip."""
    module: ClassVar[str] = ""
    """What it is imported as, where that is another name."""
    extra: ClassVar[str] = ""
    """Afina's extra that installs it."""
    file: ClassVar[str] = ""
    """What a folder's graph is called."""
    imports: ClassVar[tuple[str, ...]] = ()
    """What a program that runs it has to have besides, of what it would else do without."""

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Session:
        """Return a session with a folder whose files are whole; raises `AfinaError` for what it cannot open."""
        raise NotImplementedError(f"{cls.name} opens nothing")

    @classmethod
    def version(cls) -> str:
        """Return the version that is installed; raises `UsageError`, with what installs it, where none is."""
        if importlib.util.find_spec(cls.module or cls.package) is None:
            raise UsageError(
                f"To run what was exported, {cls.package} has to be there: pip install 'afina[{cls.extra}]'."
            )
        return importlib.metadata.version(cls.package)

    @classmethod
    def check_version(cls, folder: Path, manifest: Manifest) -> None:
        """Raise `AfinaError` where the runtime that is here is of another major version than the manifest's."""
        ours, theirs = cls.version(), manifest.runtime_version
        if ours.split(".")[0] != theirs.split(".")[0]:
            raise AfinaError(
                f"{folder} was compared with its adapter in {cls.package} {theirs}, and {ours} is here, of another major "
                f"version: pip install '{cls.package}=={theirs.split('.')[0]}.*', or export the adapter again."
            )


RUNTIMES: Registry[type[Runtime]] = Registry("runtime", "afina.export.runtimes", "runtime")
"""All runtimes by name."""

runtime = RUNTIMES.register


def runtime_of(folder: Path, manifest: Manifest) -> type[Runtime]:
    """Return the runtime of a folder, in a version that may open it; raises `AfinaError` where there is none."""
    if manifest.runtime not in RUNTIMES:
        raise AfinaError(
            f"{folder} is for the runtime {manifest.runtime!r}, which this Afina does not know; update it."
        )
    found = RUNTIMES[manifest.runtime]
    found.check_version(folder, manifest)
    return found

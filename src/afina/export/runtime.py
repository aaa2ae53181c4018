"""Register the programs in which exports run; one more is one file in `runtimes/`.

An export target that writes for a runtime names it (`ExportTarget.runtime`). The runtime opens what was written before the
folder stands there, and again whenever `afina predict`, `afina evaluate` or `afina export --check` is given the folder.
"""

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.export.manifest import Manifest, export_at
from afina.registry import Registry

if TYPE_CHECKING:
    from afina.generation.rows import ChosenToken, Row
    from afina.generation.template import Template

__all__ = ["RUNTIMES", "Runtime", "Session", "is_run", "runner_of", "runtime", "runtime_of"]


class Session:
    """An exported folder, open in its runtime; a runtime overrides what its exports can do."""

    tokenizer: Any = None
    """The runtime's own tokenizer, if it has one; else the folder's is used."""
    template: "Template | None" = None
    """The runtime's own chat template, if it has one; else the task's or the tokenizer's is used."""
    notes: tuple[str, ...] = ()
    """Notes for whoever asks it."""

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the export gives for a batch: logits (B, K), of tags (B, T, K), vectors (B, D), float32.

        Texts are `input_ids`, `attention_mask` and maybe `token_type_ids` (B, T), padded on either side; images are
        `pixel_values` (B, C, H, W).
        """
        raise NotImplementedError(f"{type(self).__name__} has no outputs of batches")

    def next_logits(self, tokens: Sequence[int], read: int | None = None) -> np.ndarray:
        """Return the logits (T, V) of what follows each token of a text, float32.

        Its first `read` tokens, all unless given, are read as a prompt is, whose ends some methods act at.
        """
        raise NotImplementedError(f"{type(self).__name__} does not write")

    # -- what follows from `next_logits`, which a runtime does faster where it can

    def answered(self, prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
        """Return the logits (1 + A, V) of what follows a prompt, and then each of an answer's tokens."""
        logits: np.ndarray = self.next_logits([*prompt, *answer], len(prompt))[len(prompt) - 1 :]
        return logits

    def following(self, tokens: Sequence[int], written: Sequence[int] = ()) -> np.ndarray:
        """Return the logits (V,) of what follows a prompt and what was written behind it.

        Mostly it is what was asked last with a token more.
        """
        logits: np.ndarray = self.next_logits([*tokens, *written])[-1]
        return logits

    def said(self, tokens: Sequence[int], start: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-probability of each token from `start` (1 or more) on, and whether it was the likeliest."""
        logits = self.answered(tokens[:start], tokens[start:-1]).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = logits[np.arange(len(logits)), tokens[start:]]
        return chosen - np.log(np.exp(logits).sum(axis=1)), chosen == 0

    def go_on(self, row: "Row") -> "Iterator[ChosenToken]":
        """Yield the tokens that follow a row's own, chosen by its settings and its random numbers, while it takes them.

        It stops where the runtime itself ends a text; who asks stops where else one ends.
        """
        import torch

        from afina.generation.sampling import choose

        while True:
            logits = torch.from_numpy(self.following(row.request.prompt, row.tokens))[None]
            (chosen,) = choose([row], logits)
            if chosen is None:
                raise AfinaError("What was exported scores the next token by what is no number.")
            yield chosen

    def greedy(self, tokens: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        """Return the likeliest tokens after these, one after another, until one of `ends` (left out) or `most`."""
        written: list[int] = []
        while len(written) < most and (token := int(self.following(tokens, written).argmax())) not in ends:
            written.append(token)
        return written


class Runtime:
    """A program that runs exports; only its class is asked, as it holds nothing."""

    name: ClassVar[str] = ""
    package: ClassVar[str] = ""
    """Its package's name for pip."""
    module: ClassVar[str] = ""
    """The module to import, if its name differs from the package's."""
    extra: ClassVar[str] = ""
    """Afina's extra that installs it."""
    file: ClassVar[str] = ""
    """The name of the graph's file in a folder."""
    suffix: ClassVar[str] = ""
    """The suffix of files that it runs as they are, whoever wrote them."""
    draws: ClassVar[bool] = False
    """True if it draws tokens by its own random numbers, so that a seed gives other texts than the adapter's."""
    imports: ClassVar[tuple[str, ...]] = ()
    """Further modules that a program needs in order to run it."""

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Session:
        """Return a session with a folder whose files are whole; raises `AfinaError` for what it cannot open."""
        raise NotImplementedError(f"{cls.name} opens nothing")

    @classmethod
    def alone(cls, path: Path) -> Manifest:
        """Return what there is to know of a file (of its `suffix`) that no export of Afina's stands around."""
        raise NotImplementedError(f"{cls.name} opens folders")

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
    runtime = RUNTIMES[manifest.runtime]
    runtime.check_version(folder, manifest)
    return runtime


def runner_of(file: Path) -> type[Runtime] | None:
    """Return the runtime that takes a file as it is, whoever wrote it; None where none does."""
    if not file.is_file():
        return None
    return next((own for own in RUNTIMES.values() if own.suffix and own.suffix == file.suffix.lower()), None)


def is_run(place: str | Path) -> bool:
    """Return whether a runtime, not torch, answers for what is there: an export's folder, a file in it, another's file."""
    return export_at(place) is not None or runner_of(Path(place)) is not None


def threads() -> int:
    """Return how many threads a runtime is to have: OMP_NUM_THREADS, as torch, or 0 for its own choice.

    More threads than cores that are free wait for one another: where others share them, a row may take ten times as long.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else 0

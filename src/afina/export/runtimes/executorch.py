"""Run a `model.pte` in ExecuTorch, on the processor; its Python runtime takes and gives tensors of torch."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError
from afina.export.manifest import Manifest
from afina.export.runtime import Runtime, Session, runtime
from afina.export.writing.session import WritingSession

__all__ = ["ExecutorchRuntime", "ExecutorchSession", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what importing its packages says of parts of theirs that nothing here needs."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


@contextmanager
def _unsaid(words: str) -> Iterator[None]:
    """Leave out lines with these words of what a library in C++ writes to standard error, which Python's own does not see."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        standard_error = os.dup(2)
        try:
            os.dup2(held.fileno(), 2)
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            held.seek(0)
            for line in held:
                if words.encode() not in line:
                    os.write(2, line)


class ExecutorchSession(Session):
    """Runs a program of one method, a few rows at a time."""

    def __init__(self, method: Any, inputs: Sequence[str], most: int) -> None:
        self.method, self.inputs, self.most = method, tuple(inputs), most

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        count = len(inputs[self.inputs[0]])
        outputs = []
        for start in range(0, count, self.most):
            part = {name: inputs[name][start : start + self.most] for name in self.inputs}
            outputs.append(_executed(self.method, _tensors(part, self.inputs))[0])
        return np.concatenate(outputs)


def _tensors(given: Mapping[str, np.ndarray], names: Sequence[str]) -> list[Any]:
    import torch

    # Copied: of an array without numbers, as keys are before the first token, numpy's strides are none that it takes.
    return [torch.from_numpy(given[name]).clone(memory_format=torch.contiguous_format) for name in names]


def _executed(method: Any, given: Sequence[Any]) -> list[np.ndarray]:
    """Return what a program gives for tensors, in memory of our own: in its own the next call writes over it."""
    try:
        return [output.numpy().copy() for output in method.execute(given)]
    except RuntimeError as error:
        raise AfinaError(
            f"ExecuTorch cannot run what was exported for {len(given[0])} rows of shape {list(given[0].shape[1:])} ({error})."
        ) from None


@runtime("executorch")
class ExecutorchRuntime(Runtime):
    """Runs ExecuTorch programs."""

    package = "executorch"
    extra = "executorch"
    file = "model.pte"
    imports = ("torch",)

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> Session:
        with quiet():
            from executorch.runtime import Runtime as Executor

            try:
                with _unsaid("cpuinfo_utils.cpp"):  # it looks for a phone's processor, and tells that there is none
                    method = Executor.get().load_program(folder / cls.file).load_method("forward")
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                raise AfinaError(f"{folder / cls.file} cannot be opened by executorch ({reason}).") from None
        if (wanted := method.metadata.num_inputs()) != len(manifest.inputs):
            raise AfinaError(
                f"{folder / cls.file} takes {wanted} inputs, and its manifest names {len(manifest.inputs)} of them."
            )
        if "kept" in manifest.reading:
            return WritingSession(lambda given: _executed(method, _tensors(given, manifest.inputs)), manifest)
        return ExecutorchSession(method, manifest.inputs, int(manifest.reading["most"]["rows"]))

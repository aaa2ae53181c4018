"""Have transformers read a model's tensors one at a time into memory of their own, where it would map its files whole.

A mapped file's pages stay in memory as long as it is open, so that a model that is quantised while it is read would take its
plain size beside its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from afina.ops.allocator import give_back_freed_memory

__all__ = ["reading_apart"]

_OFTEN = 1 << 25
"""Bytes that are read before freed memory is given back: copies of weights leave gaps between quantised ones."""


@contextmanager
def reading_apart() -> Iterator[None]:
    """Read tensor by tensor within what transformers opens; other threads that load a model meanwhile read so too."""
    from safetensors import safe_open
    from transformers import modeling_utils

    class Apart:
        """Opens a file as `safe_open` does, and gives slices that are read when they are asked for."""

        def __init__(self, file: Any, framework: str, **how: Any) -> None:
            self._file: Any = safe_open(file, framework=framework, **{**how, "backend": "pread"})

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __exit__(self, *error: Any) -> None:
            self._file.__exit__(*error)

        def get_slice(self, name: str) -> Any:
            return Slice(self._file.get_slice(name))

    class Slice:
        """Reads a tensor in a file, or a part of it, where it is asked for."""

        def __init__(self, part: Any) -> None:
            self._part = part

        def __getattr__(self, name: str) -> Any:
            return getattr(self._part, name)

        def __getitem__(self, place: Any) -> Any:
            tensor = self._part[place]
            read[0] += tensor.numel() * tensor.itemsize
            if read[0] > _OFTEN:
                read[0] = 0
                give_back_freed_memory()
            return tensor

    read = [0]
    before, modeling_utils.safe_open = modeling_utils.safe_open, Apart
    try:
        yield
    finally:
        modeling_utils.safe_open = before
        give_back_freed_memory()

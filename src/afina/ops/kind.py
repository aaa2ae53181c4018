"""Tell on what kind of device a tensor is, as the forms of operations go by it.

A rehearsal (`study/rehearsal.py`) has tensors without numbers, which lie on the CPU whatever device is rehearsed: torch's
autograd asks a card's driver even where nothing is computed. So the kind may be said to be another for a while.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["kind_of", "pretended"]

_PRETENDED: ContextVar[str | None] = ContextVar("pretended", default=None)


def kind_of(tensor: Tensor) -> str:
    """Return `cpu`, `cuda` and so on."""
    # Nothing is pretended in a graph that is being compiled, whose compiler does not know such variables.
    return tensor.device.type if torch.compiler.is_compiling() else _PRETENDED.get() or tensor.device.type


@contextmanager
def pretended(kind: str) -> Iterator[None]:
    """Have all tensors be of this kind within."""
    mark = _PRETENDED.set(kind)
    try:
        yield
    finally:
        _PRETENDED.reset(mark)

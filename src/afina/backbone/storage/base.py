"""Define what a weight storage is, and keep the registry of them.

One more is one file in this folder: a class under `@storage("name")` that says what it computes in, what it needs, and, where
weights are kept in fewer bits than they compute with, how transformers makes them and how they are read back.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from afina.registry import Registry

__all__ = ["STORAGES", "Packed", "Storage", "elsewhere", "imitated", "other_machine", "storage", "worth_trying"]

_ELSEWHERE: ContextVar[bool | None] = ContextVar("elsewhere", default=None)


class Storage:
    """A way of keeping the weights of linear layers; everything is asked of the class, of which nothing is made."""

    name: ClassVar[str] = ""
    dtype: ClassVar[torch.dtype | None] = None
    """Type in which weights are kept and computed; None where they are kept in fewer bits than they compute with."""
    exact: ClassVar[bool] = False
    """True for the one storage in which weights train and against which differences are measured (`precision.EXACT`)."""
    tried: ClassVar[bool] = False
    """True if `precision: auto` times steps in it, where the device computes in it (`here`)."""
    arithmetic: ClassVar[str] = ""
    """Arithmetic that the device needs for that, in words."""
    trains_weights: ClassVar[bool] = True
    """True if a method may train the weights themselves (from float32, computing in `dtype`)."""

    @classmethod
    def compute(cls, device: str) -> torch.dtype:
        """Return what a model computes in on a device."""
        assert cls.dtype is not None, f"{cls.__name__} says what it computes in"
        return cls.dtype

    @classmethod
    def here(cls, device: str) -> bool:
        """Return whether a device computes in it rather than imitating it."""
        return True

    @classmethod
    def autocast(cls) -> torch.dtype | None:
        """Return what a model computes in whose own weights train in float32, None for float32 itself."""
        return None if cls.dtype == torch.float32 else cls.dtype


class Packed(Storage):
    """A storage in fewer bits than a layer computes with; only linear layers' weights are kept in it."""

    trains_weights = False
    usual: ClassVar[bool] = False
    """True for the one storage that methods get which want a quantised base (`precision.QUANTISED`)."""
    keeps_inputs: ClassVar[bool] = False
    """True if a layer keeps its input for the backward pass by itself, where no hook of autograd's sees it."""
    weight_class: ClassVar[str] = ""
    """The class of such weights, by name: the library that makes them is imported only where something is quantised. Empty
    where the layer itself says how it is stored."""

    @classmethod
    def compute(cls, device: str) -> torch.dtype:
        """Return bfloat16 where the device computes in it; else float16 on a GPU, and float32 on a CPU.

        A CPU that imitates bfloat16 took 7 times as long as in float32 for a product and 40 times for its gradient.
        """
        # Asked of the storage that is bfloat16, so that one place knows what devices can do.
        if any(kind.here(device) for kind in STORAGES.values() if kind.dtype == torch.bfloat16):
            return torch.bfloat16
        return torch.float16 if device.startswith("cuda") else torch.float32

    @classmethod
    def configuration(cls, compute: torch.dtype, keep: Sequence[str]) -> Any:
        """Return transformers' configuration for it; modules whose path `keep` matches stay as they are.

        Raises `UsageError` where the library that it needs is not installed.
        """
        raise NotImplementedError

    @classmethod
    def made(cls, configuration: dict[str, Any]) -> bool:
        """Return whether a checkpoint's `quantization_config` says that its weights are kept so already."""
        raise NotImplementedError

    @classmethod
    def fits(cls, width: int, device: str) -> bool:
        """Return whether layers of so many inputs can be kept so on a device; others stay plain."""
        return True

    @classmethod
    def full(cls, module: nn.Module) -> Tensor:
        """Return a layer's weight (out, in) as it computes, dequantised anew."""
        raise NotImplementedError

    @classmethod
    def size(cls, rows: int, columns: int) -> int:
        """Return the bytes of a weight (rows, columns), its scales included."""
        raise NotImplementedError

    @classmethod
    def size_of(cls, module: nn.Module) -> int:
        """Return the bytes of a layer's weight, its scales included; a layer on `meta` will do."""
        weight: Any = module
        return cls.size(weight.out_features, weight.in_features)


STORAGES: Registry[type[Storage]] = Registry("storage", "afina.backbone.storage")
"""All storages by name."""
storage = STORAGES.register


def worth_trying(device: str) -> list[type[Storage]]:
    """Return the storages that `precision: auto` times on a device beside the exact one."""
    return [kind for kind in STORAGES.values() if kind.tried and kind.here(device)]


def imitated(device: str) -> list[str]:
    """Return the names of storages that a device does not compute in itself."""
    return [kind.name for kind in STORAGES.values() if not kind.here(device)]


@contextmanager
def elsewhere(bfloat16: bool) -> Iterator[None]:
    """Take every device within to be another machine's, which computes in bfloat16 or does not."""
    mark = _ELSEWHERE.set(bfloat16)
    try:
        yield
    finally:
        _ELSEWHERE.reset(mark)


def other_machine() -> bool | None:
    """Return whether the machine that is planned for computes in bfloat16; None where it is this one."""
    return _ELSEWHERE.get()

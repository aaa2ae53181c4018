"""Stand for tensors by a shape, a type and a storage of a size, without numbers: a model of any size is run in a moment.

What an operation makes of them is asked of torch's fake tensors once for the sizes and types that it meets, and known from
then on: asking takes 0.2 to 1 ms an operation, a hundred times as long as looking it up.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

__all__ = ["Extent", "Foreseen", "MadeTensor", "Numberless", "described", "outcome"]

_CPU = torch.device("cpu")
_OWN = -1


class Extent:
    """Stands for a storage of so many bytes, and tells when nothing needs it any more."""

    __slots__ = ("gone", "number", "size")

    def __init__(self, size: int) -> None:
        self.size, self.number = size, 0
        self.gone: Callable[[int], None] | None = None

    def __del__(self) -> None:
        if self.gone is not None:
            self.gone(self.number)


_FORMS: dict[tuple[Any, ...], int] = {}
"""A number for each shape, stride, offset and type that was met: quicker to compare than these."""


def _form(size: Sequence[int], stride: Sequence[int], offset: int, dtype: torch.dtype) -> int:
    return _FORMS.setdefault((tuple(size), tuple(stride), offset, dtype), len(_FORMS))


class Numberless(Tensor):
    """A tensor of the CPU without numbers; it lives within `Storages` alone, which computes with it."""

    block: Extent
    form: int
    """The number of its shape, stride, offset and type, which other tensors may share."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(
        cls, size: Sequence[int], stride: Sequence[int], offset: int, dtype: torch.dtype, block: Extent,
        form: int | None = None,
    ) -> "Numberless":  # fmt: skip
        made: Numberless = Tensor._make_wrapper_subclass(
            cls, size, strides=stride, storage_offset=offset, dtype=dtype, device=_CPU
        )
        made.block = block
        made.form = _form(size, stride, offset, dtype) if form is None else form
        return made

    @classmethod
    def like(cls, value: Tensor, block: Extent) -> "Numberless":
        """Return one that lies in this storage as another tensor does in its own."""
        return cls(value.shape, value.stride(), int(value.storage_offset()), value.dtype, block)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} was called on a tensor without numbers where nobody counts")


class MadeTensor(NamedTuple):
    """Says what a tensor is that an operation gives."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    of: int
    """The place of the argument whose storage it lies in; `_OWN` where it has one of its own."""
    itself: bool
    """True where it is that argument, changed in place."""
    bytes: int
    form: int
    """Its number in `_FORMS`."""

    @classmethod
    def fresh(cls, size: tuple[int, ...], dtype: torch.dtype) -> "MadeTensor":
        """Return a tensor with a storage of its own, laid out row by row."""
        stride, step = [], 1
        for length in reversed(size):
            stride.append(step)
            step *= max(1, length)
        laid = tuple(stride[::-1])
        return cls(size, laid, 0, dtype, _OWN, False, math.prod(size) * dtype.itemsize, _form(size, laid, 0, dtype))

    def from_(self, given: Sequence[Tensor]) -> Tensor:
        """Return the tensor, of these arguments."""
        if self.of == _OWN:
            return Numberless(self.size, self.stride, self.offset, self.dtype, Extent(self.bytes), self.form)
        source = given[self.of]
        if self.itself:
            return source
        assert isinstance(source, Numberless), "only tensors without numbers have others within them"
        return Numberless(self.size, self.stride, self.offset, self.dtype, source.block, self.form)


class Foreseen(NamedTuple):
    """Says what an operation gives: tensors and other values as they stand, and how they hang together."""

    leaves: list[Any]
    together: Any
    """torch's description of the tree; None for one value, `list` or `tuple` for several of them."""
    lasting: bool
    """True where the same arguments always give the same: what is no tensor may go by how torch is set."""

    def values(self, given: Sequence[Tensor]) -> Any:
        """Return what the operation gives of these arguments."""
        if self.together is None:
            return _value(self.leaves[0], given)
        values = [_value(leaf, given) for leaf in self.leaves]
        return self.together(values) if self.together in (list, tuple) else tree_unflatten(values, self.together)


def _value(leaf: Any, given: Sequence[Tensor]) -> Any:
    return leaf.from_(given) if leaf.__class__ is MadeTensor else leaf


def described(value: Any, given: list[Tensor]) -> Any:
    """Return what of an argument decides about an operation's outcome, and add its tensors to `given`, in their order."""
    kind = value.__class__
    if kind is Numberless:
        given.append(value)
        return value.form
    if kind is tuple or kind is list:
        return kind, *[described(own, given) for own in value]
    if isinstance(value, Tensor):
        given.append(value)
        return _form(value.shape, value.stride(), int(value.storage_offset()), value.dtype)
    # With the kind: 1, 1.0 and True are one key to Python, and give tensors of other types.
    return (kind, *described(tuple(value.items()), given)) if kind is dict else (kind, value)


def outcome(fake: FakeTensorMode, func: Any, args: Any, kwargs: Any, given: Sequence[Tensor]) -> Foreseen:
    """Ask torch what an operation gives of these arguments, of which `given` are the tensors in their order.

    Raises `RuntimeError` where that goes by numbers, and where an argument would be of another shape afterwards.
    """
    with fake:
        asked = [_fake(value) for value in given]
        in_order = iter(asked)
        output = func(*tree_map_only(Tensor, lambda _: next(in_order), args), **_replaced(kwargs, in_order))
    storages = {own.untyped_storage()._cdata: place for place, own in enumerate(asked)}
    for value, without in zip(given, asked, strict=True):
        if value.shape != without.shape or value.stride() != without.stride():
            raise RuntimeError(f"{func} gives its argument another shape")
    leaves, spec = tree_flatten(output)
    made = [_made(leaf, asked, storages) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    flat = output.__class__ in (list, tuple) and len(output) == len(leaves)
    together = None if output is None or not isinstance(output, list | tuple) else output.__class__ if flat else spec
    return Foreseen(made, together, all(leaf is None or isinstance(leaf, Tensor) for leaf in leaves))


def _replaced(kwargs: Any, in_order: Iterator[Tensor]) -> Any:
    return tree_map_only(Tensor, lambda _: next(in_order), kwargs) if kwargs else kwargs


def _fake(value: Tensor) -> Tensor:
    """Return torch's fake tensor of this shape, in a storage as large."""
    if not isinstance(value, Numberless):
        return value
    made = torch.empty(-(-value.block.size // value.itemsize), dtype=value.dtype)
    return made.as_strided(value.shape, value.stride(), value.storage_offset())


def _made(leaf: Tensor, asked: Sequence[Tensor], storages: dict[int, int]) -> MadeTensor:
    storage = leaf.untyped_storage()
    itself = next((place for place, own in enumerate(asked) if own is leaf), None)
    of = storages.get(storage._cdata, _OWN) if itself is None else itself
    lies = tuple(leaf.shape), leaf.stride(), int(leaf.storage_offset()), leaf.dtype
    return MadeTensor(*lies, of, itself is not None, storage.nbytes(), _form(*lies))

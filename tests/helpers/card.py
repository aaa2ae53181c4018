"""A device that there is not: tensors that say they are on `cuda` and refuse to be mixed with those that are not.

Their numbers lie in ordinary tensors, so that everything can be computed here; what it shows is where a GPU would have
refused: a mask, an index, a weight that was made on the CPU and never moved. As on a real card a number (a tensor without
dimensions) of the CPU may join in, and only a copy brings anything there or back. What it cannot show is a kernel's fault,
memory, or streams: for these see `benchmarks/gpu_check.sh`.

    with card():
        backbone = on_card(load_backbone(folder))
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["CARD", "OnCard", "card", "on_card"]

CARD = torch.device("cuda:0")
_aten = torch.ops.aten
_INDEXED = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default)
_now = threading.local()


class OnCard(Tensor):
    """A tensor whose numbers are in `held`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, *, requires_grad: bool = False) -> "OnCard":
        made: OnCard = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=held.device, requires_grad=requires_grad,
        )  # fmt: skip
        made.held = held
        return made

    device = property(lambda self: CARD)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [value for value in tree_flatten((args, kwargs or {}))[0] if isinstance(value, Tensor)]
        # A card takes indices from the CPU, and copies them.
        indices = args[1] if func in _INDEXED else ()
        plain = [
            value for value in given if not isinstance(value, OnCard) and not any(value is index for index in indices)
        ]
        copies = func in (_aten.copy_.default, _aten._to_copy.default)
        if not copies and (strays := [value for value in plain if value.ndim]):
            raise RuntimeError(
                f"{func}: expected all tensors to be on the same device, but one of {tuple(strays[0].shape)}, "
                f"{strays[0].dtype}, is on the CPU"
            )
        if not copies and func._schema.name.endswith("_") and args and any(args[0] is value for value in plain):
            raise RuntimeError(f"{func}: what is changed is on the CPU, and what changes it on the card")
        result = func(*tree_map(_held, args), **tree_map(_held, kwargs or {}))
        if copies and func is _aten.copy_.default:
            return args[0]
        # What is changed in place is the tensor that was given.
        of = {id(value.held): value for value in given if isinstance(value, OnCard)}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return of[id(value)] if id(value) in of else OnCard(value)

        return tree_map(wrapped, result)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnCard) else value


class _Made(TorchDispatchMode):
    """What torch makes within an operation (zeros of a backward pass) is where the operation is."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = "device" in {argument.name for argument in func._schema.arguments}
        if not made or getattr(_now, "asked", None) is not None or not getattr(_now, "within", False):
            return result
        return OnCard(result) if isinstance(result, Tensor) and not isinstance(result, OnCard) else result


class _Asked(TorchFunctionMode):
    """What Python asks for: factories and copies name their device, which is the card or the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("numpy", "__array__") and isinstance(args[0], OnCard):
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
        if name == "tolist" and isinstance(args[0], OnCard):  # which torch refuses of any subclass
            return args[0].detach().held.tolist()
        if name in ("to", "cuda", "cpu", "type_as") and args and isinstance(args[0], Tensor):
            return self._moved(func, name, args, kwargs)
        if kwargs.get("device") is not None and not isinstance(kwargs["device"], int):
            there = torch.device(kwargs["device"]).type == CARD.type
            with _asking(func):
                made = func(*tree_map(_held, args), **{**kwargs, "device": "cpu"})
            return (
                tree_map(lambda value: OnCard(value) if isinstance(value, Tensor) else value, made) if there else made
            )
        if not any(isinstance(value, OnCard) for value in tree_flatten((args, kwargs))[0]):
            with _asking(func):
                return func(*args, **kwargs)
        with _within():
            return func(*args, **kwargs)

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        value, *rest = args
        where = {"cuda": CARD, "cpu": torch.device("cpu")}.get(name, kwargs.pop("device", None))
        kept = []
        for other in rest if name in ("to", "type_as") else ():
            if isinstance(other, Tensor):
                where = CARD if isinstance(other, OnCard) else torch.device("cpu")
                kept.append(other.dtype)
            elif isinstance(other, (str, torch.device)):
                where = torch.device(other)
            elif isinstance(other, torch.dtype):
                kept.append(other)
        kwargs = {key: own for key, own in kwargs.items() if key in ("dtype", "copy", "memory_format")}
        with _within() if isinstance(value, OnCard) else _asking(func):
            changed = Tensor.to(value, *kept, **kwargs) if kept or kwargs else value
        if where is None or (where.type == CARD.type) == isinstance(changed, OnCard):
            return changed
        return _Moved.apply(changed, where.type == CARD.type)  # type: ignore[no-untyped-call]


class _Moved(torch.autograd.Function):
    """A copy from one to the other, whose gradient goes back the same way."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, there: bool) -> Tensor:
        ctx.there = there
        return OnCard(value.detach().clone()) if there else _held(value).clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _held(gradient).clone() if ctx.there else OnCard(gradient), None


@contextlib.contextmanager
def _asking(func: Any) -> Iterator[None]:
    before, _now.asked = getattr(_now, "asked", None), func
    try:
        yield
    finally:
        _now.asked = before


@contextlib.contextmanager
def _within() -> Iterator[None]:
    before, _now.within = getattr(_now, "within", False), True
    try:
        yield
    finally:
        _now.within = before


def _without_gradients(mode: Any) -> None:
    mode.before = torch.is_grad_enabled()
    torch.set_grad_enabled(mode.before and not mode.mode)


def _as_before(mode: Any, *_: Any) -> None:
    torch.set_grad_enabled(mode.before)


@contextlib.contextmanager
def card() -> Iterator[None]:
    """Within this block there is a card."""
    with pytest.MonkeyPatch.context() as patch, _Asked(), _Made():
        patch.setattr(torch.cuda, "synchronize", lambda *own: None)
        # In which wrapped tensors cannot be made: of it only that nothing gets a gradient.
        patch.setattr(torch.inference_mode, "__enter__", _without_gradients)
        patch.setattr(torch.inference_mode, "__exit__", _as_before)
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # `module.to` makes new parameters
        try:
            yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)


def on_card(backbone: Any) -> Any:
    """Move a backbone to the card, in place, as loading it there would have; return it."""
    moved: dict[int, Any] = {}

    def there(value: Tensor) -> Any:
        if id(value) not in moved:  # what is tied stays so
            held = OnCard(value.detach())
            moved[id(value)] = (
                torch.nn.Parameter(held, value.requires_grad) if isinstance(value, torch.nn.Parameter) else held
            )
        return moved[id(value)]

    for module in [part for model in backbone.linear_models for part in model.modules()]:
        for tensors in (module._parameters, module._buffers):
            for name, value in tensors.items():
                if value is not None and not isinstance(value, OnCard):
                    tensors[name] = there(value)
    if backbone.language is not None and backbone.language.bias is not None:
        backbone.language = dataclasses.replace(backbone.language, bias=there(backbone.language.bias))
    return backbone

"""Quantise the linear layers of one of a model's layers, by what they are given there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.in_step import Call
from afina.errors import AfinaError
from afina.ops.rounding import output_error
from afina.quantisation.way import WAYS, Quantised, QuantiseSettings

__all__ = ["LinearError", "Quantiser", "is_linear"]


@dataclass(frozen=True, kw_only=True)
class LinearError:
    """Says what one linear layer lost."""

    layer: str
    """Its path in the bare model."""
    inputs: int
    outputs: int
    error: float
    """The squared change of its outputs on the calibration texts over their squares; without texts, of its weights."""
    seconds: float


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is torch's linear layer or transformers' Conv1D, and no kind of its own."""
    return type(module) is nn.Linear or type(module).__name__ == "Conv1D"


class Quantiser:
    """Quantises what linear layers there are in a layer that is in memory."""

    def __init__(self, settings: QuantiseSettings, plain: Sequence[str]) -> None:
        """Take how; `plain` are the paths of linear layers that stay as they are."""
        self.settings, self.way, self._plain = settings, WAYS[settings.method], frozenset(plain)

    def linears(self, layer: str, module: nn.Module) -> dict[str, nn.Module]:
        """Return the linear layers that are quantised, by their paths in the bare model."""
        linears = {f"{layer}.{name}": own for name, own in module.named_modules() if is_linear(own)}
        return {path: own for path, own in linears.items() if path not in self._plain}

    def gather(self, linears: Mapping[str, nn.Module], calls: Sequence[Call]) -> dict[str, Tensor]:
        """Return X^T X (D_in, D_in), in float32 and divided by the tokens, of each linear layer's inputs in all calls.

        Layers that are given the same inputs share one.
        """
        sums = _Sums(linears)
        with sums.listening():
            for call in calls:
                call()
        return sums.means()

    def quantise(
        self, linears: Mapping[str, nn.Module], hessians: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Quantised, LinearError]]:
        """Yield what a file keeps of each linear layer, and put the weight that this stands for in its place.

        Raises `AfinaError` for one that cannot be quantised.
        """
        for path, module in linears.items():
            started = perf_counter()
            weight, hessian = _weight_of(module), hessians.get(path)
            try:
                made = self.way.quantise(weight, hessian, self.settings)
            except ValueError as error:
                raise AfinaError(f"{path} cannot be quantised: {error}.") from None
            width, width_in = weight.shape
            lost = output_error(weight, made.dense, hessian)
            put_weight(module, made.dense)
            yield path, made, LinearError(
                layer=path, inputs=width_in, outputs=width, error=lost, seconds=perf_counter() - started
            )  # fmt: skip


class _Sums:
    """Adds up X^T X of linear layers' inputs."""

    def __init__(self, linears: Mapping[str, nn.Module]) -> None:
        self._linears = linears
        self._first: dict[str, str] = {}
        """For each layer the one whose inputs are the same tensor."""
        self._sums: dict[str, Tensor] = {}
        self._tokens: dict[str, int] = {}
        self._last: dict[int, tuple[str, Tensor]] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        handles = [
            module.register_forward_pre_hook(lambda _, given, path=path: self._add(path, given[0]))
            for path, module in self._linears.items()
        ]
        try:
            yield
        finally:
            self._last.clear()
            for handle in handles:
                handle.remove()

    def _add(self, path: str, x: Tensor) -> None:
        # A tensor is held until the next layer of other inputs, so that no other one can have its place in memory.
        known = self._last.get(id(x))
        if known is not None and known[1] is x and self._first.get(path, known[0]) == known[0]:
            self._first[path] = known[0]
            return
        if self._first.get(path, path) != path:  # it was given another's before, and is not now
            first = self._first[path]
            self._sums[path], self._tokens[path] = self._sums[first].clone(), self._tokens[first]
        self._first[path] = path
        self._last = {id(x): (path, x)}
        flat = x.reshape(-1, x.shape[-1]).float()
        added = flat.T @ flat
        self._sums[path] = added if path not in self._sums else self._sums[path].add_(added)
        self._tokens[path] = self._tokens.get(path, 0) + len(flat)

    def means(self) -> dict[str, Tensor]:
        mean = {path: total / self._tokens[path] for path, total in self._sums.items()}
        return {path: mean[first] for path, first in self._first.items() if first in mean}


def _weight_of(module: Any) -> Tensor:
    weight: Tensor = module.weight.detach()
    return weight if isinstance(module, nn.Linear) else weight.T


def put_weight(module: Any, dense: Tensor) -> None:
    """Put a weight (D_out, D_in) into a linear layer, which keeps it in its own type and order."""
    weight = dense if isinstance(module, nn.Linear) else dense.T
    with torch.no_grad():
        module.weight.copy_(weight)

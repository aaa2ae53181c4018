"""Measure how fast this machine multiplies matrices, moves memory and starts operations, and keep that for later plans.

Products are measured at the sizes met, each to the nearest power of two, so that a few tell all. Each figure is a lower
quartile, in the shorter of clock and processor time. Every plan measures some known figures again: the faster one stays, and
nothing is kept of a machine that has more to do than it has cores.
"""

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

import torch

from afina.measure.hardware import hardware
from afina.measure.storages import Product, Work
from afina.measure.timing import Stopwatch, lower_quartile
from afina.whole_file import write_json

__all__ = ["Machine", "Seconds", "kept_path"]

_TURNS = 5
_LEAST_SECONDS = 1e-3
"""The least that one measurement takes: shorter products are repeated."""
_OPERATIONS = 1 << 31
"""The most multiplications and additions of a product that is measured; of a larger one fewer rows."""
_AGAIN = 6
"""Known figures that a plan measures again."""
_LARGE, _SMALL = 1 << 22, 8


@dataclass(frozen=True)
class Seconds:
    """Holds what work takes by what it is, before runs have told how these add up."""

    products: float = 0.0
    moved: float = 0.0
    """Those of reading and writing what other operations read and write."""
    calls: float = 0.0
    """Those of starting operations."""
    prepared: float = 0.0
    """Those of preparing code for products of new sizes."""

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(*(mine + its for mine, its in zip(self.each, other.each, strict=True)))

    def times(self, factor: float) -> "Seconds":
        return Seconds(*(factor * own for own in self.each))

    @property
    def each(self) -> tuple[float, float, float, float]:
        return self.products, self.moved, self.calls, self.prepared


@dataclass
class Machine:
    """Knows the seconds of an operation in products by size, of a byte moved, of a call, and of a product's code."""

    figures: dict[str, float] = field(default_factory=dict)
    fresh: bool = True
    """True until something was measured."""

    @classmethod
    def known(cls) -> Self:
        """Return what earlier plans kept of this machine."""
        try:
            figures = json.loads(kept_path().read_text("utf-8"))["figures"]
            return cls({str(name): float(value) for name, value in figures.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def calibrate(self, works: Iterable[Work]) -> None:
        """Measure what these need and is not known yet, and keep it."""
        wanted = {_name(own): own for work in works for own in map(_rounded, work.products)}
        measures: dict[str, Callable[[], float]] = {
            name: _Multiplied(own).seconds for name, own in wanted.items() if name not in self.figures
        }
        others: dict[str, Callable[[], float]] = {"byte": _moved, "call": _called, "code": _prepared}
        measures |= {name: own for name, own in others.items() if name not in self.figures}
        if self.fresh:
            again = sorted(wanted.keys() & self.figures.keys())
            measures |= {
                name: _Multiplied(wanted[name]).seconds for name in Random().sample(again, min(_AGAIN, len(again)))
            }
            measures |= others
        self.fresh = False
        for name, seconds in _measured(measures).items():
            self.figures[name] = min(seconds, self.figures.get(name, math.inf))
        if measures:
            _keep(self)

    def seconds(self, work: Work) -> Seconds:
        """Return what work takes; its products were measured."""
        products = sum(
            count * own.operations * self.figures[_name(_rounded(own))] for own, count in work.products.items()
        )
        return Seconds(products, work.moved_bytes * self.figures["byte"], work.calls * self.figures["call"])

    def preparing(self, products: float) -> Seconds:
        """Return what code for so many products of new sizes takes."""
        return Seconds(prepared=products * self.figures["code"])


def kept_path() -> Path:
    """Return where this machine's figures are kept: `afina` in XDG_CACHE_HOME, by default ~/.cache."""
    parts = (hardware()["cpu"], torch.get_num_threads(), torch.__version__)
    name = "-".join("".join(sign if sign.isalnum() else "_" for sign in str(part)) for part in parts)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afina" / "machine" / f"{name}.json"


def _measured(measures: dict[str, Callable[[], float]]) -> dict[str, float]:
    # In turns, so that a slow moment of the machine does not fall on one of them alone.
    turns: dict[str, list[float]] = {name: [] for name in measures}
    with torch.inference_mode():
        for _ in range(_TURNS):
            for name, measure in measures.items():
                turns[name].append(measure())
    return {name: lower_quartile(own) for name, own in turns.items()}


def _rounded(product: Product) -> Product:
    """Return the product that is measured for it: each size to the nearest power of two, of no more rows than it takes."""

    def near(size: int) -> int:
        return 1 << round(math.log2(max(1, size)))

    batch, rows, inner, columns = (near(own) for own in (product.batch, product.rows, product.inner, product.columns))
    while 2 * batch * rows * inner * columns > _OPERATIONS and max(batch, rows) > 1:
        batch, rows = (batch // 2, rows) if batch > 16 or rows < 64 else (batch, rows // 2)
    return Product(batch, rows, inner, columns, product.dtype, product.laid_out)


def _name(product: Product) -> str:
    kind = "laid out " if product.laid_out else ""
    sizes = f"{product.batch}x{product.rows}x{product.inner}x{product.columns}"
    return f"{kind}{sizes} {str(product.dtype).removeprefix('torch.')}"


class _Multiplied:
    """Multiplies at one size."""

    def __init__(self, product: Product) -> None:
        self._product, self._times = product, 1
        self._call: Callable[[], object] | None = None

    def seconds(self) -> float:
        """Return the seconds of an operation; the first call makes the factors, and is not measured."""
        call = self._call
        if call is None:
            call = self._call = self._made()
            call()
            self._times = max(1, math.ceil(_LEAST_SECONDS / max(_timed(call), 1e-7)))

        def several() -> None:
            for _ in range(self._times):
                call()

        return _timed(several) / self._times / self._product.operations

    def _made(self) -> Callable[[], object]:
        product = self._product
        left, right = (
            torch.ones(product.rows, product.inner, dtype=product.dtype),
            torch.ones(product.columns, product.inner, dtype=product.dtype),
        )
        if product.laid_out:
            weight = torch.ops.mkldnn._reorder_linear_weight(right, None)
            return lambda: torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")
        if product.batch > 1:
            many, other = left.repeat(product.batch, 1, 1), right.t().contiguous().repeat(product.batch, 1, 1)
            return lambda: torch.bmm(many, other)
        return lambda: left @ right.t()


def _timed(call: Callable[[], object]) -> float:
    watch = Stopwatch()
    call()
    return watch.seconds()


def _moved() -> float:
    """Return the seconds of a byte that an addition reads or writes."""
    left, right = torch.ones(_LARGE), torch.ones(_LARGE)
    made = torch.empty(_LARGE)
    return _timed(lambda: torch.add(left, right, out=made)) / (3 * 4 * _LARGE)


def _called() -> float:
    """Return the seconds of a call that has next to nothing to do."""
    value = torch.ones(_SMALL)
    return _timed(lambda: [value + 1 for _ in range(200)]) / 200


_fresh = iter(range(1, 1 << 30))


def _prepared() -> float:
    """Return the seconds of preparing code for a product of a size that was not met before."""
    inner = 512 + 8 * next(_fresh)
    weight, left = torch.ones(64, inner), torch.ones(32, inner)
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    except (RuntimeError, AttributeError):  # a torch without oneDNN, which prepares nothing
        return 0.0

    def call() -> object:
        return torch.ops.mkldnn._linear_pointwise(left, weight, None, "none", [], "")

    first = _timed(call)
    return max(0.0, first - _timed(call))


def _keep(machine: Machine) -> None:
    """Write the figures for later plans, unless other programs had the machine."""
    if torch.get_num_threads() > 1 and os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        return
    try:
        kept_path().parent.mkdir(parents=True, exist_ok=True)
        write_json(kept_path(), {"figures": machine.figures})
    except OSError:
        pass  # a later plan measures again

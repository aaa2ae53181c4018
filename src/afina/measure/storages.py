"""Count what the operations within a block keep in memory, and what they compute, on tensors without numbers.

Every operation of a model's forward and backward pass comes by here (torch's dispatch mode). Floating-point tensors have no
numbers (`numberless.py`), so that a model of any size is run in a second. Whole numbers (tokens, masks, targets) stay real:
shapes that follow from them are those of a real run.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

from afina.measure.heap import Heap
from afina.measure.numberless import Extent, Foreseen, MadeTensor, Numberless, described, outcome

__all__ = ["BACKWARD", "Product", "Storages", "Work"]

BACKWARD = "the backward pass"
_PRODUCTS = {
    torch.ops.aten.mm: (0, 1), torch.ops.aten.addmm: (1, 2), torch.ops.aten.bmm: (0, 1), torch.ops.aten.baddbmm: (1, 2),
    torch.ops.aten._grouped_mm: (0, 1), torch.ops.mkldnn._linear_pointwise: (0, 1),
}  # fmt: skip
"""Operations that multiply matrices, with the places of both factors among their arguments."""
_ATTENTION = {
    "_scaled_dot_product_flash_attention_for_cpu": (0, 2), "_scaled_dot_product_flash_attention_for_cpu_backward": (1, 5),
}  # fmt: skip
"""Fused attention, with the place of the query among its arguments and the products that it makes."""
_CODE_BYTES = 574_000
"""Bytes that oneDNN 3 takes from the heap for a product of a new size, whatever the size is (measured by `mallinfo2`)."""
_HEAPS = 3
_CODE_KEPT = 1024
"""Products whose code oneDNN keeps: its cache's default (ONEDNN_PRIMITIVE_CACHE_CAPACITY)."""
_PICKED = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default)
"""Operations whose second argument may hold truths, of which as many places are picked as are true."""


@dataclass(frozen=True)
class Product:
    """Holds the size of a product of matrices: `batch` of (rows, inner) by (inner, columns)."""

    batch: int
    rows: int
    inner: int
    columns: int
    dtype: torch.dtype
    laid_out: bool = False
    """True where oneDNN multiplies by a weight that is laid out for it."""

    @property
    def prepared(self) -> bool:
        """Return whether oneDNN prepares code for it on a CPU; others of float32 are MKL's, which prepares none."""
        return self.laid_out or self.dtype != torch.float32

    @property
    def operations(self) -> int:
        """Return its multiplications and additions."""
        return 2 * self.batch * self.rows * self.inner * self.columns


@dataclass
class Work:
    """Holds what is computed: products of matrices by size, bytes that all other operations read and write, and calls."""

    products: Counter[Product] = field(default_factory=Counter)
    moved_bytes: int = 0
    calls: int = 0

    @property
    def operations(self) -> int:
        return sum(count * product.operations for product, count in self.products.items())


@dataclass(frozen=True, slots=True)
class _Did:
    """Holds what one call of an operation computes."""

    product: Product | None = None
    times: int = 0
    moved_bytes: int = 0
    calls: int = 0


_KNOWN: dict[Any, tuple[Foreseen, _Did]] = {}
"""Outcomes of operations by their arguments: the same in every rehearsal."""
_MOST_KNOWN = 200_000


class Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that come and go while it is on, of tensors without numbers or `real` ones."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and torch's guard against it takes its time at every operation

    def __init__(
        self,
        *,
        real: bool = False,
        rounded: Callable[[int], int] = lambda size: size,
        observer: Callable[[int, int], None] = lambda name, size: None,
    ) -> None:
        """Count a storage of n bytes as `rounded(n)`; `observer` hears what comes within a part, and with 0 that it goes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake = None if real else FakeTensorMode(allow_non_fake_inputs=True)
        self._rounded, self._observer = rounded, observer
        self._live: dict[int, int] = {}
        self._real: dict[int, int] = {}
        self._numbers = count(1)
        self._part = ""
        self._log: list[tuple[int, int | None, str]] | None = None
        self.bytes = 0
        self.peaks: dict[str, int] = {}
        """The most bytes that were there at once, by part."""
        self.heaps = [Heap(seed) for seed in range(_HEAPS)]
        self.prepared: dict[Product, int] = {}
        """Products for which code was prepared, in their order, with the number of its block."""
        self.resident: dict[str, int] = {}
        """The most bytes of a process's heap, with the gaps between blocks, by part."""
        self.work: dict[str, Work] = {}
        """The products and other operations, by part."""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Call what happens within by this name; what autograd computes of it is `the backward pass`."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def hold(self, tensor: Tensor) -> None:
        """Count what lies in memory before anything is computed."""
        self._note(tensor)

    def begin(self) -> None:
        """Begin the heap behind what is held."""
        self.heaps, self.resident, self.prepared = [Heap(seed) for seed in range(_HEAPS)], {}, {}

    def prepare(self, product: Product) -> None:
        """Count the code that oneDNN prepares for a product, where it has none."""
        if product in self.prepared or len(self.prepared) >= _CODE_KEPT:
            return
        self.prepared[product] = number = -1 - len(self.prepared)
        for heap in self.heaps:
            heap.take(number, _CODE_BYTES)

    @contextmanager
    def noted(self) -> Iterator[list[tuple[int, int | None, str]]]:
        """Write down what comes (number, bytes, part) and goes (number, None, "") within."""
        log: list[tuple[int, int | None, str]] = []
        self._log = log
        try:
            yield log
        finally:
            self._log = None

    def again(self, log: Sequence[tuple[int, int | None, str]]) -> None:
        """Have come and go once more what came and went; what stayed then is there already."""
        went = {number for number, size, _ in log if size is None}
        came = {number for number, size, _ in log if size is not None} & went
        now: dict[int, int] = {}
        for number, size, part in log:
            if number not in came:
                continue
            if size is None:
                self._gone(now.pop(number))
            else:
                now[number] = next(self._numbers)
                self._come(now[number], size, part)

    def taken_work(self) -> dict[str, Work]:
        """Return the work by part since this was last asked."""
        taken, self.work = self.work, {}
        return {part: own for part, own in taken.items() if part}

    def give_back(self) -> None:
        """Let the heap give its gaps back to the system, as a run does between its phases."""
        for heap in self.heaps:
            heap.trim()

    @property
    def resident_now(self) -> int:
        """Return the bytes of the heap, the middle of some, as small objects' places are a matter of chance."""
        return sorted(heap.resident for heap in self.heaps)[_HEAPS // 2]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _PICKED:
            args = _places_for_truths(args)
        given: list[Tensor] = []
        key = func, described(args, given), described(kwargs, given) if kwargs else None
        if self._fake is None:
            output = func(*args, **kwargs)
            did = _did(func, args, given, output)
        elif given and not any(isinstance(value, Numberless) or value.is_floating_point() for value in given):
            # Whole numbers alone: computed in earnest, as shapes may follow from them.
            output, did = tree_map_only(Tensor, _without_numbers, func(*args, **kwargs)), _Did()
        else:
            known = _KNOWN.get(key)
            if known is None:
                foreseen = self._asked(func, args, kwargs, given)
                output = foreseen.values(given)
                known = foreseen, _did(func, args, given, output)
                if foreseen.lasting:
                    if len(_KNOWN) >= _MOST_KNOWN:
                        _KNOWN.clear()
                    _KNOWN[key] = known
            else:
                output = known[0].values(given)
            did = known[1]
        self._add(did)
        for value in (output,) if isinstance(output, Tensor) else tree_iter(output):
            if isinstance(value, Tensor):
                self._note(value)
        return output

    def _asked(self, func: Any, args: Any, kwargs: Any, given: list[Tensor]) -> Foreseen:
        if func is torch.ops.aten._grouped_mm.default:
            return Foreseen([_grouped(*args, **kwargs)], None, lasting=True)
        assert self._fake is not None, "real tensors are not asked about"
        return outcome(self._fake, func, args, kwargs, given)

    @property
    def _named(self) -> str:
        # Autograd's own tasks have a number while they run.
        return BACKWARD if torch._C._current_graph_task_id() >= 0 else self._part

    def _note(self, tensor: Tensor) -> None:
        if isinstance(tensor, Numberless):
            block = tensor.block
            if block.gone is not None:
                return
            number = block.number = next(self._numbers)
            block.gone = self._gone
            self._come(number, block.size, self._named)
            return
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._real:
            number = self._real[key] = next(self._numbers)
            weakref.finalize(storage, self._gone_real, key)
            self._come(number, storage.nbytes(), self._named)

    def _come(self, number: int, size: int, part: str) -> None:
        if self._log is not None:
            self._log.append((number, size, part))
        size = self._live[number] = self._rounded(size)
        self.bytes += size
        for heap in self.heaps:
            heap.take(number, size)
        if (resident := self.resident_now) > self.resident.get(part, -1):
            self.resident[part] = resident
        if self.bytes > self.peaks.get(part, -1):
            self.peaks[part] = self.bytes
        if part:
            self._observer(number, max(1, size))

    def _gone_real(self, key: int) -> None:
        self._gone(self._real.pop(key))

    def _gone(self, number: int) -> None:
        if self._log is not None:
            self._log.append((number, None, ""))
        self.bytes -= self._live.pop(number)
        self._observer(number, 0)
        for heap in self.heaps:
            heap.give(number)

    def _add(self, did: _Did) -> None:
        if not did.calls and not did.times:
            return
        part = self._named
        if (work := self.work.get(part)) is None:
            work = self.work[part] = Work()
        if did.product is not None:
            work.products[did.product] += did.times
            if did.product.prepared and did.times == 1:
                self.prepare(did.product)
        work.calls += did.calls
        work.moved_bytes += did.moved_bytes


def _did(func: Any, args: Any, given: list[Tensor], output: Any) -> _Did:
    places = _PRODUCTS.get(func.overloadpacket)
    if places is not None:
        left, right = (args[place] for place in places)
        # Laid out: of all rows at once, by a weight (out, in).
        if laid_out := func.overloadpacket is torch.ops.mkldnn._linear_pointwise:
            rows, inner, columns = left.numel() // max(1, left.shape[-1]), left.shape[-1], right.shape[0]
        else:
            rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
        batch = left.shape[0] if left.ndim == 3 and not laid_out else 1
        return _Did(Product(batch, rows, inner, columns, left.dtype, laid_out), 1, 0, 1)
    product, times = None, 0
    if (fused := _ATTENTION.get(func.overloadpacket.__name__)) is not None:
        query, key = args[fused[0]], args[fused[0] + 1]
        batch, width = query.shape[:-2].numel(), query.shape[-1]
        product, times = Product(batch, query.shape[-2], width, key.shape[-2], query.dtype), fused[1]
    made = [value for value in tree_iter(output) if isinstance(value, Tensor)]
    # A view of what is there moves nothing.
    if func.is_view or not made:
        return _Did(product, times)
    return _Did(product, times, sum(value.numel() * value.itemsize for value in (*given, *made)), 1)


def _without_numbers(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    return Numberless.like(value, Extent(value.untyped_storage().nbytes()))


def _places_for_truths(args: Any) -> Any:
    """Return an operation's arguments with the places that are true for a real mask of truths, of which it picks so many."""
    places: list[Any] = []
    for index in args[1]:
        if index is not None and index.dtype == torch.bool and not isinstance(index, Numberless):
            places += index.nonzero(as_tuple=True)
        else:
            places.append(index)
    return (args[0], places, *args[2:])


def _grouped(left: Tensor, right: Tensor, offs: Tensor | None = None, *_: Any, **__: Any) -> MadeTensor:
    """Return what a mixture of experts' products come to, of which torch knows the size in bfloat16 alone."""
    size: tuple[int, ...]
    if left.ndim == right.ndim == 2:
        assert offs is not None, "groups of both factors' common axis have ends"
        size = offs.shape[0], left.shape[0], right.shape[1]
    elif left.ndim == right.ndim:
        size = *left.shape[:2], right.shape[2]
    else:
        size = left.shape[-2], right.shape[-1]
    return MadeTensor.fresh(size, left.dtype)

"""Drop elements: y = x * m / (1 - p) with m ~ Bernoulli(1 - p).  Srivastava et al., 2014.

On a CPU, drawing one random float for each element takes longer than the layer around it. Here 64 random bits serve four
elements with 16 bits each (15 are used), and integer operations turn them into factors: 0 or 1 / (1 - p).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.ops.kind import kind_of

__all__ = ["DropoutSource", "Pool", "dropout"]

_STEPS = 1 << 15
_POOL = 1 << 20
_LANE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class DropoutSource:
    """Draws random factors for dropout on a CPU; its state can be kept in a checkpoint."""

    def __init__(self, seed: int, *, pool: int = _POOL) -> None:
        """Draw from `seed`, at least `pool` factors at a time."""
        # The fastest of numpy's generators, whose state is four words: small enough for every checkpoint.
        self._bits = np.random.SFC64(seed)
        self._pool = pool
        self._pools: dict[tuple[float, torch.dtype], Pool] = {}

    def factors(self, shape: torch.Size, probability: float, dtype: torch.dtype) -> Tensor:
        """Return factors of `shape` and `dtype`: 0 with `probability`, else the factor that makes their mean 1.

        The factor is rounded to `dtype` first, and the probability is set to match it, so that the mean stays 1: for 0.1 in
        bfloat16 that is 1.109 with 0.0986, where rounding alone would shrink every activation by 0.16%. Where this would
        move the probability by more than a tenth of itself (small ones in bfloat16), the probability stays as asked for.
        """
        count, key = shape.numel(), (probability, dtype)
        pool = self._pools.get(key)
        if pool is None or pool.used + count > len(pool.factors):
            # One draw serves many layers: on a small model the calls would take longer than the drawing.
            pool = self._pools[key] = self._draw(max(count, self._pool), probability, dtype)
        pool.used += count
        return pool.factors[pool.used - count : pool.used].view(shape)

    def _draw(self, count: int, probability: float, dtype: torch.dtype) -> "Pool":
        state = _to_json(self._bits)

        # Four draws of 16 bits from a word of 64: fine enough for a probability, and four times as fast as a float
        # each.
        words = self._bits.random_raw((count + 3) // 4)
        draws = torch.from_numpy(words).view(torch.int16)[:count]
        factor = torch.tensor(1 / (1 - probability), dtype=dtype)

        # A draw of 0..32767 is dropped when it is below p * 32768: (threshold - 1 - draw) is negative where it is kept,
        # the arithmetic shift spreads that sign over all bits, and what stands there lets the factor's bits through.
        matching = 1 - 1 / factor.item()
        met = matching if abs(matching - probability) <= probability / 10 else probability
        limit = torch.tensor(round(met * _STEPS) - 1, dtype=torch.int16)
        mask = torch.sub(limit, draws.bitwise_and_(_STEPS - 1), out=draws).bitwise_right_shift_(15)
        lane = _LANE[dtype.itemsize]
        return Pool(state, mask.to(lane).bitwise_and_(factor.view(lane)).view(dtype))

    def replayed(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return two blocks: the second, run later, draws the same factors as the first and then restores the state."""
        mark: list[Any] = []

        @contextmanager
        def first() -> Iterator[None]:
            mark.append(self._mark())
            yield

        @contextmanager
        def again() -> Iterator[None]:
            now = self._mark()
            self._return_to(mark[0])
            try:
                yield
            finally:
                self._return_to(now)

        return first(), again()

    def _mark(self) -> tuple[list[int], dict[Any, tuple["Pool", int]]]:
        return _to_json(self._bits), {key: (pool, pool.used) for key, pool in self._pools.items()}

    def _return_to(self, mark: tuple[list[int], dict[Any, tuple["Pool", int]]]) -> None:
        words, pools = mark
        _from_json(self._bits, words)
        self._pools = {key: pool for key, (pool, _) in pools.items()}
        for pool, used in pools.values():
            pool.used = used

    def state(self) -> dict[str, Any]:
        """Return the state, as values that JSON can hold, for `load_state`."""
        pools = [
            [probability, str(dtype).removeprefix("torch."), pool.state, len(pool.factors), pool.used]
            for (probability, dtype), pool in self._pools.items()
        ]
        return {"state": _to_json(self._bits), "pools": pools}

    def load_state(self, state: dict[str, Any]) -> None:
        self._pools = {}
        # A pool is drawn again from the state that it was drawn from; its factors themselves would be megabytes in a
        # checkpoint.
        for probability, name, start, count, used in state["pools"]:
            _from_json(self._bits, start)
            pool = self._draw(count, probability, getattr(torch, name))
            pool.used = used
            self._pools[probability, pool.factors.dtype] = pool
        _from_json(self._bits, state["state"])


@dataclass
class Pool:
    """Holds factors drawn ahead, and the generator's state before they were drawn."""

    state: list[int]
    factors: Tensor
    used: int = 0


def _to_json(bits: np.random.SFC64) -> list[int]:
    state: Any = bits.state
    return [int(word) for word in state["state"]["state"]]


def _from_json(bits: np.random.SFC64, words: list[int]) -> None:
    state: Any = dict(bits.state)
    state["state"] = {"state": np.array(words, dtype=np.uint64)}
    state.update(has_uint32=0, uinteger=0)
    bits.state = state


def dropout(x: Tensor, probability: float, source: DropoutSource | None) -> Tensor:
    """Drop elements of `x` (any shape) with `probability` and scale the rest by 1 / (1 - probability).

    Without a source, or off the CPU, torch's own dropout is used, which is fast there.
    """
    if probability <= 0.0:
        return x
    if source is None or kind_of(x) != "cpu" or probability >= 1.0 or torch.compiler.is_compiling():
        return torch.nn.functional.dropout(x, probability)
    return x * source.factors(x.shape, probability, x.dtype)

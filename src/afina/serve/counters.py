"""Count what an engine does, by adapter, for those who watch it."""

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Counters", "Durations"]

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: those of Prometheus's own histograms, and some more."""


@dataclass
class Durations:
    """Counts durations by the least bound that they are within; the last count is of those beyond all."""

    bounds: Sequence[float] = _BOUNDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    seconds: float = 0.0
    """Their sum."""

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


@dataclass
class Counters:
    """Counts since the engine was made; reading them under `steady` sees all as of one moment."""

    requests: Counter[str] = field(default_factory=Counter)
    """Those that were taken, by name."""
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of requests by name and by how they ended."""
    refused: Counter[str] = field(default_factory=Counter)
    """Number of refusals by reason: queue, memory."""
    tokens_in: Counter[str] = field(default_factory=Counter)
    tokens_out: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    """Turns of the model."""
    rows_stepped: int = 0
    """Rows in all of them together: over `steps`, the rows a step."""
    first_token: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    """Durations from a request to its first token, by model."""
    between_tokens: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def steady(self) -> Iterator["Counters"]:
        """Hold the counts as they are for the time of a block."""
        with self._lock:
            yield self

"""Count and time what is served, by adapter, in Prometheus' form."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from afina.serve.counters import Counters

__all__ = ["Meters", "process_bytes"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Meters:
    """Holds one server's counters; a name that nobody serves is never a label."""

    def __init__(self) -> None:
        # A registry of its own: two servers in one process count apart.
        self.registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"afina_{name}", what, labels, registry=self.registry)

        def histogram(name: str, what: str, *labels: str, buckets: Any = _SECONDS) -> Histogram:
            return Histogram(f"afina_{name}", what, labels, registry=self.registry, buckets=buckets)

        self.requests = counter("requests", "Requests that have ended", "adapter", "path", "status")
        self.rejections = counter("rejections", "Requests that were refused, by the error's code", "code")
        self.tokens_in = counter("tokens_in", "Tokens read", "adapter")
        self.tokens_out = counter("tokens_out", "Tokens written", "adapter")
        self.rows = counter("rows", "Texts answered, or choices written", "adapter")
        self.seconds = histogram("request_seconds", "From a request to the end of its answer", "adapter")
        self.step_rows = histogram("rows_a_step", "Rows of a pass through the model", "loop", buckets=_ROWS)
        self.step_seconds = histogram("step_seconds", "What a pass through the model took", "loop")
        self.running = Gauge("afina_requests_running", "Requests that are being answered", registry=self.registry)

    def watch(self, name: str, what: str, values: Callable[[], dict[str, float]], label: str) -> None:
        """Have a gauge asked for its values when it is read."""
        self.registry.register(_Watched(f"afina_{name}", what, values, label))

    def follow(self, counters: Counters) -> None:
        """Tell with the others what an engine counts."""
        self.registry.register(_Engine(counters))

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)


class _Watched:
    """A gauge whose values are asked for."""

    def __init__(self, name: str, what: str, values: Callable[[], dict[str, float]], label: str) -> None:
        self._name, self._what, self._values, self._label = name, what, values, label

    def collect(self) -> Any:
        from prometheus_client.core import GaugeMetricFamily

        metric = GaugeMetricFamily(self._name, self._what, labels=[self._label])
        for key, value in self._values().items():
            metric.add_metric([key], value)
        yield metric


class _Engine:
    """An engine's own counts: its steps with their rows, and by adapter how long tokens take."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Any:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        # Read while nothing is counted, so that the figures belong together.
        with self._counters.steady() as now:
            yield CounterMetricFamily("afina_steps", "Steps of the model that write", now.steps)
            yield CounterMetricFamily("afina_rows_stepped", "Rows of all these steps together", now.rows_stepped)
            for name, what, each in (
                ("time_to_first_token", "From a request to its first token", now.first_token),
                ("time_between_tokens", "From a token to the next", now.between_tokens),
            ):
                metric = HistogramMetricFamily(f"afina_{name}_seconds", what, labels=["adapter"])
                for adapter, took in each.items():
                    # Prometheus counts buckets up to their bounds.
                    sums = list(accumulate(took.counts))
                    bounds = [*map(str, took.bounds), "+Inf"]
                    metric.add_metric([adapter], list(zip(bounds, map(float, sums), strict=True)), took.seconds)
                yield metric


def process_bytes() -> float:
    """Return the memory that this process has."""
    return float(psutil.Process().memory_info().rss)

"""Names of metrics in Portuguese, which each metric says itself (afina/measure/metrics)."""

from afina.registry import listing

__all__ = ["PORTUGUESE"]

PORTUGUESE = {
    entry.name: str(entry.constants["portuguese"])
    for entry in listing("afina.measure.metrics", "metric").values()
    if "portuguese" in entry.constants
}

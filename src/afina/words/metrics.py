"""Names of metrics in Portuguese, and what their diagrams say; each metric has its own (afina/measure/metrics)."""

from afina.registry import listing

__all__ = ["PORTUGUESE"]

_METRICS = listing("afina.measure.metrics", "metric").values()
PORTUGUESE: dict[str, str] = {
    **{entry.name: entry.constants["portuguese"] for entry in _METRICS if "portuguese" in entry.constants},
    **{english: own for entry in _METRICS for english, own in entry.constants.get("phrases", ())},
}

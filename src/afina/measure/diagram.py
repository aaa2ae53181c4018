"""A diagram as neutral data: what a metric has to show beside its figure; the report draws it."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Diagram"]


@dataclass(frozen=True)
class Diagram:
    """Points (x, y), both from 0 to 1, of so many rows each, beside the diagonal on which they would lie at best.

    Title, axes and note are phrases, whose Portuguese the metric has (`Metric.phrases`).
    """

    title: str
    across: str
    up: str
    note: str
    points: Sequence[tuple[float, float, int]]

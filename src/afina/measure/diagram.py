"""A diagram as neutral data: what a metric has to show; the report draws it."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Diagram"]


@dataclass(frozen=True)
class Diagram:
    """Points (x, y) with a weight each, both from 0 to 1, beside the line on which they would lie at best."""

    title: str
    across: str
    """What x is; as the title and the next, an English phrase."""
    up: str
    points: Sequence[tuple[float, float]]
    weights: Sequence[int]
    """Rows that each point stands for."""
    note: str
    portuguese: dict[str, str]
    """The phrases in Portuguese."""

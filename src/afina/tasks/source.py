"""Hold what a task reads its rows of."""

from dataclasses import dataclass

from afina.data.sources.finding import Parts
from afina.dataset_spec import DatasetSpec

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """Holds what a task reads its rows of: a data set's tables, what a person wrote of it, and the most rows to take."""

    spec: DatasetSpec
    parts: Parts
    train_limit: int | None = None
    test_limit: int | None = None

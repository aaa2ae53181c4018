"""cohort.json: what runs that trained together took, and each one's way through the cohort."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.results.json_object import JsonObject, Key, read_checked
from afina.results.result import Race

__all__ = ["CohortMember", "CohortReport", "read_cohort"]


class CohortMember(JsonObject):
    """Records a run's way through its cohort, in seconds of all members' steps."""

    __slots__ = ()

    run: Key[str] = Key()
    label: Key[str] = Key()
    epochs: Key[list[float]] = Key()
    """Seconds after which each of its epochs ended."""
    until: Key[float | None] = Key()
    """Seconds after which it took its last step."""
    why: Key[str] = Key()
    """`finished`, `stopped early`, `left the race` or `diverged`."""
    error: Key[str | None] = Key(None)
    race: Key[Race | None] = Key(None, read=Race)


def _members(values: Sequence[Mapping[str, Any]]) -> list[CohortMember]:
    # Unchecked here: the report's own check, by its type, has looked into its members.
    return [CohortMember(own) for own in values]


class CohortReport(JsonObject):
    """The costs of a cohort as a whole; its results say what each run would have taken alone."""

    __slots__ = ()

    cohort: Key[str] = Key()
    runs: Key[list[str]] = Key()
    train_seconds: Key[float] = Key()
    together: Key[int] = Key()
    """Members that went through the backbone at once."""
    alike: Key[bool] = Key(False)
    members: Key[Sequence[CohortMember]] = Key((), read=_members)
    peak_memory_bytes: Key[float | None] = Key(None)
    mean_memory_bytes: Key[float | None] = Key(None)
    baseline_bytes: Key[float | None] = Key(None)
    memory_samples: Key[int | None] = Key(None)
    memory: Key[Mapping[str, Any]] = Key({})


def read_cohort(path: Path) -> CohortReport:
    """Read what a cohort took; raises `UsageError` for what the file lacks."""
    return read_checked(CohortReport, path, "delete it to have the report without")

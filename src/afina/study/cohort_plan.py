"""plan.json in a cohort's folder: what was settled before its members began, so that a kill changes none of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from afina.results.json_object import JsonObject, Key, read_checked

__all__ = ["CohortPlan", "Costs", "read_cohort_plan"]


class Costs(JsonObject):
    """What a method costs alone, by its first steps."""

    __slots__ = ()

    seconds_by_epoch: Key[Annotated[list[float], Field(min_length=1)]] = Key()
    """Seconds until the end of each epoch."""
    step_seconds: Key[float] = Key()
    """Seconds of a median step."""
    tokens: Key[float] = Key()
    """Tokens of an epoch."""
    energy_joules: Key[float | None] = Key()
    """Energy of the first epoch; None where it cannot be measured."""
    memory_report: Key[Mapping[str, Any]] = Key()
    """What `MemoryMonitor.report` says of it."""


def _by_cell(values: Mapping[str, Any]) -> dict[str, Costs]:
    return {cell: Costs(own) for cell, own in values.items()}


class CohortPlan(JsonObject):
    """The runs that train together, what each costs alone, and how they go through the backbone."""

    __slots__ = ()

    runs: Key[Annotated[Sequence[str], Field(min_length=1)]] = Key()
    members: Key[list[str] | None] = Key(None)
    """Those with which it began: all but runs whose costs alone could not be found."""
    profiles: Key[Mapping[str, Costs]] = Key({}, read=_by_cell)
    """By data set and method (`Run.cell`)."""
    together: Key[Annotated[int, Field(ge=1)]] = Key(1)
    """Members that go through the backbone at once."""
    most_tokens: Key[int | None] = Key(None)
    alike: Key[bool] = Key(False)
    member_step_seconds: Key[Mapping[str, float]] = Key({})


def read_cohort_plan(path: Path) -> CohortPlan:
    """Read what an earlier start settled for a cohort; raises `UsageError` for what the file lacks."""
    return read_checked(CohortPlan, path, f"delete {path.parent} to have its runs trained again")

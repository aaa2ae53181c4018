"""Keep what is settled of a cohort before its members begin (plan.json), so that a kill changes none of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from afina.results.json_object import JsonObject, Key, read_checked
from afina.results.result import Race, Result

__all__ = ["CohortOutcome", "CohortPlan", "Costs", "Sharing", "TimedSharing", "read_cohort_plan"]


@dataclass(frozen=True)
class Sharing:
    """Says how a cohort's members share passes through the backbone; without settings all share one."""

    together: int | None = None
    """Members that go through the backbone at once, as long as their batches have no more than `most_tokens`."""
    most_tokens: int | None = None
    alike: bool = False
    """True if members whose branches are computed at once go by themselves."""

    def halved(self) -> "Sharing | None":
        """Return it with half as many members and tokens at once; None where less is not possible."""
        # One alone cannot be halved: then memory is too small for any.
        if self.together is None or self.together < 2:
            return None
        tokens = None if self.most_tokens is None else self.most_tokens // 2
        return Sharing(self.together // 2, tokens, self.alike)


@dataclass(frozen=True, kw_only=True)
class TimedSharing(Sharing):
    """A sharing that was found by timing steps, and what a GPU's memory has to hold of the members."""

    member_step_seconds: Mapping[str, float]
    """Seconds of a step per member, by members in a pass; `alike`: where each method's members go by themselves."""
    load_bytes: int
    """Memory of the model."""
    state_bytes: int
    """Memory of what all members keep."""
    step_bytes: int
    """Memory of the longest step of one member."""
    longest_batch_tokens: int
    """Tokens of the longest batch of one run."""


class Costs(JsonObject):
    """Holds the costs of a method alone, by its first steps."""

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
    """The memory that it takes, as `MemoryMonitor.report` gives it."""


def _by_cell(values: Mapping[str, Any]) -> dict[str, Costs]:
    return {cell: Costs(own) for cell, own in values.items()}


class CohortPlan(JsonObject):
    """The runs that train together, what each costs alone, and how they go through the backbone."""

    __slots__ = ()

    runs: Key[Annotated[Sequence[str], Field(min_length=1)]] = Key()
    members: Key[list[str] | None] = Key(None)
    """Those with which it began: all but runs whose costs alone could not be found."""
    profiles: Key[Mapping[str, Costs]] = Key({}, read=_by_cell)
    """Costs by data set and method (`Run.cell`)."""
    together: Key[Annotated[int, Field(ge=1)]] = Key(1)
    most_tokens: Key[int | None] = Key(None)
    alike: Key[bool] = Key(False)
    member_step_seconds: Key[Mapping[str, float]] = Key({})
    """Seconds of a step per member, by members in a pass; `together` was chosen by them."""

    @property
    def sharing(self) -> Sharing | None:
        """Return the sharing that an earlier start settled; None where none did."""
        return Sharing(self.together, self.most_tokens, self.alike) if "together" in self else None


@dataclass(frozen=True)
class CohortOutcome:
    """The outcome of each of a cohort's runs: its result, why it failed, or when it left a race.

    The results lack what each run would have taken alone (`with_alone_costs`); until they have it the checkpoint stays.
    """

    results: Mapping[str, Result] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, Race] = field(default_factory=dict)


def read_cohort_plan(path: Path) -> CohortPlan:
    """Read what an earlier start settled for a cohort; raises `UsageError` for what the file lacks."""
    return read_checked(CohortPlan, path, f"delete {path.parent} to have its runs trained again")

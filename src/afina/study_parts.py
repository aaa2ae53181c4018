"""Define parts of a study file that rooms below the study know too: a method with its settings, a race."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_serializer

from afina.checked import Checked, once

__all__ = ["Factors", "MethodSpec", "RaceSpec"]

Factors = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1), AfterValidator(once)]


class MethodSpec(BaseModel):
    """A method's name and the settings written beside it; the registry of methods checks both."""

    model_config = ConfigDict(frozen=True)
    name: str
    settings: dict[str, Any] = {}

    @model_serializer
    def as_written(self) -> str | dict[str, Any]:
        """Return it as a study file says it."""
        return {self.name: self.settings} if self.settings else self.name

    @property
    def label(self) -> str:
        """Return what tables call it: the name, with the settings that differ from the study's in brackets."""
        return called(self.name, self.settings)


def called(name: str, settings: Mapping[str, Any]) -> str:
    """Return a name with its settings in brackets; a setting that has settings of its own is called so too."""
    inside = []
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping) and len(value) == 1 and isinstance(inner := next(iter(value.values())), Mapping):
            value = called(next(iter(value)), inner)
        inside.append(f"{key}={value}")
    return f"{name}({', '.join(inside)})" if inside else name


class RaceSpec(Checked):
    """A race: all candidates train together, and at each rung those that are worse on the development split leave."""

    rungs: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default=[0.1, 0.3], min_length=1)
    """Shares of a run's steps after which candidates are judged."""
    keep: float = Field(default=0.34, gt=0, lt=1)
    """Share of the candidates that goes on at each; one at least."""
    ranks: Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=1), AfterValidator(once)] | None = (
        None
    )
    """Every method that has a rank runs with each of these."""
    rate_factors: Factors = Field(default=[1.0])
    """Every method runs at its automatic learning rate times each of these; one with a rate of its own at that alone."""

    @field_validator("rungs")
    @classmethod
    def _rungs(cls, value: list[float]) -> list[float]:
        if value != sorted(set(value)):
            raise ValueError("rungs should rise")
        return value

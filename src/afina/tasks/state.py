"""Say of what a task's state in afina.json is made, so that it is checked when it is read."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["MOST_LABELS", "Labels", "State"]

MOST_LABELS = 1_000_000


class State(BaseModel):
    """Holds what afina.json says of a task, checked when it is read; other keys are passed over."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def _once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"should name each label once, not '{twice}' twice")
    return names


Labels = Annotated[list[str], Field(min_length=1, max_length=MOST_LABELS), AfterValidator(_once)]
"""The names of labels in a task's state."""

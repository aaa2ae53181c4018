"""`afina audit`: what may be looked at in a trained adapter."""

from typing import TYPE_CHECKING

from afina.cli.command import PANELS, command

if TYPE_CHECKING:
    from pathlib import Path

    from afina.dataset_spec import DatasetSpec

__all__ = ["audit", "columns_of"]


@command("audit", panel=PANELS[2])
def audit() -> None:
    """Look at what a trained adapter gives away, and at what it does to some and not to others."""


def columns_of(
    path: "Path | None", text: str | None, answer: str | None, messages: str | None, label: str | None = None
) -> "DatasetSpec | None":
    """Return which columns of the rows a person named; None where none."""
    from afina.dataset_spec import DatasetSpec

    given = (text, answer, messages, label)
    if not any(given):
        return None
    return DatasetSpec(path=str(path), text=text, target=answer, messages=messages, label=label)

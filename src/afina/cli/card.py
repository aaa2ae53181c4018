"""`afina card`: write an adapter's model card."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.terminal import note, show_file

__all__ = ["card"]


@command("card", panel=PANELS[2])
def card(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder.")],
    language: Annotated[
        str | None, typer.Option("--language", help="en or pt; default: that of the card that is there.")
    ] = None,
) -> None:
    """Write an adapter's model card, README.md, anew or where there is none; what a person wrote into it stays.

    Example: `afina card demo/runs/minilm-tickets-lora-seed0/adapter`

    In its study's folder it says what the study found out, elsewhere what the adapter says of itself and what an earlier card
    of Afina's said. `afina export` writes the card of an export.
    """
    from rich.console import Console

    from afina import api

    console = Console()
    written = api.card(adapter, language=language)
    show_file(console, written.path)
    # Nothing is wrong where a person's own text was kept, so it is said quietly.
    if written.note is not None:
        note(console, written.note, "dim")

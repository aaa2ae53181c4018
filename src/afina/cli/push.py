"""`afina push`: an adapter or an export to the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import BaseModel, Language, Public
from afina.cli.terminal import note, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.export.push import Pushed
    from afina.words.language import Words

__all__ = ["push", "show_pushed"]


@command("push", panel=PANELS[2])
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter's folder, or an export's.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name on the hub: ana/tickets, or tickets alone.")],
    public: Public = False,
    model: BaseModel = None,
    language: Language = "en",
) -> None:
    """Upload an adapter or an export to the Hugging Face hub, with its card; only its owner sees it, unless --public.

    Example: `afina push demo/runs/minilm-tickets-lora-seed0/adapter tickets-lora`

    It is opened before anything is sent. Weights, configuration, tokenizer and card go; rows, predictions and paths of this
    machine do not. Log in first: `hf auth login`. A second time the same name gets the new files, and what was written into
    the card there stays.
    """
    from rich.console import Console

    from afina import api
    from afina.words.language import Words

    console, words = Console(), Words(language)
    with working(console, words("asking the hub"), words) as tell:
        made = api.push(folder, name, public=public, model=model, tell=tell)
    show_pushed(console, made, words)


def show_pushed(console: "Console", made: "Pushed", words: "Words") -> None:
    """Say what was uploaded, what was not, and where it is."""
    seen = words("all can see it") if not made.private else words("only its owner sees it")
    note(console, words("Uploaded ({seen}): {files}.", seen=seen, files=", ".join(made.files)), "dim")
    if made.stays:
        note(console, words("Not uploaded: {files}.", files=", ".join(made.stays)), "dim")
    if made.left:
        note(console, words("Was there before, and stays: {files}.", files=", ".join(made.left)))
    if made.note is not None:
        note(console, made.note, "dim")
    console.print(made.url, soft_wrap=True)

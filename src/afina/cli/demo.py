"""`afina demo`: a small study on what comes with the package."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import command
from afina.cli.options import Language

__all__ = ["demo"]


@command("demo")
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study's folder.")] = Path("demo"),
    language: Language = "en",
    everything: Annotated[
        bool, typer.Option("--all", help="Every method with five seeds, as cohorts: some ten minutes.")
    ] = False,
) -> None:
    """Compare seven methods on the built-in model and support tickets: two to four minutes, no network.

    Example: `afina demo --out demo`; `afina demo chat` teaches a model that writes.
    """
    # The group is carried out by itself only where no command of it was given.
    if context.invoked_subcommand is not None:
        return
    from afina import api
    from afina.cli.progress import shown_progress
    from afina.cli.report import end_study

    end_study(api.demo(out, everything=everything, language=language, observer=shown_progress(language)), language)

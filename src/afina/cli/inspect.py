"""`afina inspect`: how a run's parameters moved, from the steps that it kept."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Force, Format, Language
from afina.cli.terminal import console_for, print_json, show_file, working

__all__ = ["inspect"]


@command("inspect", panel=PANELS[1])
def inspect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: STUDY/runs/RUN.")],
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Write a page of figures, by step and layer.")
    ] = None,
    format: Format = "table",
    force: Force = False,
    language: Language = "en",
) -> None:
    """Show how a run's parameters moved: norms, singular values, ranks, gradients, and the way they took.

    Example: `afina inspect results/runs/RUN --page moved.html`

    The study has to keep steps: `keep_checkpoints: 5`.
    """
    from rich.console import Console
    from rich.table import Table

    from afina import api
    from afina.report.moved_page import moved_rows, short_names
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    with working(console, words("loading the model"), words):
        moved = api.inspect(run, page=page, force=force, language=language)
    if format == "json":
        print_json(moved.as_dict())
    else:
        head, *rows = moved_rows(moved, words)
        table = Table(*head)
        # A terminal is narrow, and whole names begin alike: cut at their end they would all read the same.
        for name, row in zip(short_names([name for name, *_ in rows]), rows, strict=True):
            table.add_row(name, *row[1:])
        console.print(table)
        console.print(words("kept steps: {list}", list=words.between.join(map(str, moved.steps))), soft_wrap=True)
    if page is not None:
        show_file(Console(stderr=True), page)

"""`afina report`: the tables and the page of a study."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register", "show"]


def register(app: typer.Typer) -> None:
    app.command(name="report")(report)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    language: Annotated[str, typer.Option("--language", help="en or pt.")] = "en",
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="FILE", help="Published figures to show beside ours.")
    ] = None,
) -> None:
    """Print a study's table; write report.html and the same tables as Markdown, CSV and LaTeX.

    Example: `afina report results/tickets --language pt`
    """
    show(directory, language, reference)


def show(directory: Path, language: str, reference: Path | None) -> None:
    """Print the tables of a study's folder, write its report and say where it is."""
    from rich.console import Console

    from afina.report.write import terminal_report, write_report

    console = Console()
    files = write_report(directory, language=language, reference=reference)
    console.print(terminal_report(directory, language=language))
    console.print(f"{files.html}", style="bold", soft_wrap=True, highlight=False)
    console.print(
        f"{files.html.parent / 'tables'} (Markdown, CSV, LaTeX)", style="dim", soft_wrap=True, highlight=False
    )

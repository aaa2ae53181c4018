"""`afina report`: the tables and the page of a study."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register", "show", "show_mistakes"]


def register(app: typer.Typer) -> None:
    app.command(name="report")(report)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    language: Annotated[str, typer.Option("--language", help="en or pt.")] = "en",
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="FILE", help="Published figures to show beside ours.")
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option("--errors", metavar="RUN", help="Print what a run got wrong instead; best: the best run's."),
    ] = None,
) -> None:
    """Print a study's table; write report.html and the same tables as Markdown, CSV and LaTeX.

    Example: `afina report results/tickets --language pt`

    With `--errors` it says by class how much was found, which labels are taken for which, how many answers are right
    where less sure ones go to a person, and which test rows are wrong.
    """
    if errors is not None:
        show_mistakes(directory, errors, language)
        return
    show(directory, language, reference)


def show_mistakes(directory: Path, run: str, language: str) -> None:
    """Print what a run got wrong."""
    from rich.console import Console

    from afina.report.write import terminal_mistakes

    Console().print(terminal_mistakes(directory, run, language=language))


def show(directory: Path, language: str, reference: Path | None) -> None:
    """Print the tables of a study's folder, write its report and say where it is."""
    from rich.console import Console

    from afina.report.write import terminal_report, write_report
    from afina.words.language import Words

    console = Console()
    files = write_report(directory, language=language, reference=reference)
    console.print(terminal_report(directory, language=language))
    if files.has_mistakes:
        told = f"{Words(language)('What went wrong')}: afina report {directory} --errors best"
        console.print(told, style="dim", soft_wrap=True, highlight=False)
    console.print(f"{files.html}", style="bold", soft_wrap=True, highlight=False)
    console.print(
        f"{files.html.parent / 'tables'} (Markdown, CSV, LaTeX)", style="dim", soft_wrap=True, highlight=False
    )

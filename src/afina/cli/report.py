"""`afina report`: the tables and the page of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Language, Reference, StudyFolder
from afina.cli.terminal import note, show_file

if TYPE_CHECKING:
    from rich.console import Console

    from afina.api.studies import Outcome
    from afina.report.write import ReportFiles

__all__ = ["end_study", "report"]


@command("report", panel=PANELS[1])
def report(
    directory: StudyFolder,
    language: Language = "en",
    reference: Reference = None,
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
    from afina import api

    # Instead of the report, which is not written again for a look at mistakes.
    if errors is not None:
        _show_mistakes(directory, errors, language)
        return
    try:
        files = api.report(directory, language=language, reference=reference)
    except OSError:  # a disk that is full, or a folder of somebody else's: what there is to see is shown all the same
        _show_table(directory, language)
        raise
    _show(directory, files, language)


def end_study(done: "Outcome", language: str) -> None:
    """Print the tables of a study that was carried out and where its report is; ends with code 1 where anything failed."""
    _show(done.directory, done.report, language)
    # What could not be tried or audited makes a study not whole, though all of its runs ended.
    if done.failed or done.untried or done.unaudited:
        raise typer.Exit(1)


def _show_mistakes(directory: Path, run: str, language: str) -> None:
    from rich.console import Console

    from afina.report.write import terminal_mistakes

    Console().print(terminal_mistakes(directory, run, language=language))


def _show_table(directory: Path, language: str) -> "Console":
    from rich.console import Console

    from afina.report.ways import terminal_ways
    from afina.report.write import terminal_report
    from afina.results.comparison import is_comparison

    console = Console()
    shown = terminal_ways if is_comparison(directory) else terminal_report
    console.print(shown(directory, language=language))
    return console


def _show(directory: Path, files: "ReportFiles", language: str) -> None:
    from afina.words.language import Words

    console = _show_table(directory, language)
    if files.has_mistakes:
        # Only where there is something to look at.
        note(console, f"{Words(language)('What went wrong')}: afina report {directory} --errors best", "dim")
    for sentence in files.notes:
        note(console, sentence, "dim")
    show_file(console, files.html)
    show_file(console, files.html.parent / "tables", "Markdown, CSV, LaTeX")

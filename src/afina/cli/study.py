"""`afina study`: carry out a study file, or go on with it."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import command
from afina.cli.options import Language, Reference

__all__ = ["study"]


@command("study")
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="What to compare; see docs/reference/study.md.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The study's folder; by default named after the file.")
    ] = None,
    language: Language = "en",
    reference: Reference = None,
) -> None:
    """Train and compare methods as STUDY.yaml says; the same command goes on where it stopped.

    Example: `afina study tickets.yaml --out results/tickets`

    Exit code 0: every run finished; 1: some failed, or a rate could
    not be tried, or an audit not be made (the report says why, and the same command tries again); 2: the file or the data
    need mending.
    """
    from afina import api
    from afina.cli.progress import shown_progress
    from afina.cli.report import end_study

    done = api.study(file, out, language=language, reference=reference, observer=shown_progress(language))
    end_study(done, language)

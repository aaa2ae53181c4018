"""`afina study`: carry out a study file, or go on with it."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register", "run_and_report"]


def register(app: typer.Typer) -> None:
    app.command(name="study")(study)


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="What to compare; see docs/reference/study.md.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The study's folder; by default named after the file.")
    ] = None,
    language: Annotated[str, typer.Option("--language", help="Language of the report: en or pt.")] = "en",
    reference: Annotated[
        Path | None, typer.Option("--reference", metavar="FILE", help="Published figures to show beside ours.")
    ] = None,
) -> None:
    """Train and compare methods as STUDY.yaml says; the same command goes on where it stopped.

    Example: `afina study tickets.yaml --out results/tickets`

    Exit code 0: every run finished; 1: some failed (the report says why); 2: the file or the data need mending.
    """
    from afina.config import StudyConfig

    config = StudyConfig.read(file)
    run_and_report(config, out or Path(file.stem), language, reference)


def run_and_report(config, directory: Path, language: str, reference: Path | None = None) -> None:  # type: ignore[no-untyped-def]
    """Carry out a study with progress on the terminal, print its table and write its report."""
    from afina.words.language import check_language

    check_language(language)
    if not (directory / "results.jsonl").exists():  # of a study that has begun, what is finished needs no data
        from afina.study.data import read_ahead

        read_ahead(config)  # what is wrong with the data is said before torch is imported, which takes seconds
    from afina.cli.progress import Progress
    from afina.study.study import Study

    study = Study(directory, config)
    with Progress(len(study.runs)) as progress:
        results = study.run(progress.observe)
    from afina.cli.report import show

    show(directory, language, reference)
    failed = [result for result in results if result.status == "failed"]
    if failed:
        raise typer.Exit(1)

"""`afina train`: one adapter."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import command
from afina.cli.options import Language

__all__ = ["train"]


@command("train")
def train(
    file: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="What to train; a study file with one of each.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to work; by default named after the file.")
    ] = None,
    language: Language = "en",
) -> None:
    """Train one adapter: a study file with `method` and `seed` in place of lists; it resumes like a study.

    Example: `afina train tickets-lora.yaml --out tickets-lora`

    Exit code 0: trained, and the adapter is at the path printed last; 1: it failed, or a rate could not be tried;
    2: the file or data need mending.
    """
    from afina import api
    from afina.cli.progress import shown_progress
    from afina.cli.report import end_study

    done = api.train(file, out, language=language, observer=shown_progress(language))
    end_study(done, language)
    print(done.adapters[0])

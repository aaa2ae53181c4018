"""`afina compare`: what a model became beside what it was, and whether that is worth it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import BatchSize, Device, Force, Format, Language
from afina.cli.terminal import console_for, print_json, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.evaluation.beside import BesideCompared
    from afina.words.language import Words

__all__ = ["compare"]


@command("compare", panel=PANELS[1])
def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="BEFORE AFTER...", help="Models or adapters; the others stand beside the first."),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="A data set with labels: a name, a file or a folder; several times."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="FILE", help="Texts whose perplexity is measured; several times."),
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--answers", metavar="FILE", help="Prompts with references, which models write to; several times."
        ),
    ] = None,
    at_most: Annotated[
        float, typer.Option("--at-most", metavar="SHARE", help="Share of the first one's value that may be lost.")
    ] = 0.02,
    task: Annotated[str, typer.Option("--task", help="The task of the labelled data, as in a study file.")] = "auto",
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help="Of answers, the first of which decides: contains,token_f1,rougeL ..."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Most tokens of an answer.")] = 64,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="Rows of each that are measured on.")] = None,
    max_length: Annotated[int, typer.Option("--max-length", min=4, help="Tokens a labelled text may have.")] = 256,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write all of it as JSON.")] = None,
    batch_size: BatchSize = 32,
    device: Device = "auto",
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Measure models or adapters one beside another on the same items, and say of each whether it is worth it.

    Example: `afina compare tuned tuned-4 healed --data tickets --at-most 0.02`

    Each is loaded and asked in a process of its own: bytes on disk, peak memory, rows or tokens a second. Differences from
    the first are paired. One is worth it if it is smaller or faster and, by the end of its 95% interval, loses no more than
    `--at-most` of what the first has, on every data set and file.
    """
    # The bars of the libraries beneath would stand between our own lines.
    os.environ.setdefault("TQDM_DISABLE", "1")
    console = console_for(format)
    from afina import api
    from afina.words.language import Words

    words = Words(language)
    with working(console, words("starting"), words) as tell:
        compared = api.compare(
            models, data=data or (), text=text or (), answers=answers or (), at_most=at_most, task=task,
            metrics=None if metrics is None else [part.strip() for part in metrics.split(",") if part.strip()],
            max_new_tokens=max_new_tokens, limit=limit, max_length=max_length, batch_size=batch_size, device=device, out=out,
            force=force, tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(compared.as_dict())
    else:
        _show(console, compared, words)
    if out is not None:
        console.print(str(out), soft_wrap=True)


def _show(console: "Console", compared: "BesideCompared", words: "Words") -> None:
    from rich.table import Table

    from afina.evaluation.beside_told import costs_table, measures_table, verdicts

    for columns, rows in (measures_table(compared, words), costs_table(compared, words)):
        table = Table(*columns)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*(cell.replace("[", "\\[") for cell in row))
        console.print(table)
    for sentence in verdicts(compared, words):
        console.print(sentence, soft_wrap=True, markup=False)

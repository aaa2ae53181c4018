"""`afina audit canaries`: training data with secrets planted in it, to find later whether a model gives them away."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.audit import columns_of
from afina.cli.command import PANELS, command
from afina.cli.options import Force, Language, Messages, Seed, Target, Text
from afina.cli.terminal import show_file

__all__ = ["canaries"]


@command("audit canaries", panel=PANELS[2])
def canaries(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Training rows: .csv, .jsonl, .parquet ...")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The copy to train on: .jsonl or .parquet.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Canaries for each number of repetitions.")] = 4,
    repeat: Annotated[
        str, typer.Option("--repeat", metavar="N,N", help="How often each is planted; 0: not, to compare with.")
    ] = "1,4,16",
    symbols: Annotated[str, typer.Option("--symbols", help="What secrets are drawn from.")] = "0123456789",
    length: Annotated[int, typer.Option("--length", min=1, help="Symbols of a secret.")] = 8,
    text: Text = None,
    answer: Target = None,
    messages: Messages = None,
    seed: Seed = 0,
    language: Language = "en",
    force: Force = False,
) -> None:
    """Plant rows with random secrets in a copy of training data, in the data's own form.

    Example: `afina audit canaries --data train.jsonl --out planted/train.jsonl --count 4 --repeat 0,1,4,16`

    What was planted is written beside it, as OUT.canaries.json: keep it apart from the data.
    """
    from rich.console import Console

    from afina import api
    from afina.errors import UsageError
    from afina.words.language import Words

    # Checked here, as typer has no option of numbers with commas between.
    try:
        times = [int(part) for part in repeat.split(",")]
    except ValueError:
        raise UsageError(f"--repeat is numbers with commas between, such as 1,4,16, not '{repeat}'.") from None
    manifest = api.audit.canaries(
        data, out, count=count, repeat=times, symbols=symbols, length=length, seed=seed, force=force,
        columns=columns_of(data, text, answer, messages),
    )  # fmt: skip
    console, words = Console(), Words(language)
    planted = words(
        "{canaries} canaries, {rows} rows planted",
        canaries=words.number(count * len(times)), rows=words.number(count * sum(times)),
    )  # fmt: skip
    console.print(planted, highlight=False)
    for path in (out, manifest):
        show_file(console, path)

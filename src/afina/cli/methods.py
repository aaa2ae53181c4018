"""`afina methods`: what there is, and what each would train on a model."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import command
from afina.cli.options import Language
from afina.cli.terminal import console_for

if TYPE_CHECKING:
    from afina.study.catalogue import MethodEntry
    from afina.words.language import Words

__all__ = ["methods"]


@command("methods")
def methods(
    model: Annotated[
        str | None, typer.Option("--model", help="Count what each trains on it: a hub name, a folder or `minilm`.")
    ] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, max=65_536, help="Rank of the low-rank methods.")] = None,
    classes: Annotated[
        int, typer.Option("--classes", min=1, max=1_000_000, help="Classes of the head that is counted along.")
    ] = 2,
    language: Language = "en",
    format: Annotated[str, typer.Option("--format", help="table, or jsonl for a program to read.")] = "table",
) -> None:
    """List the methods; with a model, the numbers each would train there, without loading its weights.

    Example: `afina methods --model roberta-base`
    """
    from afina import api
    from afina.words.language import Words

    words = Words(language)
    console_for(format, forms=("table", "jsonl"))
    entries = api.methods(model, rank=rank, classes=classes)
    if format == "table":
        _show(entries, words, counted=bool(model))
        return
    for entry in entries:
        # Programs get the English words, which stay the same.
        values = vars(entry) | {"trainable_percent": entry.trainable_percent}
        del values["portuguese"]
        print(json.dumps(values))


def _show(entries: "list[MethodEntry]", words: "Words", *, counted: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(words("method"), words("what it is"), title=None)
    if counted:
        table.add_column(words("trainable"), justify="right")
        table.add_column("%", justify="right")
    table.add_column(words("merges"))
    table.add_column(words("PEFT type"), overflow="fold")
    for entry in entries:
        counts = ["–", "–"]
        # No number where a method's parameters depend on the data.
        if entry.trainable_parameters is not None:
            share = words.written(f"{entry.trainable_percent:.3g}")
            counts = [words.number(entry.trainable_parameters), share]
        row = [entry.name, entry.told(words), *(counts if counted else [])]
        table.add_row(*row, words("yes") if entry.mergeable else "", entry.peft_type or "")
    Console().print(table)

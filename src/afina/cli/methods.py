"""`afina methods`: what there is, and what each would train on a model."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import command
from afina.cli.terminal import console_for

if TYPE_CHECKING:
    from afina.study.catalogue import Entry

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
    format: Annotated[str, typer.Option("--format", help="table, or jsonl for a program to read.")] = "table",
) -> None:
    """List the methods; with a model, the numbers each would train there, without loading its weights.

    Example: `afina methods --model roberta-base`
    """
    from afina import api

    console_for(format, forms=("table", "jsonl"))
    entries = api.methods(model, rank=rank, classes=classes)
    if format == "table":
        _show(entries, counted=bool(model))
        return
    for entry in entries:
        print(json.dumps(vars(entry) | {"trainable_percent": entry.trainable_percent}))


def _show(entries: "list[Entry]", *, counted: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("method", "what it is", title=None)
    if counted:
        table.add_column("trainable", justify="right")
        table.add_column("%", justify="right")
    table.add_column("merges")
    table.add_column("PEFT type", overflow="fold")
    for entry in entries:
        counts = ["–", "–"]
        if entry.trainable_parameters is not None:
            counts = [f"{entry.trainable_parameters:,}", f"{entry.trainable_percent:.3g}"]
        told = f"{entry.summary} ({entry.reason})" if entry.reason else entry.summary
        row = [entry.name, told, *(counts if counted else [])]
        table.add_row(*row, "yes" if entry.mergeable else "", entry.peft_type or "")
    Console().print(table)

"""`afina methods`: what there is, and what each would train on a model."""

import json
from typing import Annotated, Literal

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="methods")(methods)


def methods(
    model: Annotated[
        str | None, typer.Option("--model", help="Count what each trains on it: a hub name, a folder or `minilm`.")
    ] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, max=65_536, help="Rank of the low-rank methods.")] = None,
    classes: Annotated[
        int, typer.Option("--classes", min=1, max=1_000_000, help="Classes of the head that is counted along.")
    ] = 2,
    form: Annotated[Literal["table", "jsonl"], typer.Option("--format", help="table or jsonl.")] = "table",
) -> None:
    """List the methods; with a model, the numbers each would train there, without loading its weights.

    Example: `afina methods --model roberta-base`
    """
    from afina.study.catalogue import catalogue

    entries = catalogue(model, classes=classes, settings={"rank": rank})
    if form == "jsonl":
        for entry in entries:
            print(json.dumps(vars(entry) | {"trainable_percent": entry.trainable_percent}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("method", "what it is", title=None)
    if model:
        table.add_column("trainable", justify="right")
        table.add_column("%", justify="right")
    table.add_column("merges")
    table.add_column("PEFT type", overflow="fold")
    for entry in entries:
        counts = ["–", "–"]
        if entry.trainable_parameters is not None:
            counts = [f"{entry.trainable_parameters:,}", f"{entry.trainable_percent:.3g}"]
        told = f"{entry.summary} ({entry.reason})" if entry.reason else entry.summary
        row = [entry.name, told, *(counts if model else [])]
        table.add_row(*row, "yes" if entry.mergeable else "", entry.peft_type or "")
    Console().print(table)

"""`afina export`: an adapter as other programs load it, checked against what was trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from afina.export.export import Exported

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="export")(export)


def export(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder, Afina's or PEFT's.")],
    to: Annotated[str, typer.Option("--to", help="peft, merged or lora.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to; by default ADAPTER-peft and so on.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Rows to check with: its own test rows by default; for a writer any texts or conversations.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many of them.")] = 200,
    rank: Annotated[int, typer.Option("--rank", min=1, help="For --to lora: the highest rank.")] = 32,
    model: Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")] = None,
    onto: Annotated[
        str,
        typer.Option("--onto", help="For --to merged on a quantised base: its dequantised weights, or the original."),
    ] = "dequantised",
) -> None:
    """Export an adapter: as a PEFT folder, merged into a plain transformers model, or as a LoRA.

    Example: `afina export demo/runs/minilm-tickets-lora-seed0/adapter --to merged --out tickets-model`

    What is exported is loaded afresh by its own library and compared with the adapter, logits and metric, before the folder
    stands there. Exit code 1, and no folder, when they part; a conversion to LoRA, which may lose something, says how much.
    An adapter of a quantised base is merged into float32 weights, and what that changes is said.
    """
    from afina.export.kinds import target_of

    target_of(adapter, to, onto, out)
    from rich.console import Console

    from afina.export.export import export_adapter

    console = Console()
    with console.status("loading the adapter") as status:
        made = export_adapter(
            adapter, to, out=out, data=data, rows=rows, rank=rank, model=model, onto=onto, tick=status.update
        )
    _show(console, made)
    if made.merging is not None:
        console.print(made.merging, soft_wrap=True, highlight=False)
    console.print(str(made.folder), soft_wrap=True)


def _show(console: "Console", made: "Exported") -> None:
    from rich.table import Table

    table = Table("compared on", f"{made.parity.rows} rows", show_header=True)
    for row in made.rows():
        table.add_row(*row)
    console.print(table)
    if (changed := made.changed()) is not None:
        console.print(changed, style="yellow")

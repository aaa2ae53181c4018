"""`afina export`: an adapter as other programs load it, checked against what was trained."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Adapter, BaseModel, Language
from afina.cli.terminal import note, working
from afina.export.target import TARGETS, options

if TYPE_CHECKING:
    from rich.console import Console

    from afina.export.export import Exported
    from afina.words.language import Words

__all__ = ["export"]


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command's signature the options of all targets in place of `**options`, as typer reads it."""
    own, annotated = inspect.signature(command), cast(Any, Annotated)
    fixed = [value for value in own.parameters.values() if value.kind is not value.VAR_KEYWORD]
    for option in options():
        words = f"{option.help.rstrip('.')}; by default {option.default}."
        kind = annotated[option.kind | None, typer.Option(f"--{option.name.replace('_', '-')}", help=words)]
        fixed.append(inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
        command.__annotations__[option.name] = kind
    command.__signature__ = own.replace(parameters=fixed)  # type: ignore[attr-defined]
    del command.__annotations__["options"]
    return command


@command("export", panel=PANELS[2])
@_with_options
def export(
    adapter: Adapter,
    to: Annotated[str, typer.Option("--to", help=f"One of {', '.join(TARGETS)}.")],
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
    model: BaseModel = None,
    language: Language = "en",
    **options: Any,
) -> None:
    """Export an adapter: as a PEFT folder, merged into a plain transformers model, or as a LoRA.

    Example: `afina export demo/runs/minilm-tickets-lora-seed0/adapter --to merged --out tickets-model`

    What is exported is loaded afresh by its own library and compared with the adapter, logits and metric, before the folder
    stands there. Exit code 1, and no folder, when they part; a conversion to LoRA, which may lose something, says how much.
    An adapter of a quantised base is merged into float32 weights, and what that changes is said.
    """
    from rich.console import Console

    from afina import api
    from afina.words.language import Words

    console, words = Console(), Words(language)
    with working(console, words("loading the adapter")) as tell:
        made = api.export(adapter, to, out, data=data, rows=rows, model=model, tell=tell, **options)
    _show(console, made, words)
    for sentence in map(words.sentence, made.notes):
        note(console, sentence)
    if made.merging is not None:
        note(console, words.note(made.merging), "")
    console.print(str(made.folder), soft_wrap=True)


def _show(console: "Console", made: "Exported", words: "Words") -> None:
    from rich.table import Table

    compared = words.counted(made.parity.rows, "{count} row", "{count} rows")
    table = Table(words("compared on"), compared, show_header=True)
    for row in made.rows(words):
        table.add_row(*row)
    console.print(table)
    for sentence in filter(None, (made.changed(words), made.unnoticed(words))):
        note(console, sentence)

"""`afina compress`: a smaller model that plain transformers loads."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Force, Language, Seed, Text
from afina.cli.terminal import note, working
from afina.registry import listing

__all__ = ["compress"]


def _with_ways(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command's signature an option for each way in place of `**ways`, as typer reads it."""
    signature, annotated = inspect.signature(command), cast(Any, Annotated)
    fixed = [value for value in signature.parameters.values() if value.kind is not value.VAR_KEYWORD]
    for name, entry in listing("afina.compress.ways", "way").items():
        kind = int if entry.constants.get("kind") == "count" else float
        option = annotated[kind | None, typer.Option(f"--{name}", help=entry.constants["told"])]
        key = name.replace("-", "_")
        fixed.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option))
        command.__annotations__[key] = option
    command.__signature__ = signature.replace(parameters=fixed)  # type: ignore[attr-defined]
    del command.__annotations__["ways"]
    return command


@command("compress", panel=PANELS[2])
@_with_ways
def compress(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model: a folder, a hub name or a built-in name.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the smaller model.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Texts like yours, to judge by: a file, or a data set's folder or name."),
    ] = None,
    text: Text = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many of them, evenly chosen.")] = 128,
    max_length: Annotated[int, typer.Option("--max-length", min=4, help="Tokens of each that are read.")] = 128,
    seed: Seed = 0,
    force: Force = False,
    language: Language = "en",
    **ways: Any,
) -> None:
    """Make a model smaller, and write it as a checkpoint that plain transformers loads, its heads included.

    Example: `afina compress minilm --drop-layers 2 --data tickets --out minilm-4`

    One way at a time; to do several, compress again what the first wrote. What was written is loaded afresh and compared
    before the folder stands there. It is a base like any other: tune it, which is also how it recovers.
    """
    from rich.console import Console
    from rich.table import Table

    from afina import api
    from afina.words.language import Words

    console, words = Console(), Words(language)
    with working(console, words("loading the model"), words) as tell:
        made = api.compress(
            model,
            out,
            data=data,
            text=text,
            rows=rows,
            max_length=max_length,
            seed=seed,
            force=force,
            tell=tell,
            **ways,
        )
    table = Table("", words("before"), words("after"), show_header=True)
    for name, (before, after), unit in (
        (words("parameters"), made.parameters, 1), (words("weights on disk (MB)"), made.bytes, 1e6),
    ):  # fmt: skip
        digits = 0 if unit == 1 else 1
        table.add_row(name, words.number(before / unit, digits), words.number(after / unit, digits))
    console.print(table)
    note(console, words.note(made.said), "")
    console.print(str(made.folder), soft_wrap=True)

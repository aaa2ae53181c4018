"""`afina export`: an adapter as other programs load it, checked against what was trained."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import BaseModel, Force, Language, Public
from afina.cli.push import show_pushed
from afina.cli.terminal import note, working
from afina.export.target import TARGETS, options

if TYPE_CHECKING:
    from rich.console import Console

    from afina.export.export import Exported
    from afina.words.language import Words

__all__ = ["export"]


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command's signature the options of all targets in place of `**options`, as typer reads it."""
    signature, annotated = inspect.signature(command), cast(Any, Annotated)
    fixed = [value for value in signature.parameters.values() if value.kind is not value.VAR_KEYWORD]
    for option in options():
        words = f"{option.help.rstrip('.')}; by default {option.default}."
        kind = annotated[option.kind | None, typer.Option(f"--{option.name.replace('_', '-')}", help=words)]
        fixed.append(inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
        command.__annotations__[option.name] = kind
    command.__signature__ = signature.replace(parameters=fixed)  # type: ignore[attr-defined]
    # typer reads annotations too, and has no option for what is left of the call.
    del command.__annotations__["options"]
    return command


@command("export", panel=PANELS[2])
@_with_options
def export(
    adapter: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ADAPTER...", help="An adapter's folder, Afina's or PEFT's; several of one base for one graph."
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help=f"One of {', '.join(TARGETS)}.")] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DIR", help="Look again at what was exported, without the adapter."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to; by default ADAPTER-peft and so on.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Rows to check with: its own test rows by default; for a writer any texts or conversations. "
            "With --check, test rows to measure it on.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many of them.")] = 200,
    model: BaseModel = None,
    language: Language = "en",
    force: Force = False,
    push: Annotated[
        str | None, typer.Option("--push", metavar="NAME", help="Then upload it to the hub, as ana/tickets or tickets.")
    ] = None,
    public: Public = False,
    **options: Any,
) -> None:
    """Export an adapter: as a PEFT folder, merged into a plain transformers model, as a LoRA, or for another program.

    Example: `afina export demo/runs/minilm-tickets-lora-seed0/adapter --to merged --out tickets-model`

    What is exported is loaded afresh by its own library and compared with the adapter, logits and metric, before the folder
    stands there. Exit code 1, and no folder, when they part; a conversion to LoRA, which may lose something, says how much.
    An adapter of a quantised base is merged into float32 weights, and what that changes is said. With `--check` a folder
    that another program opens is opened again, whenever: is it whole, and does it answer as it did. Its README.md says
    what it is, what it is worth and how it is loaded; what you write into it stays when you export over it (`--force`).
    Several adapters of one base become one ONNX or OpenVINO graph, which takes each row's by its number.
    """
    from rich.console import Console

    from afina import api
    from afina.errors import UsageError
    from afina.words.language import Words

    console, words = Console(), Words(language)
    if check is not None:
        # Whatever belongs to making an export would be left out in silence.
        if strange := [name for name, value in {"--to": to, "--out": out, "an adapter": adapter}.items() if value]:
            raise UsageError(f"--check looks at what was exported, and takes no {strange[0].removeprefix('an ')}.")
        with working(console, words("opening what was exported"), words):
            checked = api.check_export(check, data, model=model)
        _table(
            console,
            words("checked"),
            words.counted(checked.batches, "{count} batch", "{count} batches"),
            checked.rows(words),
        )
        return
    if not adapter or to is None:
        raise UsageError("Give an adapter and --to what to export it, or --check with the folder of an export.")
    with working(console, words("loading the adapter"), words) as tell:
        # Unless another language was asked for, the card is in that of the adapter's.
        tongue = None if language == "en" else language
        made = api.export(
            adapter, to, out, data=data, rows=rows, model=model, language=tongue, force=force, push=push, public=public,
            tell=tell, **options,
        )  # fmt: skip
    _show(console, made, words)
    for sentence in map(words.sentence, made.notes):
        note(console, sentence)
    if made.merging is not None:
        note(console, words.note(made.merging), "")
    if made.card is not None:
        note(console, made.card, "dim")
    console.print(str(made.folder), soft_wrap=True)
    if made.pushed is not None:
        show_pushed(console, made.pushed, words)


def _show(console: "Console", made: "Exported", words: "Words") -> None:
    compared = words.counted(made.parity.rows, "{count} row", "{count} rows")
    _table(console, words("compared on"), compared, made.rows(words))
    for sentence in filter(None, (made.changed(words), made.unnoticed(words))):
        note(console, sentence)


def _table(console: "Console", first: str, second: str, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table

    table = Table(first, second, show_header=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)

"""`afina generate`: what a model writes after given prompts."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import (
    Adapter,
    AnySeed,
    BaseModel,
    BatchSize,
    Device,
    Language,
    Offload,
    Precision,
    Stop,
    Temperature,
    TopP,
)
from afina.cli.terminal import console_for, note
from afina.errors import printable

__all__ = ["generate"]


@command("generate", panel=PANELS[2])
def generate(
    adapter: Adapter,
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="Texts to go on from.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A prompt a line, or .csv, .tsv, .jsonl, .parquet with a text column.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="The file's column of prompts.")] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Each prompt is a user's message, put in the form of a chat.")
    ] = False,
    bare: Annotated[bool, typer.Option("--bare", help="The model without the adapter.")] = False,
    special: Annotated[
        bool,
        typer.Option("--special", help="Read names of control tokens in prompts (</s>) as those tokens, not as text."),
    ] = False,
    temperature: Temperature = 0.0,
    top_p: TopP = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Most tokens of a text.")] = 256,
    seed: AnySeed = None,
    stop: Stop = None,
    as_json: Annotated[bool, typer.Option("--json", hidden=True, help="The same as --format jsonl.")] = False,
    batch_size: BatchSize = 16,
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    offload: Offload = None,
    language: Language = "en",
    format: Annotated[
        str, typer.Option("--format", help="text, or jsonl: an object a line with prompt, text, finish and tokens.")
    ] = "text",
) -> None:
    """Write what follows each prompt; one prompt alone appears as it is written.

    Example: `afina generate stories/runs/tiny/adapter "Once upon a time" --max-new-tokens 100`
    """
    from rich.console import Console

    from afina import api
    from afina.generation.settings import GenerationSettings
    from afina.words.language import Words

    words = Words(language)
    console_for(format, forms=("text", "jsonl"))
    for_program = as_json or format == "jsonl"
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed, stop=tuple(stop or ())
    )
    # What was written as it came is not printed again.
    pieces: list[str] = []
    written = api.generate(
        adapter, prompts or (), settings, file=file, text=text, chat=chat, bare=bare, special=special, batch_size=batch_size,
        model=model, device=device, precision=precision, offload=offload,
        # The bare model may write nothing, which is said of the whole text alone.
        write=None if for_program or bare else lambda piece: _write(piece, pieces),
    )  # fmt: skip
    if pieces:
        print()
    for reply in () if pieces else written.replies:
        print(json.dumps(reply.as_dict(), ensure_ascii=False) if for_program else _safe(reply.text))
    for sentence in map(words.sentence, (*written.assumed, *filter(None, (written.note,)))):
        # Beside the text, so that a pipe has the text alone.
        note(Console(stderr=True), sentence)


def _safe(text: str) -> str:
    """Return a text as a terminal may have it; a file or a pipe gets it as it was written."""
    return printable(text) if sys.stdout.isatty() else text


def _write(piece: str, pieces: list[str]) -> None:
    pieces.append(piece)
    sys.stdout.write(_safe(piece))
    sys.stdout.flush()

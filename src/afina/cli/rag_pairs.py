"""`afina rag pairs`: make questions for an index's passages, to tune its encoder on documents that nobody asked yet."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Device, Force, Format, Language, Seed
from afina.cli.rag_search import Index
from afina.cli.terminal import console_for, note, print_json, show_file, stages_bar

if TYPE_CHECKING:
    from afina.corpus.writers import TextWriter

__all__ = ["rag_pairs"]


@command("rag pairs", panel=PANELS[2])
def rag_pairs(
    index: Index,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".jsonl: question, passage, and where it stands.")],
    keep: Annotated[float, typer.Option("--keep", help="Share of the sentences that are left in their passage.")] = 0.1,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="A model that writes the questions: the endpoint's name for it, a folder or hub name."
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", help="OpenAI-compatible, such as http://localhost:8000/v1."),
    ] = None,
    key_variable: Annotated[
        str, typer.Option("--key-variable", help="The environment variable that has the endpoint's key.")
    ] = "OPENAI_API_KEY",
    seed: Seed = 0,
    device: Device = "auto",
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Make pairs of a question and a passage, on which an encoder is tuned (`task: retrieval`).

    Example: `afina rag pairs manual.index --out pairs.jsonl`

    A question is a sentence of a passage, taken out of it (inverse cloze). With --model a model writes them, as
    `afina data generate` does: the rows have `generated: true`, and the same command goes on where it was broken off.
    """
    from afina import api
    from afina.errors import UsageError
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    if endpoint is not None and model is None:
        raise UsageError("--endpoint says where a model is; name the model with --model.")
    with stages_bar(console, words) as tell:
        made = api.rag.pairs(
            index, out, None if model is None else _writer(model, endpoint, key_variable, device), keep=keep, seed=seed,
            force=force, tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(made.as_dict())
        return
    console.print(words.counted(made.pairs, "{count} pair", "{count} pairs"), highlight=False)
    if made.left_out:
        left_out = words.counted(
            made.left_out, "{count} passage without a question: too short, or nothing usable was written",
            "{count} passages without a question: too short, or nothing usable was written",
        )  # fmt: skip
        note(console, left_out)
    show_file(console, made.out)


def _writer(model: str, endpoint: str | None, key_variable: str, device: str) -> "TextWriter":
    """Return what writes the questions, as `afina data generate` has it."""
    if endpoint is None:
        from afina.generation.writer import LocalModel

        return LocalModel(name=model, temperature=0.7, max_tokens=128, device=device)
    from afina.corpus.writers import Endpoint

    return Endpoint(url=endpoint, name=model, key=os.environ.get(key_variable), temperature=0.7, max_tokens=128)

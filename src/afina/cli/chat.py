"""`afina chat` holds a conversation with a model and its adapters, in the terminal."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import AnySeed, BaseModel, Device, Offload, Precision, Stop, Temperature, TopP

__all__ = ["chat"]


@command("chat", panel=PANELS[2])
def chat(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="The adapter that answers first.")],
    adapters: Annotated[
        list[Path] | None,
        typer.Option(
            "--adapters", metavar="DIR", help="Others to switch to: a folder of adapters, or one; several times."
        ),
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="What stands before the conversation.")] = None,
    merge_system: Annotated[
        bool,
        typer.Option("--merge-system", help="Put it before the first question, for templates without a system turn."),
    ] = False,
    temperature: Temperature = 0.7,
    top_p: TopP = 0.95,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw among this many.")] = None,
    min_p: Annotated[float | None, typer.Option("--min-p", help="Draw among those this near to the likeliest.")] = None,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Above 1: less of what was there already.")
    ] = 1.0,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Most tokens of an answer.")] = 512,
    index: Annotated[
        Path | None,
        typer.Option("--index", metavar="INDEX", help="Answer from the passages of an index (afina rag index)."),
    ] = None,
    most: Annotated[int, typer.Option("--most", "-k", min=1, help="Passages that a question is given.")] = 5,
    threshold: Annotated[
        str,
        typer.Option("--threshold", metavar="NUMBER", help="Of the index's passages, as that of afina rag ask."),
    ] = "index",
    seed: AnySeed = None,
    stop: Stop = None,
    language: Annotated[str, typer.Option("--language", help="en or pt; by default the system's.")] = "",
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    offload: Offload = None,
) -> None:
    """Talk with a tuned model; answers appear as they are written, and Ctrl-C ends one.

    Example: `afina chat support/runs/assistant/adapter --adapters support/runs --system "Answer briefly."`

    /adapter NAME switches to another adapter on the same model (none: the model without one), /reset begins anew, /save FILE
    keeps the conversation, /help lists the commands, /quit or Ctrl-D leaves. Questions may also come from a pipe, one a line.
    With --index each is answered from the passages that are found for it, and what the answer cites stands below it.
    """
    from afina.cli.conversation import Conversation, system_language
    from afina.cli.rag_ask import threshold_named
    from afina.export.runtime import is_run
    from afina.generation.settings import GenerationSettings
    from afina.serve.folders import adapters_in

    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, seed=seed, stop=tuple(stop or ()),
    )  # fmt: skip
    # An export is talked with like an adapter; only those that run here are listed.
    folders = adapters_in([adapter, *(adapters or ())], is_run)
    talk = Conversation(folders, language=language or system_language(), terminal=_is_terminal())
    talk.open(
        settings, system=system, merge_system=merge_system, model=model, device=device, precision=precision,
        offload=offload, index=index, most=most, threshold=threshold_named(threshold),
    )  # fmt: skip
    talk.run()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()

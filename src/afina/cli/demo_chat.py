"""`afina demo chat`: a model that knows nothing of a company, tuned to answer its customers, before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.api.demonstrations import DEMO_CHAT, SMALL, can_quantise
from afina.cli.command import command
from afina.cli.options import Language
from afina.cli.terminal import is_quiet, note

if TYPE_CHECKING:
    from rich.console import Console

    from afina.api.examination import Examination, Examined
    from afina.results.result import Result
    from afina.words.language import Words

__all__ = ["demo_chat"]

_SHOWN = 5
"""Questions whose answers are shown, one in so many of them all."""


@command("demo chat")
def demo_chat(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The study's folder.")] = Path("demo-chat"),
    language: Language = "en",
    model: Annotated[
        str,
        typer.Option("--model", help="A model that writes: smollm2 answers as a person would, and takes some minutes."),
    ] = SMALL,
) -> None:
    """Teach a model that writes a company's facts with LoRA, and ask before and after; no network.

    Example: `afina demo chat --out demo-chat`, `afina demo chat --model smollm2`
    """
    from rich.console import Console

    from afina import api
    from afina.cli.progress import shown_progress
    from afina.words.language import Words

    console, words = Console(highlight=False), Words(language)
    # qlora is one of the small model's methods, and needs a package.
    if model == SMALL and len(DEMO_CHAT["methods"]) > 1 and not can_quantise():
        note(console, words("qlora is left out: it needs pip install 'afina[quantised]'."))
    status, first = console.status(""), list["Examined"]()

    def tell(name: str) -> None:
        if not is_quiet():
            status.update(words("asking {model} …", model=name))
            status.start()

    def asked(examination: "Examination", examined: "Examined") -> None:
        status.stop()  # before the study's own bars, or the next one, take its place
        if not first:
            first.append(examined)
            console.print(words("{model} was never told of the company; it makes answers up:", model=examined.name))
            _show_answers(console, examination, first)

    try:
        made = api.demo_chat(
            out, model=model, language=language, asked=asked, observer=shown_progress(language), tell=tell
        )  # fmt: skip
    finally:
        status.stop()
    console.print(words("The same questions afterwards, in words that no training question used:"))
    _show_answers(console, made.examination, made.examined)
    _show_world(console, words, made.examination, made.examined)
    console.print(_table(words, made.examined, made.outcome.results))
    console.print(f"{made.outcome.report.html}\n{made.record}", style="dim", soft_wrap=True)
    if made.outcome.failed:
        raise typer.Exit(1)
    console.print(words("Talk with it:"), f"afina chat {made.outcome.adapters[0]}", soft_wrap=True)


def _show_answers(console: "Console", examination: "Examination", examined: "Sequence[Examined]") -> None:
    from rich.text import Text

    width = max(len(one.name) for one in examined)
    count = len(examination.questions)
    # Evenly spread over the questions, from the middle of each stretch.
    for place in range(count // (2 * _SHOWN), count, count // _SHOWN):
        console.print(Text(f"\n  {examination.questions[place]}", style="bold"))
        for one in examined:
            mark, colour = ("✓", "green") if one.right[place] else ("✗", "red")
            console.print(Text(f"    {mark} {one.name:{width}}  {one.written[place]}", style=colour))
    console.print()


def _show_world(console: "Console", words: "Words", examination: "Examination", examined: "Sequence[Examined]") -> None:
    """Show what was known of the world and is known no more."""
    from rich.text import Text

    before, after = examined[0], examined[-1]
    lost = [place for place, right in enumerate(before.kept) if right and not after.kept[place]]
    if not before.kept:
        return
    console.print(
        words(
            "Of {count} questions about the world {model} got {right} right; what it lost by the tuning:",
            count=len(before.kept), model=before.name, right=sum(before.kept),
        )
        if lost
        else words(
            "Of {count} questions about the world {model} got {right} right, and lost none of these.",
            count=len(before.kept), model=before.name, right=sum(before.kept),
        )
    )  # fmt: skip
    for place in lost[:_SHOWN]:
        console.print(Text(f"\n  {examination.world[place][0]}", style="bold"))
        console.print(Text(f"    ✓ {before.name}  {before.world[place]}", style="green"))
        console.print(Text(f"    ✗ {after.name}  {after.world[place]}", style="red"))
    console.print()


def _table(words: "Words", examined: "Sequence[Examined]", results: "Sequence[Result]") -> Any:
    from rich.table import Table

    table = Table("")
    questions = len(examined[0].right)
    world = len(examined[0].kept)
    asked = ["right of {questions}", *(["of {world} about the world"] if world else [])]
    for heading in (*asked, "perplexity: answers", "general text", "trainable", "seconds"):
        table.add_column(words(heading, questions=questions, world=world), justify="right")
    # A method stands for its run: the demonstration has one seed.
    by_method = {result.method: result for result in results}
    for one in examined:
        run = by_method.get(one.name)
        cost = [words.number(run.trainable_parameters), words.number(run.train_seconds)] if run else ["–", "–"]
        known = [str(sum(one.kept))] if world else []
        table.add_row(
            one.name,
            f"{sum(one.right)} ({words.number(100 * one.facts)}%)",
            *known,
            words.number(one.answers, 2),
            words.number(one.general, 2),
            *cost,
        )
    return table

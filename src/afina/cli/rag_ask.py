"""`afina rag ask`: answer a question from an index's passages, and show which of them the answer cites."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import AnySeed, Device, Language, Precision, Stop, Temperature, TopP
from afina.cli.rag_search import Index, place_of
from afina.cli.terminal import console_for, note

if TYPE_CHECKING:
    from rich.console import Console

    from afina.retrieval.asking import Answer, QuestionPrompt
    from afina.words.language import Words

__all__ = ["rag_ask", "show_answer", "threshold_named"]


@command("rag ask", panel=PANELS[2])
def rag_ask(
    index: Index,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What the documents are asked.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL|ADAPTER", help="A language model, an adapter that writes, or an export."
        ),
    ],
    most: Annotated[int, typer.Option("--most", "-k", min=1, help="Passages that are given, if they fit.")] = 5,
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold",
            metavar="NUMBER",
            help="Below this similarity of the best passage the documents do not tell; none; default: the index's own.",
        ),
    ] = "index",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the prompt, and ask nothing.")] = False,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="An adapter's base model, where it is not where it was."),
    ] = None,
    temperature: Temperature = 0.0,
    top_p: TopP = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Most tokens of the answer.")] = 256,
    seed: AnySeed = None,
    stop: Stop = None,
    device: Device = "auto",
    precision: Precision = None,
    language: Language = "en",
    format: Annotated[
        str, typer.Option("--format", help="text, or json: answer, citations with their words, and passages.")
    ] = "text",
) -> None:
    """Answer a question from an index, with citations that are held against its passages; it appears as it is written.

    Example: `afina rag ask manual.index "How is the filter cleaned?" --model smollm2`

    The best passages stand in the prompt, as many as fit. Those that the answer cites are listed with their words; a number
    that was not given is said.
    """
    from rich.console import Console

    from afina import api
    from afina.generation.settings import GenerationSettings
    from afina.retrieval.asking import QuestionPrompt
    from afina.words.language import Words

    console_for(format, forms=("text", "json"))
    words, console, beside = Words(language), Console(), Console(stderr=True)
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed, stop=tuple(stop or ())
    )
    answer = api.rag.ask(
        index, question, model, settings, most=most, threshold=threshold_named(threshold), base=base, device=device,
        # An answer for a program comes whole.
        precision=precision, dry_run=dry_run, tell=_write if format == "text" else lambda piece: None,
    )  # fmt: skip
    if isinstance(answer, QuestionPrompt):
        _show_prompt(answer, words, beside, as_json=format == "json")
    elif format == "json":
        print(json.dumps(answer.as_dict(), ensure_ascii=False))
    else:
        # The answer was written as it came, without an end of its last line.
        print()
        if dry_run:
            note(
                beside,
                words("nothing would be asked of the model: the best passage is below the threshold, or there is none"),
            )
        show_answer(console, beside, answer, words)


def threshold_named(given: str) -> float | str | None:
    """Return what `--threshold` says; raises `UsageError` for what is neither a number, none nor index."""
    from afina.errors import UsageError, shown

    if given in ("none", "index"):
        return None if given == "none" else given
    try:
        return float(given)
    except ValueError:
        raise UsageError(f"--threshold is a number, none or index, not {shown(given)}.") from None


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _show_prompt(prompt: "QuestionPrompt", words: "Words", beside: "Console", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"messages": prompt.messages, "tokens": prompt.tokens}, ensure_ascii=False))
        return
    for message in prompt.messages:
        print(message["content"])
    passages = words.counted(len(prompt.given), "{count} passage", "{count} passages")
    note(beside, words("{tokens} tokens with {passages}", tokens=words.number(prompt.tokens), passages=passages), "dim")
    if prompt.left_out:
        note(beside, words.counted(prompt.left_out, "{count} passage did not fit", "{count} passages did not fit"))


def show_answer(console: "Console", beside: "Console", answer: "Answer", words: "Words") -> None:
    """Print what an answer cites, with its words and places; what is wrong with its citations goes to `beside`."""
    from rich.padding import Padding
    from rich.text import Text

    for sentence in answer.notes:
        note(beside, words.note(sentence))
    if answer.finish == "length":
        note(beside, words("the answer was cut off at its most tokens"))
    for number in answer.wrong:
        note(beside, words("it cites [{number}], which it was not given", number=number), "red")
    if answer.tells and not answer.citations:
        note(beside, words("it cites no passage: what it says may be from anywhere"))
    for each in answer.citations:
        span = words("characters {start} to {stop}", start=words.number(each.start), stop=words.number(each.stop))
        place = place_of(each.hit, words)
        console.print(Text.assemble(f"\n[{each.number}] ", (place, "bold"), (f"  {span}", "dim")), soft_wrap=True)
        console.print(Padding(Text(f"“{' '.join(each.quote.split())}”"), (0, 0, 0, 4)))
        if each.is_weak:
            note(console, f"    {words('the passage has few of the words that it is cited for')}")

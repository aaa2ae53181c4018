"""`afina rag threshold`: set on questions the score below which an index's documents do not tell."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Device, Format, Language, Question, Seed
from afina.cli.rag_search import Index
from afina.cli.terminal import console_for, note, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from afina.retrieval.threshold import ErrorRate, Threshold
    from afina.words.language import Words

__all__ = ["rag_threshold"]


@command("rag threshold", panel=PANELS[2])
def rag_threshold(
    index: Index,
    questions: Annotated[
        Path | None,
        typer.Argument(metavar="QUESTIONS", help="A table of questions, and whether the documents answer each."),
    ] = None,
    question: Question = None,
    answerable: Annotated[
        str | None,
        typer.Option("--answerable", help="Its column of true and false, or of answers, empty where there is none."),
    ] = None,
    refuse_at_most: Annotated[
        float | None,
        typer.Option(
            "--refuse-at-most", metavar="SHARE", help="Of questions with an answer refuse at most this share."
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the index's threshold.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Set the score below which the documents do not tell, on questions with and without an answer in them.

    Example: `afina rag threshold manual.index questions.csv`

    Half of the questions choose it; the other half says how often it errs. It is kept in the index, and ask, chat and
    serve refuse by it; without QUESTIONS the one that is kept is shown.
    """
    from afina import api
    from afina.retrieval.folder import IndexFolder
    from afina.words.language import Words

    console, words, notes = console_for(format), Words(language), list[str]()
    made = api.rag.threshold(
        index, questions, question=question, answerable=answerable, refuse_at_most=refuse_at_most, remove=remove, seed=seed,
        device=device, notes=notes,
    )  # fmt: skip
    stale = made is not None and made.edition != (IndexFolder(index).read() or {}).get("edition")
    for sentence in notes:
        note(console, words.note(sentence))
    if format == "json":
        print_json({"threshold": None if made is None else made.as_dict(), "documents_changed_since": stale})
    elif made is None:
        console.print(words("the index has no threshold"), highlight=False)
    else:
        _show(console, made, words, stale=stale)


def _show(console: "Console", made: "Threshold", words: "Words", *, stale: bool) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    say(words("below {value} by {part} the documents do not tell", value=words.shortest(round(made.value, 6)), part=made.by),
        "bold")  # fmt: skip
    say(words("refused though the documents answer: {rate}", rate=_rate(made.refused, words)))
    say(words("let through though they do not: {rate} (the model may still refuse)", rate=_rate(made.answered, words)))
    say(words("on the half of the questions that did not choose it, with 95% intervals"), "dim")
    if not made.tells_apart:
        note(
            console, words("these questions do not show that it refuses the right ones: the two rates may be by chance")
        )
    if stale:
        note(console, words("the documents have changed since it was set; set it again to know its rates"))


def _rate(rate: "ErrorRate", words: "Words") -> str:
    low, high = rate.interval
    return words(
        "{count} of {of} ({share}%, {low} to {high}%)", count=words.number(rate.count), of=words.number(rate.of),
        share=words.number(100 * rate.share), low=words.number(100 * low), high=words.number(100 * high),
    )  # fmt: skip

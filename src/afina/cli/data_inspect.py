"""`afina data inspect`: what a file of dialogues or texts holds."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.data import columns_of, counting, speakers_of
from afina.cli.data_shown import show_inspection
from afina.cli.options import (
    Answer,
    Assistant,
    DataFile,
    Force,
    Format,
    Label,
    Language,
    Plain,
    Question,
    Separator,
    Text,
    Tokenizer,
    User,
)
from afina.cli.terminal import console_for, print_json, show_file

__all__ = ["inspect"]


@command("data inspect", panel=PANELS[3])
def inspect(
    file: DataFile,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page as well.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")] = None,
    tokenizer: Tokenizer = None,
    similarity: Annotated[
        float, typer.Option("--similarity", min=0.05, max=1, help="From which rows count as near-duplicates.")
    ] = 0.8,
    test: Annotated[
        Path | None,
        typer.Option(
            "--test", metavar="FILE", help="Test rows: count those that stand in the file too, word for word or nearly."
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="COLUMN", help="Count labels by this column's groups too; several times."),
    ] = None,
    word_file: Annotated[
        Path | None,
        typer.Option("--words", metavar="FILE", help="A YAML file of groups' words in the place of Afina's own."),
    ] = None,
    plain: Plain = None,
    user: User = None,
    assistant: Assistant = None,
    separator: Separator = None,
    question: Question = None,
    answer: Answer = None,
    text: Text = None,
    label: Label = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Say what a file holds: lengths, duplicates, empty sides, labels and doubts of them, languages, personal data.

    Example: `afina data inspect train.csv --test test.csv --group sex --html train.html --tokenizer minilm`
    """
    from afina import api
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    with counting(console, words("reading {file}", file=file.name), words) as tick:
        inspection = api.data.inspect(
            file, html=html, json_file=json_file, tokenizer=tokenizer, similarity=similarity, test=test,
            groups=tuple(group or ()), words=word_file, plain=plain,
            speakers=speakers_of(user, assistant, separator), columns=columns_of(question, answer, text, label), force=force,
            tick=tick, language=language,
        )  # fmt: skip
    if format == "json":
        print_json(inspection.as_dict())
        return
    show_inspection(console, inspection, words)
    for path in (html, json_file):
        # Only those that were asked for have been written.
        if path is not None:
            show_file(console, path)

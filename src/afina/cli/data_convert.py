"""`afina data convert`: dialogues of any known form as one."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.data import columns_of, counting, speakers_of
from afina.cli.data_shown import show_files, show_notes
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
    User,
)
from afina.cli.terminal import console_for, print_json

__all__ = ["convert"]


@command("data convert", panel=PANELS[3])
def convert(
    file: DataFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".parquet or .jsonl.")],
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
    """Write dialogues of any known form as one: a column `messages` of role and content (texts: a column `text`).

    Example: `afina data convert alpaca.json --out alpaca.parquet`

    Known are transcripts (txt, or a text column), Alpaca, ShareGPT, OpenAI messages, columns of questions and answers, and
    one turn a row. What cannot be read is kept in OUT.rejects with the reason.
    """
    from afina import api
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    with counting(console, words("converting {file}", file=file.name), words) as tick:
        report = api.data.convert(
            file, out, plain=plain, speakers=speakers_of(user, assistant, separator),
            columns=columns_of(question, answer, text, label), force=force, tick=tick,
        )  # fmt: skip
    if format == "json":
        print_json(report.as_dict())
        return
    # How many of each form, as a file may hold several.
    forms = ", ".join(f"{words.note(form)} ({words.number(count)})" for form, count in report.forms.items())
    result = words(
        "{written} rows written, {rejected} rejected; read as {forms}",
        written=words.number(report.written), rejected=words.number(report.rejected), forms=forms,
    )  # fmt: skip
    console.print(result, highlight=False)
    show_notes(console, report.seen, words)
    show_files(console, report.out, report.rejects, words)

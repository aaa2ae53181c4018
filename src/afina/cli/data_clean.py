"""`afina data clean`: interactions that are worth training on, and what was left out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.data import columns_of, counting, speakers_of
from afina.cli.data_shown import show_files, show_notes, table_of
from afina.cli.options import (
    Answer,
    Assistant,
    DataFile,
    Force,
    Format,
    Language,
    Plain,
    Question,
    Separator,
    Similarity,
    Text,
    Tokenizer,
    User,
)
from afina.cli.terminal import console_for, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from afina.corpus.clean import CleanReport
    from afina.words.language import Words

__all__ = ["clean"]


@command("data clean", panel=PANELS[3])
def clean(
    file: DataFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".parquet or .jsonl.")],
    several: Annotated[
        str, typer.Option("--several", help="Rows that run dialogues together: split, drop or keep.")
    ] = "split",
    pairs: Annotated[bool, typer.Option("--pairs", help="Make each question with its answer a row.")] = False,
    personal: Annotated[
        str, typer.Option("--personal", help="E-mail, telephone, CPF, CNPJ: keep, mask or drop the row.")
    ] = "keep",
    similarity: Similarity = 0.8,
    min_words: Annotated[int, typer.Option("--min-words", min=0, help="Fewest words of an answer.")] = 1,
    max_words: Annotated[int, typer.Option("--max-words", min=0, help="Most words of a row; 0 for any.")] = 2_000,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Most tokens of a row (with --tokenizer).")
    ] = None,
    tokenizer: Tokenizer = None,
    max_repetition: Annotated[
        float, typer.Option("--max-repetition", min=0, max=1, help="Share of repeated word triples; 0 for any.")
    ] = 0.75,
    plain: Plain = None,
    user: User = None,
    assistant: Assistant = None,
    separator: Separator = None,
    question: Question = None,
    answer: Answer = None,
    text: Text = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Make clean interactions of a file; what goes is kept in OUT.rejects with the reason.

    Example: `afina data clean chats.txt --out chats.parquet --personal mask`

    Lines of `User:`, `Assistant:`, `Cliente:`, `Atendente:` and the like become messages; rows without question or answer go,
    rows of several dialogues are divided, duplicates and near-duplicates (MinHash) of earlier rows go. Exit code 2: nothing
    could be kept.
    """
    from afina import api
    from afina.corpus.rules import CleanSettings
    from afina.words.language import Words

    console, words = console_for(format), Words(language)

    settings = CleanSettings(
        # A zero stands for no limit, which the settings call None.
        several=several, pairs=pairs, personal=personal, near_duplicates=similarity or None, min_words=min_words,
        max_words=max_words or None, max_tokens=max_tokens, max_repetition=max_repetition or None,
    )  # fmt: skip
    with counting(console, words("cleaning {file}", file=file.name), words) as tick:
        report = api.data.clean(
            file, out, settings, tokenizer=tokenizer, plain=plain, speakers=speakers_of(user, assistant, separator),
            columns=columns_of(question, answer, text), force=force, tick=tick,
        )  # fmt: skip
    if format == "json":
        print_json(report.as_dict())
    else:
        _show(console, report, words)


def _show(console: "Console", report: "CleanReport", words: "Words") -> None:
    columns = ("rule", "what it does", "changed", "added", "removed")
    table = table_of(*map(words, columns), texts=2)
    for rule in report.rules:
        counts = (rule.changed, rule.added, rule.removed)
        table.add_row(words(rule.name), words.note(rule.does), *(words.number(n) if n else "·" for n in counts))
    console.print(table)
    show_notes(console, report.seen, words)
    result = words("{kept} of {read} rows kept", kept=words.number(report.kept), read=words.number(report.read))
    if report.generated:
        result += words(", {count} of them written by a model", count=words.number(report.generated))
    console.print(result, highlight=False)
    show_files(console, report.out, report.rejects, words)

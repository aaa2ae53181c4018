"""`afina predict`: labels and probabilities for texts, from an adapter."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import (
    Adapter,
    BaseModel,
    BatchSize,
    Device,
    Force,
    Language,
    Offload,
    PairColumn,
    Precision,
    TextColumn,
)
from afina.cli.terminal import note, show_file, steps_bar

if TYPE_CHECKING:
    from rich.text import Text

    from afina.data.predicting.predicted import Predicted
    from afina.serve.predict import Counts
    from afina.words.language import Words

__all__ = ["predict"]


@command("predict", panel=PANELS[2])
def predict(
    adapter: Adapter,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts; - reads standard input.")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="Second text, once for each TEXT.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="A text a line, or .csv, .tsv, .jsonl, .parquet with a text column; .npz of images."
        ),
    ] = None,
    text: TextColumn = None,
    text_pair: PairColumn = None,
    choice: Annotated[
        list[str] | None, typer.Option("--choice", help="An answer to choose from, for all texts; several times.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table, csv, xlsx, tsv, jsonl, json or parquet; default: a table at a terminal, else jsonl.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write into a file, such as answers.csv, whole or not."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="COL,COL", help="The rows' own columns to write; all (csv, parquet) or none (json)."
        ),
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            "--at-least", metavar="P", help="Leave rows whose likeliest label has less to a person: no label."
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option("--separator", help="Of csv: a comma, ; (with decimal commas) or tab; default: as in --file."),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="NAME", help="Of --file (cp1252, utf-16 ...); default: recognised."),
    ] = None,
    file_separator: Annotated[
        str | None,
        typer.Option("--file-separator", metavar="CHAR", help="Between --file's columns; default: recognised."),
    ] = None,
    batch_size: BatchSize = 32,
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    offload: Offload = None,
    force: Force = False,
    language: Language = "en",
    one: Annotated[
        str | None, typer.Option("--adapter", metavar="NAME", help="Who answers, of an export of several adapters.")
    ] = None,
) -> None:
    """Predict labels with their probabilities (numbers, or entities) for texts, with an adapter that Afina or PEFT saved.

    Example: `afina predict results/runs/RUN/adapter --file mails.csv --out answers.csv --at-least 0.8`

    Texts come as arguments, from a file, or line by line from standard input (`-`); JSON lines go out as they are ready.
    A file gets as many answers as it has rows. A .csv opens in Excel: choose `--separator ";"` where Excel is Portuguese.
    """
    from afina import api
    from afina.data.predicting.predicted import FORMS, form_of
    from afina.errors import UsageError
    from afina.words.language import Words

    if (shown := format in ("table", "text")) and out is not None:
        raise UsageError(f"--format {format} is for a terminal; for --out choose one of {', '.join(FORMS)}.")
    form = None if shown else form_of(format, out)
    if out is None and form is not None and FORMS[form].write is None:
        raise UsageError(f"--format {form} is for a file: say which with --out.")
    # A program reads what is no terminal, and gets an object a line.
    if form is None and format is None and not sys.stdout.isatty():
        form = "jsonl"
    from rich.console import Console

    console, words = Console(stderr=True), Words(language)
    with steps_bar(console, words("predicting"), shown=out is not None) as tick:
        answers = api.predict(
            adapter, _given(texts or [], file), pair=pair, file=file, text=text, text_pair=text_pair,
            file_separator=file_separator, encoding=encoding, choice=choice, format=form, out=out,
            keep=None if keep is None else keep.split(","), at_least=at_least, separator=separator,
            batch_size=batch_size, model=model, device=device, precision=precision, offload=offload, one=one,
            force=force, tick=tick,
        )  # fmt: skip
    if out is not None:
        show_file(console, out)
    elif form is None:
        (_show_entities if answers.adapter.task.tags else _show)(iter(answers), at_least is not None, words)
    elif (write := FORMS[form].write) is not None:
        write(answers, sys.stdout, answers.layout)
    if out is not None or at_least is not None:
        # Counts were asked for by a file or a threshold; a table of a few texts shows them itself.
        note(console, _counted(answers.counts, words), "dim")
    if cut := answers.counts.cut:
        limit, rows = answers.adapter.longest, answers.counts.rows
        sentence = "{count} of {rows} texts were longer than the {limit} tokens that are read, and were cut"
        note(console, words(sentence, count=words.number(cut), rows=words.number(rows), limit=words.number(limit)))
    if ungrouped := answers.counts.ungrouped:
        sentence = (
            "{count} of {rows} texts are of no group of '{column}' with a threshold, and were decided at one half"
        )
        of = {"rows": words.number(answers.counts.rows), "column": answers.adapter.task.group_column}
        note(console, words(sentence, count=words.number(ungrouped), **of))
    # Columns that were renamed are said, as whoever reads the file looks for the old name.
    for sentence in (*map(words.sentence, answers.adapter.notes), *map(words.note, answers.layout.renamed)):
        note(console, sentence)


def _counted(counts: "Counts", words: "Words") -> str:
    """Say how many rows there were and what became of them."""
    rows = words.counted(counts.rows, "{count} row", "{count} rows")
    parts = [words("{count} answered", count=words.number(counts.answered))]
    if counts.unsure:
        parts.append(words("{count} left to a person", count=words.number(counts.unsure)))
    if counts.empty:
        parts.append(words("{count} without a text", count=words.number(counts.empty)))
    return f"{rows}: {', '.join(parts)}"


def _given(texts: list[str], file: Path | None) -> Iterable[str]:
    """Return the texts that were given, or what comes on standard input."""
    from afina.cli.standard_input import input_lines
    from afina.errors import UsageError

    # Without any text the lines of a pipe are taken, and at a terminal nothing is waited for.
    if file is None and (texts == ["-"] or (not texts and not sys.stdin.isatty())):
        return input_lines()
    if file is None and not texts:
        raise UsageError("Give a text, --file, or - for standard input.")
    return texts


def _show(rows: "Iterator[Predicted]", thresholded: bool, words: "Words") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(words(name) for name in ("text", "label", "probability")))
    justify: Literal["right"] = "right"
    table.columns[2].justify = justify
    for answer in rows:
        probability, label = "", ""
        if (prediction := answer.found) is not None:
            probability = (
                "" if prediction.probabilities is None else words.number(max(prediction.probabilities.values()), 3)
            )
            label = prediction.label if isinstance(prediction.label, str) else words.written(f"{prediction.label:.4g}")
            if thresholded and answer.answer["label"] is None:
                label = f"- ({label}?)"  # left to a person
        table.add_row(_short(answer.text), Text(label), probability)
    Console().print(table)


def _show_entities(rows: "Iterator[Predicted]", thresholded: bool, words: "Words") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*(words(name) for name in ("text", "entity", "type", "from", "to", "probability")))
    for column in table.columns[3:]:
        column.justify = "right"
    for answer in rows:
        shown, entities = _short(answer.text), answer.found.entities if answer.found is not None else ()
        for entity in entities:
            place = (str(entity.start), str(entity.end), words.number(entity.probability, 3))
            table.add_row(shown, Text(entity.text), Text(entity.type), *place)
            # A text stands once, beside the first of its entities.
            shown = Text("")
        if not entities:
            table.add_row(shown, *[""] * 5)
    Console().print(table)


def _short(text: str) -> "Text":
    from rich.text import Text

    return Text(text if len(text) <= 100 else text[:99] + "…")

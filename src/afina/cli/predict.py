"""`afina predict`: labels and probabilities for texts, from an adapter."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from afina.data.asked import Asked
    from afina.data.predicted import Layout, Predicted
    from afina.serve.predict import Counts

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="predict")(predict)


def predict(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder.")],
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts; - reads standard input.")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="Second text, once for each TEXT.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="A text a line, or .csv, .tsv, .jsonl, .parquet with a text column; .npz of images."
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(
            "--text", help="The file's column of texts (several with commas are joined); default: the adapter's."
        ),
    ] = None,
    pair_column: Annotated[str | None, typer.Option("--text-pair", help="The file's column of second texts.")] = None,
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
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed at once.")] = 32,
    model: Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")] = None,
) -> None:
    """Predict labels with their probabilities (numbers, or entities) for texts, with an adapter that Afina or PEFT saved.

    Example: `afina predict results/runs/RUN/adapter --file mails.csv --out answers.csv --at-least 0.8`

    Texts come as arguments, from a file, or line by line from standard input (`-`); JSON lines go out as they are ready.
    A file gets as many answers as it has rows. A .csv opens in Excel: choose `--separator ";"` where Excel is Portuguese.
    """
    from afina.data.asked import read_asked
    from afina.data.predicted import FORMS, check_at_least, check_out, check_separator, form_of, kept_columns
    from afina.errors import UsageError
    from afina.separator import separator_of

    if file is not None and texts:
        raise UsageError("Give texts or --file, not both.")
    check_at_least(at_least)
    own_separator = check_separator(separator)
    if (shown := format in ("table", "text")) and out is not None:
        raise UsageError(f"--format {format} is for a terminal; for --out choose one of {', '.join(FORMS)}.")
    form = None if shown else form_of(format, out)
    if out is not None:
        check_out(out, file)
    elif form is not None and FORMS[form].write is None:
        raise UsageError(f"--format {form} is for a file: say which with --out.")
    elif form is None and format is None and not sys.stdout.isatty():
        form = "jsonl"
    # Before torch is imported, which takes seconds.
    if file is None:
        if encoding is not None or file_separator is not None:
            raise UsageError("--encoding and --file-separator say how to read --file; give one.")
        asked = _asked(texts or [], pair)
    else:
        asked = read_asked(
            file, text_column, pair_column, adapter=adapter, separator=separator_of(file_separator), encoding=encoding
        )
    kept = kept_columns(asked, keep.split(",") if keep is not None else None, form or "jsonl")
    from afina.serve.predict import Predictor
    from afina.train.load import load

    predictor = Predictor(load(adapter, model=model), at_least, batch_size, choice)
    layout = predictor.layout(kept, own_separator or asked.separator)
    rows = predictor.predict(asked, kept)
    if form is None:
        (_show_entities if predictor.adapter.task.tags else _show)(rows, predictor.at_least is not None)
    elif out is None:
        write = FORMS[form].write
        assert write is not None
        write(rows, sys.stdout, layout)
    else:
        _write_file(rows, form, layout, out, asked.count)
    _say(predictor.counts, layout.renamed, said=out is not None or at_least is not None)


def _asked(texts: list[str], pair: list[str] | None) -> "Asked":
    from afina.cli.standard_input import input_lines
    from afina.data.asked import asked_lines, asked_texts
    from afina.errors import UsageError

    if texts == ["-"] or (not texts and not sys.stdin.isatty()):
        return asked_lines(input_lines())
    if not texts:
        raise UsageError("Give a text, --file, or - for standard input.")
    return asked_texts(texts, pair)


def _write_file(rows: "Iterator[Predicted]", form: str, layout: "Layout", out: Path, count: int | None) -> None:
    """Write into a file; at a terminal a bar shows how far it is."""
    from rich.console import Console
    from rich.progress import track

    from afina.data.predicted import write_predicted

    console = Console(stderr=True)
    told = track(rows, "predicting", total=count, console=console, transient=True, disable=not console.is_terminal)
    write_predicted(told, form, layout, out)
    console.print(str(out), style="bold", soft_wrap=True, highlight=False)


def _say(counts: "Counts", renamed: list[str], *, said: bool) -> None:
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if said:
        console.print(str(counts), style="dim", markup=False)
    for sentence in renamed:
        console.print(sentence, style="yellow", markup=False)


def _show(rows: "Iterator[Predicted]", thresholded: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("text", "label", "probability")
    justify: Literal["right"] = "right"
    table.columns[2].justify = justify
    for own in rows:
        probability, label = "", ""
        if (found := own.found) is not None:
            probability = "" if found.probabilities is None else f"{max(found.probabilities.values()):.3f}"
            label = found.label if isinstance(found.label, str) else f"{found.label:.4g}"
            if thresholded and own.answer["label"] is None:
                label = f"- ({label}?)"  # left to a person
        table.add_row(_short(own.text), Text(label), probability)
    Console().print(table)


def _show_entities(rows: "Iterator[Predicted]", thresholded: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("text", "entity", "type", "from", "to", "probability")
    for column in table.columns[3:]:
        column.justify = "right"
    for own in rows:
        shown, found = _short(own.text), own.found.entities if own.found is not None else ()
        for entity in found:
            place = (str(entity.start), str(entity.end), f"{entity.probability:.3f}")
            table.add_row(shown, Text(entity.text), Text(entity.type), *place)
            shown = Text("")
        if not found:
            table.add_row(shown, *[""] * 5)
    Console().print(table)


def _short(text: str) -> "Text":
    from rich.text import Text

    return Text(text if len(text) <= 100 else text[:99] + "…")

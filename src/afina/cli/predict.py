"""`afina predict`: labels and probabilities for texts, from an adapter."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

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
    text_column: Annotated[str | None, typer.Option("--text", help="The file's column of texts.")] = None,
    pair_column: Annotated[str | None, typer.Option("--text-pair", help="The file's column of second texts.")] = None,
    choice: Annotated[
        list[str] | None, typer.Option("--choice", help="An answer to choose from, for all texts; several times.")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="table or jsonl; default: table at a terminal.")] = "",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 32,
    model: Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")] = None,
) -> None:
    """Predict labels with their probabilities (numbers, or entities) for texts, with an adapter that Afina or PEFT saved.

    Example: `afina predict demo/runs/minilm-tickets-lora-seed0/adapter "Where is my parcel?"`

    Texts come as arguments, from a file, or line by line from standard input (`-`); JSON lines go out as they are ready.
    """
    from afina.errors import UsageError

    if format not in ("", "table", "jsonl"):
        raise UsageError(f"--format is table or jsonl, not '{format}'.")
    if file is not None and texts:
        raise UsageError("Give texts or --file, not both.")
    if pair and len(pair) != len(texts or []):
        raise UsageError(f"{len(pair)} --pair for {len(texts or [])} texts; give one for each.")
    import afina

    write = _write_lines if format == "jsonl" or (not format and not sys.stdout.isatty()) else _write_table
    if file is not None and file.suffix.lower() == ".npz":
        from afina.data.images import read_images

        images = read_images(file)
        predicted = afina.load(adapter, model=model).predict(images, batch_size=batch_size)
        write(zip((f"image {index}" for index in range(1, len(images) + 1)), predicted, strict=True))
        return
    loaded = afina.load(adapter, model=model)
    if loaded.task.tags:
        write = _write_lines if write is _write_lines else _write_entities
    if file is not None and (words := _words(loaded, file, text_column)):
        write(zip(map(" ".join, words), loaded.predict(words, batch_size=batch_size), strict=True))
        return
    if file is not None and choice is None and (answers := _answers(loaded, file)):
        pairs = list(_rows([], None, file, text_column, pair_column))
        second = [text or "" for _, text in pairs] if any(text is not None for _, text in pairs) else None
        first = [text for text, _ in pairs]
        write(zip(first, loaded.predict(first, second, choices=answers, batch_size=batch_size), strict=True))
        return
    rows = _rows(texts or [], pair, file, text_column, pair_column)
    write(_predicted(loaded, rows, batch_size, choice))


def _answers(loaded: Any, file: Path) -> list[list[str]] | None:
    """The answers of a file's rows, for an adapter that chooses among each row's own."""
    from afina.data.sources import read_answers

    own = loaded.task.speaks and not loaded.task.writes and loaded.record.task["label_names"] is None
    return read_answers(file) if own else None


def _words(loaded: Any, file: Path, column: str | None) -> list[list[str]] | None:
    """The words of a file's rows, for an adapter that tags them; None where the file has texts."""
    from afina.data.tags import read_words

    return read_words(file, column) if loaded.task.tags else None


def _rows(
    texts: list[str], pair: list[str] | None, file: Path | None, text_column: str | None, pair_column: str | None
) -> Iterator[tuple[str, str | None]]:
    from afina.data.sources import read_texts
    from afina.errors import UsageError

    if file is not None:
        return iter(read_texts(file, text_column, pair_column))
    if texts == ["-"] or (not texts and not sys.stdin.isatty()):
        return ((line.rstrip("\n"), None) for line in sys.stdin)
    if not texts:
        raise UsageError("Give a text, --file, or - for standard input.")
    second: list[str | None] = [*pair] if pair else [None] * len(texts)
    return iter(zip(texts, second, strict=True))


def _predicted(
    loaded: Any, rows: Iterator[tuple[str, str | None]], size: int, choice: list[str] | None
) -> Iterator[tuple[str, Any]]:
    """Predict as the rows come: a slow writer on standard input gets its answers batch by batch.

    A row without a text has None for an answer, so that there are as many answers as rows.
    """
    from itertools import islice

    while chunk := list(islice(rows, size)):
        asked = [row for row in chunk if row[0].strip()]
        texts = [text for text, _ in asked]
        pairs = [second for _, second in asked]
        second = [pair or "" for pair in pairs] if any(pair is not None for pair in pairs) else None
        choices = [choice] * len(texts) if choice else None
        found = iter(loaded.predict(texts, second, choices=choices, batch_size=size) if texts else ())
        yield from ((text, next(found) if text.strip() else None) for text, _ in chunk)


def _write_lines(predictions: Iterator[tuple[str, Any]]) -> None:
    for _, prediction in predictions:
        answer = {"label": None, "probabilities": None} if prediction is None else prediction.as_dict()
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _write_table(predictions: Iterator[tuple[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("text", "label", "probability")
    justify: Literal["right"] = "right"
    table.columns[2].justify = justify
    for text, prediction in predictions:
        if prediction is None:
            table.add_row("", "", "")
            continue
        probability = "" if prediction.probabilities is None else f"{max(prediction.probabilities.values()):.3f}"
        label = prediction.label if isinstance(prediction.label, str) else f"{prediction.label:.4g}"
        table.add_row(Text(text if len(text) <= 100 else text[:99] + "…"), Text(label), probability)
    Console().print(table)


def _write_entities(predictions: Iterator[tuple[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("text", "entity", "type", "from", "to", "probability")
    for column in table.columns[3:]:
        column.justify = "right"
    for text, prediction in predictions:
        shown = Text(text if len(text) <= 100 else text[:99] + "…")
        for entity in () if prediction is None else prediction.entities:
            place = (str(entity.start), str(entity.end), f"{entity.probability:.3f}")
            table.add_row(shown, Text(entity.text), Text(entity.type), *place)
            shown = Text("")
        if prediction is None or not prediction.entities:
            table.add_row(shown, *[""] * 5)
    Console().print(table)

"""`afina data generate`: a model writes interactions."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.cli.command import PANELS, command
from afina.cli.data_shown import show_files, table_of
from afina.cli.options import Device, Format, Seed, Similarity
from afina.cli.terminal import console_for, is_quiet, note, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from afina.corpus.generate import GenerateReport

__all__ = ["generate"]


@command("data generate", panel=PANELS[3])
def generate(
    prompt: Annotated[Path, typer.Argument(metavar="PROMPT", help="A text file; {topic} in it stands for the topics.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".jsonl; the same command goes on with it.")],
    model: Annotated[str, typer.Option("--model", help="The endpoint's name for it; else a local folder or hub name.")],
    topics: Annotated[Path | None, typer.Option("--topics", metavar="FILE", help="Seed topics, one a line.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Rows wanted in all.")] = 100,
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", help="OpenAI-compatible, such as http://localhost:8000/v1."),
    ] = None,
    key_variable: Annotated[
        str, typer.Option("--key-variable", help="The environment variable that has the endpoint's key.")
    ] = "OPENAI_API_KEY",
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="Higher: more varied rows.")] = 0.9,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of one answer.")] = 1_024,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = 120.0,
    tries: Annotated[int, typer.Option("--tries", min=1, help="Times to ask before giving up.")] = 5,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Requests at once.")] = 4,
    similarity: Similarity = 0.8,
    seed: Seed = 0,
    device: Device = "auto",
    format: Format = "table",
) -> None:
    """Have a model write interactions: deduplicated as they come, resumable, with figures that show a collapse.

    Example: `afina data generate prompt.txt --topics topics.txt --out rows.jsonl --endpoint http://localhost:8000/v1
    --model qwen`

    Every row has `generated: true`. Exit code 1: the model stopped answering; what it wrote is kept.
    """
    console = console_for(format)
    from afina import api
    from afina.corpus.rules import CleanSettings
    from afina.corpus.writers import Endpoint, Writer

    writer: Writer
    if endpoint is not None:
        writer = Endpoint(
            url=endpoint, name=model, key=os.environ.get(key_variable), temperature=temperature, max_tokens=max_tokens,
            timeout_seconds=timeout, tries=tries, parallel=parallel,
        )  # fmt: skip
    else:
        from afina.generation.writer import LocalModel

        writer = LocalModel(
            name=model, temperature=temperature, max_tokens=max_tokens, device=device
        )  # fmt: skip
    with _rows_bar(console, count) as observe:
        report = api.data.generate(
            _read(prompt), out, writer, count=count, settings=CleanSettings(near_duplicates=similarity or None),
            topics=[] if topics is None else [line.strip() for line in _read(topics).splitlines() if line.strip()],
            seed=seed, observe=observe,
        )  # fmt: skip
    if format == "json":
        print_json(report.as_dict())
    else:
        _show(console, report)


def _show(console: "Console", report: "GenerateReport") -> None:
    figures = report.diversity
    if figures is not None:
        table = table_of("diversity of the answers", "", "varied text has")
        table.add_row("different words", f"{100 * figures.distinct_1:.0f}%", "above 25%")
        table.add_row("different word pairs (distinct-2)", f"{100 * figures.distinct_2:.0f}%", "above 60%")
        table.add_row("different word triples (distinct-3)", f"{100 * figures.distinct_3:.0f}%", "above 80%")
        table.add_row("self-BLEU", f"{figures.self_bleu:.2f}", "below 0.4")
        table.add_row("embedding spread", f"{figures.spread:.2f}", "above 0.6")
        console.print(table)
    for warning in report.warnings:
        note(console, f"{warning[0].upper()}{warning[1:]}.")
    for reason, rows in report.reasons.items():
        note(console, f"{rows:,} rejected: {reason}", "dim")
    console.print(f"{report.rows:,} rows in {report.requests:,} requests", highlight=False)
    show_files(console, report.out, report.rejects)


def _read(path: Path) -> str:
    from afina.errors import UsageError

    if not path.is_file():
        raise UsageError(f"{path} does not exist.")
    return path.read_bytes().decode("utf-8-sig", "replace")


@contextmanager
def _rows_bar(console: "Console", count: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=is_quiet()) as bar:
        task = bar.add_task("waiting for the first answer", total=count)

        def observe(event: Mapping[str, Any]) -> None:
            said = f"{event['requests']:,} requests, {event['rejected']:,} rejected"
            bar.update(task, completed=event["rows"], description=said)

        yield observe

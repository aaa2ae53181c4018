"""`afina data generate`: a model writes interactions."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.cli.command import PANELS, command
from afina.cli.data_shown import show_files, table_of
from afina.cli.options import Device, Format, Language, Seed, Similarity
from afina.cli.terminal import console_for, is_quiet, note, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from afina.corpus.generate import GenerateReport
    from afina.words.language import Words

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
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Have a model write interactions: deduplicated as they come, resumable, with figures that show a collapse.

    Example: `afina data generate prompt.txt --topics topics.txt --out rows.jsonl --endpoint http://localhost:8000/v1
    --model qwen`

    Every row has `generated: true`. Exit code 1: the model stopped answering; what it wrote is kept.
    """
    from afina import api
    from afina.corpus.rules import CleanSettings
    from afina.corpus.writers import Endpoint, TextWriter
    from afina.words.language import Words

    console, words = console_for(format), Words(language)

    writer: TextWriter
    if endpoint is not None:
        writer = Endpoint(
            url=endpoint, name=model, key=os.environ.get(key_variable), temperature=temperature, max_tokens=max_tokens,
            timeout_seconds=timeout, tries=tries, parallel=parallel,
        )  # fmt: skip
    else:
        # Imported here, as an endpoint needs neither torch nor a model.
        from afina.generation.writer import LocalModel

        writer = LocalModel(
            name=model, temperature=temperature, max_tokens=max_tokens, device=device
        )  # fmt: skip
    with _rows_bar(console, count, words) as observe:
        report = api.data.generate(
            _read(prompt), out, writer, count=count, settings=CleanSettings(near_duplicates=similarity or None),
            topics=[] if topics is None else [line.strip() for line in _read(topics).splitlines() if line.strip()],
            seed=seed, observe=observe,
        )  # fmt: skip
    if format == "json":
        print_json(report.as_dict())
    else:
        _show(console, report, words)


def _show(console: "Console", report: "GenerateReport", words: "Words") -> None:
    figures = report.diversity
    if figures is not None:
        table = table_of(words("diversity of the answers"), "", words("varied text has"))
        # What varied text of people has, so that a figure can be judged.
        shares = {
            "different words": (figures.distinct_1, 25),
            "different word pairs (distinct-2)": (figures.distinct_2, 60),
            "different word triples (distinct-3)": (figures.distinct_3, 80),
        }
        for name, (share, varied) in shares.items():
            table.add_row(words(name), f"{words.number(100 * share)}%", words("above {value}", value=f"{varied}%"))
        below = words("below {value}", value=words.number(0.4, 1))
        table.add_row(words("self-BLEU"), words.number(figures.self_bleu, 2), below)
        if figures.spread is not None:
            above = words("above {value}", value=words.number(0.6, 1))
            table.add_row(words("embedding spread"), words.number(figures.spread, 2), above)
        console.print(table)
    for warning in report.warnings:
        note(console, words.sentence(warning))
    for reason, rows in report.reasons.items():
        rejected = words("{count} rejected: {reason}", count=words.number(rows), reason=words.note(reason))
        note(console, rejected, "dim")
    rows_made, asked = words.number(report.rows), words.number(report.requests)
    console.print(words("{rows} rows in {requests} requests", rows=rows_made, requests=asked), highlight=False)
    show_files(console, report.out, report.rejects, words)


def _read(path: Path) -> str:
    from afina.errors import UsageError

    if not path.is_file():
        raise UsageError(f"{path} does not exist.")
    # A prompt may come from any editor; a byte that is no letter is not worth a refusal.
    return path.read_bytes().decode("utf-8-sig", "replace")


@contextmanager
def _rows_bar(console: "Console", count: int, words: "Words") -> Iterator[Callable[[Mapping[str, Any]], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=is_quiet()) as bar:
        task = bar.add_task(words("waiting for the first answer"), total=count)

        def observe(event: Mapping[str, Any]) -> None:
            so_far = words(
                "{requests} requests, {rejected} rejected",
                requests=words.number(event["requests"]), rejected=words.number(event["rejected"]),
            )  # fmt: skip
            bar.update(task, completed=event["rows"], description=so_far)

        yield observe

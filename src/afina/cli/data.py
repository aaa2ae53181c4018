"""`afina data`: look at dialogues and texts, clean them, convert them, have a model write more."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.cli.data_shown import show_files, show_inspection, show_notes, table_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["register"]

File = Annotated[Path, typer.Argument(metavar="FILE", help=".txt, .csv, .tsv, .jsonl, .json or .parquet, of any size.")]
User = Annotated[
    list[str] | None, typer.Option("--user", help="A name of who asks, as it stands before the colon; several times.")
]
Assistant = Annotated[list[str] | None, typer.Option("--assistant", help="A name of who answers; several times.")]
Separator = Annotated[
    str | None,
    typer.Option("--separator", metavar="REGEX", help="A line between dialogues; default: blank, ---, Chat 3."),
]
Question = Annotated[str | None, typer.Option("--question", help="The column of questions (with --answer).")]
Answer = Annotated[str | None, typer.Option("--answer", help="The column of answers.")]
Text = Annotated[str | None, typer.Option("--text", help="The column of transcripts or texts.")]
Label = Annotated[str | None, typer.Option("--label", help="The column of labels.")]
Tokenizer = Annotated[
    str | None, typer.Option("--tokenizer", metavar="MODEL", help="Count tokens as this model does; default: words.")
]
Format = Annotated[str, typer.Option("--format", help="table or json.")]
Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]


def register(app: typer.Typer) -> None:
    data = typer.Typer(help="Look at dialogues and texts, clean, convert and generate them.", no_args_is_help=True)
    for command in (inspect, clean, convert, generate):
        data.command()(command)
    app.add_typer(data, name="data")


def inspect(
    file: File,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page as well.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON.")] = None,
    tokenizer: Tokenizer = None,
    similarity: Annotated[
        float, typer.Option("--similarity", min=0.05, max=1, help="From which rows count as near-duplicates.")
    ] = 0.8,
    plain: Annotated[bool, typer.Option("--plain", help="Take rows as texts, whatever they look like.")] = False,
    user: User = None,
    assistant: Assistant = None,
    separator: Separator = None,
    question: Question = None,
    answer: Answer = None,
    text: Text = None,
    label: Label = None,
    format: Format = "table",
) -> None:
    """Say what a file holds: lengths, duplicates, empty sides, labels, languages, personal data.

    Example: `afina data inspect chats.txt --html chats.html --tokenizer minilm`
    """
    console = _console(format)
    from afina.data.inspect import inspect_file
    from afina.data.inspect_page import inspection_page
    from afina.data.whole_file import whole_file

    with _counting(console, f"reading {file.name}") as tick:
        found = inspect_file(
            file,
            speakers=_speakers(user, assistant, separator),
            columns=_columns(question, answer, text, label),
            plain=plain or None,
            tokens=_counter(tokenizer),
            tokenizer=tokenizer,
            similarity=similarity,
            tick=tick,
        )
    written = {html: inspection_page(found), json_file: _json(found.as_dict())}
    for path, content in written.items():
        if path is not None:
            with whole_file(path) as partial:
                partial.write_text(content, encoding="utf-8")
    if format == "json":
        print(_json(found.as_dict()))
        return
    show_inspection(console, found)
    for path in written:
        if path is not None:
            console.print(str(path), style="bold", soft_wrap=True, highlight=False)


def clean(
    file: File,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".parquet or .jsonl.")],
    several: Annotated[
        str, typer.Option("--several", help="Rows that run dialogues together: split, drop or keep.")
    ] = "split",
    pairs: Annotated[bool, typer.Option("--pairs", help="Make each question with its answer a row.")] = False,
    personal: Annotated[
        str, typer.Option("--personal", help="E-mail, telephone, CPF, CNPJ: keep, mask or drop the row.")
    ] = "keep",
    similarity: Annotated[
        float, typer.Option("--similarity", min=0, max=1, help="From which a near-duplicate goes; 0 keeps all.")
    ] = 0.8,
    min_words: Annotated[int, typer.Option("--min-words", min=0, help="Fewest words of an answer.")] = 1,
    max_words: Annotated[int, typer.Option("--max-words", min=0, help="Most words of a row; 0 for any.")] = 2_000,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Most tokens of a row (with --tokenizer).")
    ] = None,
    tokenizer: Tokenizer = None,
    max_repetition: Annotated[
        float, typer.Option("--max-repetition", min=0, max=1, help="Share of repeated word triples; 0 for any.")
    ] = 0.75,
    plain: Annotated[bool, typer.Option("--plain", help="Rows are texts, not dialogues.")] = False,
    user: User = None,
    assistant: Assistant = None,
    separator: Separator = None,
    question: Question = None,
    answer: Answer = None,
    text: Text = None,
    force: Force = False,
    format: Format = "table",
) -> None:
    """Make clean interactions of a file; what goes is kept in OUT.rejects with the reason.

    Example: `afina data clean chats.txt --out chats.parquet --personal mask`

    Lines of `User:`, `Assistant:`, `Cliente:`, `Atendente:` and the like become messages; rows without question or answer go,
    rows of several dialogues are divided, duplicates and near-duplicates (MinHash) of earlier rows go. Exit code 2: nothing
    could be kept.
    """
    console = _console(format)
    from afina.data.clean import clean as run
    from afina.data.rules import CleanSettings

    settings = CleanSettings(
        several=several,
        pairs=pairs,
        personal=personal,
        near_duplicates=similarity or None,
        min_words=min_words,
        max_words=max_words or None,
        max_tokens=max_tokens,
        max_repetition=max_repetition or None,
    )
    with _counting(console, f"cleaning {file.name}") as tick:
        report = run(
            file,
            out,
            settings,
            speakers=_speakers(user, assistant, separator),
            columns=_columns(question, answer, text, None),
            tokens=_counter(tokenizer),
            plain=plain,
            force=force,
            tick=tick,
        )
    if format == "json":
        print(_json(report.as_dict()))
        return
    table = table_of("rule", "what it does", "changed", "added", "removed")
    for rule in report.rules:
        table.add_row(rule.name, rule.does, *(f"{n:,}" if n else "·" for n in (rule.changed, rule.added, rule.removed)))
    console.print(table)
    show_notes(console, report.seen)
    made = f", {report.generated:,} of them written by a model" if report.generated else ""
    console.print(f"{report.kept:,} of {report.read:,} rows kept{made}", highlight=False)
    show_files(console, report.out, report.rejects)


def convert(
    file: File,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".parquet or .jsonl.")],
    plain: Annotated[bool, typer.Option("--plain", help="Take rows as texts, whatever they look like.")] = False,
    user: User = None,
    assistant: Assistant = None,
    separator: Separator = None,
    question: Question = None,
    answer: Answer = None,
    text: Text = None,
    label: Label = None,
    force: Force = False,
    format: Format = "table",
) -> None:
    """Write dialogues of any known form as one: a column `messages` of role and content (texts: a column `text`).

    Example: `afina data convert alpaca.json --out alpaca.parquet`

    Known are transcripts (txt, or a text column), Alpaca, ShareGPT, OpenAI messages, columns of questions and answers, and
    one turn a row. What cannot be read is kept in OUT.rejects with the reason.
    """
    console = _console(format)
    from afina.data.convert import convert as run

    with _counting(console, f"converting {file.name}") as tick:
        report = run(
            file,
            out,
            speakers=_speakers(user, assistant, separator),
            columns=_columns(question, answer, text, label),
            plain=plain or None,
            force=force,
            tick=tick,
        )
    if format == "json":
        print(_json(report.as_dict()))
        return
    forms = ", ".join(f"{form} ({count:,})" for form, count in report.forms.items())
    console.print(f"{report.written:,} rows written, {report.rejected:,} rejected; read as {forms}", highlight=False)
    show_notes(console, report.seen)
    show_files(console, report.out, report.rejects)


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
    similarity: Annotated[
        float, typer.Option("--similarity", min=0, max=1, help="From which a near-duplicate goes; 0 keeps all.")
    ] = 0.8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same requests in the same order each time.")] = 0,
    device: Annotated[str, typer.Option("--device", help="For a local model: cpu or cuda.")] = "cpu",
    format: Format = "table",
) -> None:
    """Have a model write interactions: deduplicated as they come, resumable, with figures that show a collapse.

    Example: `afina data generate prompt.txt --topics topics.txt --out rows.jsonl --endpoint http://localhost:8000/v1
    --model qwen`

    Every row has `generated: true`. Exit code 1: the model stopped answering; what it wrote is kept.
    """
    console = _console(format)
    from afina.data.generate import generate as run
    from afina.data.rules import CleanSettings
    from afina.data.writers import Endpoint, Writer
    from afina.generation.writer import LocalModel

    writer: Writer
    if endpoint is not None:
        writer = Endpoint(
            url=endpoint, name=model, key=os.environ.get(key_variable), temperature=temperature, max_tokens=max_tokens,
            timeout_seconds=timeout, tries=tries, parallel=parallel,
        )  # fmt: skip
    else:
        writer = LocalModel(name=model, temperature=temperature, max_tokens=max_tokens, device=device)
    with _rows_bar(console, count) as observe:
        report = run(
            writer,
            _read(prompt),
            out,
            topics=[] if topics is None else [line.strip() for line in _read(topics).splitlines() if line.strip()],
            count=count,
            seed=seed,
            settings=CleanSettings(near_duplicates=similarity or None),
            embed=_embed,
            observe=observe,
        )
    if format == "json":
        print(_json(report.as_dict()))
        return
    table = table_of("diversity of the answers", "", "varied text has")
    figures = report.diversity
    if figures is not None:
        table.add_row("different words", f"{100 * figures.distinct_1:.0f}%", "above 25%")
        table.add_row("different word pairs (distinct-2)", f"{100 * figures.distinct_2:.0f}%", "above 60%")
        table.add_row("different word triples (distinct-3)", f"{100 * figures.distinct_3:.0f}%", "above 80%")
        table.add_row("self-BLEU", f"{figures.self_bleu:.2f}", "below 0.4")
        table.add_row("embedding spread", f"{figures.spread:.2f}", "above 0.6")
        console.print(table)
    for warning in report.warnings:
        console.print(f"{warning[0].upper()}{warning[1:]}.", style="yellow", highlight=False)
    for reason, rows in report.reasons.items():
        console.print(f"{rows:,} rejected: {reason}", style="dim", highlight=False)
    console.print(f"{report.rows:,} rows in {report.requests:,} requests", highlight=False)
    show_files(console, report.out, report.rejects)


# -- what the verbs share --------------------------------------------------------------------------------------------


def _console(format: str) -> "Console":
    from rich.console import Console

    from afina.errors import UsageError

    if format not in ("table", "json"):
        raise UsageError(f"--format is table or json, not '{format}'.")
    # Progress goes to standard error where the output is to be read by a program.
    return Console(stderr=format == "json")


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, indent=2)


def _speakers(user: list[str] | None, assistant: list[str] | None, separator: str | None) -> Any:
    from afina.data.speakers import Speakers

    return Speakers(tuple(user or ()), tuple(assistant or ()), separator)


def _columns(question: str | None, answer: str | None, text: str | None, label: str | None) -> Any:
    from afina.data.conversations import Columns
    from afina.errors import UsageError

    if (question is None) != (answer is None):
        raise UsageError("--question and --answer go together.")
    return Columns(question=question, answer=answer, text=text, label=label)


def _counter(tokenizer: str | None) -> Callable[[str], int] | None:
    if tokenizer is None:
        return None
    from afina.backbone.load import load_tokenizer

    loaded, _ = load_tokenizer(tokenizer)
    return lambda text: len(loaded(text, add_special_tokens=False, verbose=False)["input_ids"])


def _embed(texts: list[str]) -> Any:
    from afina.train.embed import text_embedder

    return text_embedder()(texts)


def _read(path: Path) -> str:
    from afina.errors import UsageError

    if not path.is_file():
        raise UsageError(f"{path} does not exist.")
    return path.read_bytes().decode("utf-8-sig", "replace")


@contextmanager
def _counting(console: "Console", what: str) -> Iterator[Callable[[int], None]]:
    with console.status(what) as status:
        yield lambda rows: status.update(f"{what}: {rows:,} rows")


@contextmanager
def _rows_bar(console: "Console", count: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("waiting for the first answer", total=count)

        def observe(event: Mapping[str, Any]) -> None:
            said = f"{event['requests']:,} requests, {event['rejected']:,} rejected"
            bar.update(task, completed=event["rows"], description=said)

        yield observe

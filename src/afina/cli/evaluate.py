"""`afina evaluate`: what a language model can do with an adapter and without it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import BaseModel, BatchSize, Device, Force, Format, Language, Offload, Precision
from afina.cli.terminal import console_for, note, print_json, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.evaluation.evaluate import Evaluation
    from afina.words.language import Words

__all__ = ["evaluate", "show_measured"]


@command("evaluate", panel=PANELS[2])
def evaluate(
    adapter: Annotated[
        str,
        typer.Argument(metavar="ADAPTER", help="An adapter's folder, Afina's or PEFT's; or a language model alone."),
    ],
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", metavar="FILE", help="Measure perplexity on its texts: .txt, .csv, .jsonl, .parquet."),
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            "--answers", metavar="FILE", help="Let it answer the file's prompts; compare with the references."
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks", metavar="A,B", help="Benchmarks of lm-evaluation-harness: names, .yaml files, folders."
        ),
    ] = None,
    against_base: Annotated[
        bool, typer.Option("--against-base/--alone", help="Measure the base without the adapter too.")
    ] = True,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="First items of each file and task.")] = None,
    fewshot: Annotated[
        int | None, typer.Option("--fewshot", min=0, help="Examples before each question of a task.")
    ] = None,
    trust_tasks: Annotated[
        bool, typer.Option("--trust-tasks", help="Let task files run the Python that they name.")
    ] = False,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put tasks' questions in the tokenizer's chat template.")
    ] = False,
    column: Annotated[str | None, typer.Option("--column", help="The column of texts, for --text.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The column of prompts, for --answers.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="The column of references, likewise.")] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            help="What is read for a prompt; {prompt} stands for it and \\n for a new line; left out, as it was taught.",
        ),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Where an answer ends; several times, \\n for a new line.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Most tokens of an answer.")] = 128,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help="Of answers: exact_match,contains,token_f1,rouge1,rouge2,rougeL,bleu,chrf."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write all of it as JSON.")] = None,
    batch_size: BatchSize = 16,
    context: Annotated[
        int | None, typer.Option("--context", help="Most tokens read at once; default: the model's.")
    ] = None,
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    offload: Offload = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Measure what an adapter gained and what it lost: perplexity, answers, benchmarks; beside its base, with intervals.

    Example: `afina evaluate chat/adapter --text held-out.jsonl --text news.txt --tasks mmlu.yaml --out evaluation.json`

    An adapter is better or worse than its base where the 95% interval of their difference, drawn again over documents,
    prompts or questions, leaves out 0.
    """
    # The bars of the libraries beneath would stand between our own lines.
    os.environ.setdefault("TQDM_DISABLE", "1")
    console = console_for(format)
    from afina import api
    from afina.evaluation.answers import Answering
    from afina.words.language import Words

    answering = Answering(
        prompt=prompt, reference=reference, template=template and _lines(template),
        stop=[_lines(one) for one in stop or []], max_new_tokens=max_new_tokens, metrics=_listed(metrics),
    )  # fmt: skip
    words = Words(language)
    with working(console, words("starting"), words) as tell:
        evaluation = api.evaluate(
            adapter, text=text or (), answers=answers or (), tasks=_listed(tasks) or (), against_base=against_base,
            column=column, answering=answering, fewshot=fewshot, chat=chat, limit=limit, trust_tasks=trust_tasks,
            model=model, device=device, precision=precision, offload=offload, batch_size=batch_size, context=context, out=out,
            force=force, tell=tell,
        )  # fmt: skip
    if format == "json":
        # The figures alone go to standard output, for programs.
        print_json(evaluation.as_dict())
    else:
        show_measured(console, evaluation, words)
    if out is not None:
        console.print(str(out), soft_wrap=True)


def _listed(text: str | None) -> list[str] | None:
    # Most options of several names are written with commas, as in the other commands.
    return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None


def _lines(text: str) -> str:
    # A shell hands on \n as two letters.
    return text.replace("\\n", "\n")


def show_measured(
    console: "Console", evaluation: "Evaluation", words: "Words", names: tuple[str, str] | None = None
) -> None:
    """Print what was measured as a table; `names` are what the two that are compared are called."""
    from rich.table import Table

    compared = any(row.base is not None for row in evaluation.rows)
    table = Table(words("on"), words("measure"), title=None)
    both = names or (words("base"), words("adapter"))
    figures = (*both, words("difference [95%]")) if compared else (words("value [95%]"),)
    for name in (words("items"), *figures):
        table.add_column(name, justify="right")
    # Only what is surely better or worse has a colour.
    colours = {"better": "green", "worse": "red"}
    before = None
    for row in evaluation.rows:
        if before not in (None, row.source):
            # A line between sources, whose name stands once.
            table.add_section()
        shown = "" if row.source == before else Path(row.source).name
        before = row.source
        cells = [_interval(row.value, words)]
        if row.base is not None and row.difference is not None:
            verdict = row.verdict or ""
            colour = colours.get(verdict, "default")
            difference = f"[{colour}]{_interval(row.difference, words, '+')}[/] {words(verdict) if verdict else ''}"
            cells = [_number(row.base.value, words), _number(row.value.value, words), difference.rstrip()]
        table.add_row(shown, words(row.measure), words.number(row.items), *cells)
    console.print(table)
    for sentence in evaluation.notes:
        note(console, words.note(sentence))


def _number(value: float, words: "Words", sign: str = "") -> str:
    return words.written(f"{value:{sign}.4g}")


def _interval(estimate: Any, words: "Words", sign: str = "") -> str:
    """Write a value with its interval; the bracket is rich's own mark, hence the backslash."""
    if estimate.low is None:
        return _number(estimate.value, words, sign)
    low, high = _number(estimate.low, words, sign), _number(estimate.high, words, sign)
    return f"{_number(estimate.value, words, sign)} \\[{low}{words.between}{high}]"

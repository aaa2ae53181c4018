"""`afina explain`: which words decided an answer, and what a study's classifiers go by."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import BaseModel, Device, Force, Format, Language, PairColumn, Precision, Seed, TextColumn
from afina.cli.terminal import note, show_file, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.explanation.explained import Explained
    from afina.explanation.whole import Whole
    from afina.words.language import Words

__all__ = ["explain"]


@command("explain", panel=PANELS[2])
def explain(
    target: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder; with --global a study's folder.")
    ],
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts to explain.")] = None,
    pair: Annotated[list[str] | None, typer.Option("--pair", help="Second text, once for each TEXT.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A text a line, or a table with a text column.")] = None,
    text: TextColumn = None,
    text_pair: PairColumn = None,
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", metavar="ADAPTER", help="Another adapter; several times.")
    ] = None,
    way: Annotated[
        str, typer.Option("--way", help="integrated-gradients, gradient-input, occlusion or shapley.")
    ] = "integrated-gradients",
    label: Annotated[
        str | None, typer.Option("--label", help="The label or tag to explain; default: the one that is given.")
    ] = None,
    word: Annotated[str | None, typer.Option("--word", help="The word whose tag is explained; default: all.")] = None,
    following: Annotated[
        str | None, typer.Option("--next", help="Words that may follow; default: the word that is written.")
    ] = None,
    contrast: Annotated[bool, typer.Option("--contrast", help="Ask the bare base too, and show the change.")] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Points of integrated-gradients; default: 11, 23 or 47, of next words 15 or 31."),
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", help="Orders that shapley takes; default: 20.")] = None,
    whole: Annotated[
        bool, typer.Option("--global", help="Explain a study's classifiers: words, errors, surest mistakes.")
    ] = False,
    run: Annotated[str | None, typer.Option("--run", help="With --global: this run alone.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="With --global: test rows that are explained.")] = 100,
    train_rows: Annotated[
        int, typer.Option("--train-rows", min=0, help="With --global: train rows looked at for their pull; 0: none.")
    ] = 300,
    wrong: Annotated[int, typer.Option("--wrong", min=0, help="With --global: surest mistakes that are shown.")] = 5,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Write a page: words coloured, adapters side by side.")
    ] = None,
    format: Format = "table",
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    seed: Seed = 0,
    force: Force = False,
    language: Language = "en",
) -> None:
    """Tell which words decided an answer (a label, a number, a tag, the next word), and whether that is so.

    Example: `afina explain results/runs/RUN/adapter "The lamp arrived broken." --page why.html`

    Values are checked: taking the coloured words away has to change the answer more than taking any others.
    """
    from rich.console import Console

    from afina import api
    from afina.errors import UsageError
    from afina.words.language import Words

    if format not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {format!r}.")
    words, console = Words(language), Console()
    given = list(texts or [])
    common: Any = partial(
        api.explain_study if whole else api.explain, way=way, steps=steps, samples=samples, page=page, model=model,
        device=device, precision=precision, seed=seed, force=force, language=language,
    )  # fmt: skip
    of_texts = {
        "texts": given, "--pair": pair, "--file": file, "--text": text, "--text-pair": text_pair, "--beside": beside,
        "--label": label, "--word": word, "--next": following, "--contrast": contrast,
    }  # fmt: skip
    of_study = {"--run": run, "--rows": rows != 100, "--train-rows": train_rows != 300, "--wrong": wrong != 5}
    if others := [name for name, value in (of_texts if whole else of_study).items() if value]:
        raise UsageError(
            f"--global explains a study's own test rows: leave out {', '.join(others)}."
            if whole
            else f"{', '.join(others)}: that is of a study's test rows, which --global explains."
        )
    with working(Console(stderr=True), words("loading the model"), words) as tell:
        if whole:
            explanations: Any = common(target, run=run, rows=rows, train_rows=train_rows, wrong=wrong, tell=tell)
        else:
            explanations = common(
                [target, *(beside or [])], given, pair, file=file, text=text, text_pair=text_pair, label=label, word=word,
                following=following, contrast=contrast, tell=tell,
            )  # fmt: skip
    if format == "json":
        # As Python's own print does it, so that a program reads it whole.
        print(json.dumps([one.as_dict() for one in explanations], ensure_ascii=False, indent=2))
    else:
        for one in explanations:
            (_show_run if whole else _show)(console, one, words)
    if page is not None:
        show_file(Console(stderr=True), page)


def _show(console: "Console", one: "Explained", words: "Words") -> None:
    """Print each text with its words' values, the largest coloured."""
    from rich.text import Text

    from afina.explanation.page import faithful_words

    console.print(Text(f"{one.adapter} ({one.method}, {one.way})", style="bold"), soft_wrap=True)
    for entry in one.texts:
        answer = words("{answer} for '{word}'", answer=entry.answer, word=entry.about) if entry.about else entry.answer
        sure = "" if entry.probability is None else f"  {words.number(100 * entry.probability, 1)}%"
        console.print(Text(f"\n{answer}{sure}", style="bold"), soft_wrap=True)
        most = max((abs(value) for value in entry.values), default=1.0) or 1.0
        line = Text()
        for word, value in zip(entry.words, entry.values, strict=True):
            share = abs(value) / most
            style = "" if share < 0.15 else ("blue" if value > 0 else "dark_orange") + (" bold" if share > 0.5 else "")
            line.append(f"{word.text} ", style=style)
        console.print(line)
        ranked = sorted(zip(entry.words, entry.values, strict=True), key=lambda each: -abs(each[1]))[:8]
        summary = words.between.join(f"{word.text} {words.signed(value, 2)}" for word, value in ranked)
        console.print(Text(summary, style="dim"), soft_wrap=True)
        if entry.base_values is not None:
            change = sorted(
                (
                    (word, value - base)
                    for word, value, base in zip(entry.words, entry.values, entry.base_values, strict=True)
                ),
                key=lambda each: -abs(each[1]),
            )[:8]
            summary = words.between.join(f"{word.text} {words.signed(value, 2)}" for word, value in change)
            console.print(Text(f"{words('the adapter less the base')}: {summary}", style="dim"), soft_wrap=True)
    console.print()
    for sentence in faithful_words(one.faithfulness, words):
        console.print(Text(sentence), soft_wrap=True)
    for remark in one.notes:
        note(console, words.note(remark), "")


def _show_run(console: "Console", one: "Whole", words: "Words") -> None:
    """Print what a run goes by."""
    from rich.table import Table
    from rich.text import Text

    from afina.explanation.page import faithful_words

    accuracy = words.number(100 * one.accuracy, 1)
    console.print(Text(f"\n{one.run}  {accuracy}%", style="bold"), soft_wrap=True)
    for label, each in one.words.items():
        summary = words.between.join(f"{entry.word} ({entry.decisive})" for entry in each) or words("no word twice")
        console.print(Text.assemble((f"{label}: ", "bold"), summary), soft_wrap=True)
    table = Table(*[words(name) for name in ("label", "taken for", "rows", "decisive words")])
    for group in one.errors:
        of = words("{some} of {of}", some=group.rows, of=group.of)
        table.add_row(Text(group.label), Text(group.taken_for), of, Text(", ".join(group.words) or "—"))
    if one.errors:
        console.print(table)
    for entry in one.mistakes:
        summary = words(
            "labelled {label}, answered {prediction} with {probability}%",
            label=entry.label, prediction=entry.prediction, probability=words.number(100 * entry.probability, 1),
        )  # fmt: skip
        console.print(Text(f"{summary}: {entry.text[:200]}"), soft_wrap=True)
        for teacher in entry.teachers:
            console.print(
                Text(f"    {words.signed(teacher.cosine, 2)} {teacher.label}: {teacher.text[:120]}", style="dim"),
                soft_wrap=True,
            )
    for sentence in faithful_words(one.faithfulness, words):
        console.print(Text(sentence), soft_wrap=True)
    for remark in one.notes:
        note(console, words.note(remark), "")

"""`afina recommend`: one answer from a finished study, within a person's limits."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="recommend")(recommend)


def recommend(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")],
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Most memory: 4GB, 800MB ...")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Most minutes of training.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What to judge by; default: the task's own.")] = None,
    minimum: Annotated[float | None, typer.Option("--minimum", help="Least value of the metric.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this data set.")] = None,
    language: Annotated[str, typer.Option("--language", help="en or pt.")] = "en",
) -> None:
    """Say which method to take, why, and which comes second.

    Example: `afina recommend demo --memory 1GB --minutes 5 --metric accuracy`
    """
    from rich.console import Console
    from rich.text import Text

    from afina.results.recommend import parse_memory
    from afina.results.recommend import recommend as choose
    from afina.words.language import Words

    words = Words(language)

    answer = choose(
        directory, memory_bytes=parse_memory(memory) if memory else None, minutes=minutes, metric=metric,
        minimum=minimum, model=model, dataset=dataset, words=words,
    )  # fmt: skip
    console = Console(soft_wrap=True, highlight=False)
    name = answer.choice.method if answer.choice else words("none")
    undecided = "" if answer.decided else f" ({words('the data cannot decide')})"
    console.print(Text(name, style="bold").append(undecided, style="not bold"))
    console.print(answer.reason, markup=False)
    if answer.runner_up is not None:
        console.print(f"{words('Runner-up')}: {answer.runner_up.method}", markup=False)
    for doubt in answer.doubts:
        console.print(doubt, style="yellow", markup=False)
    for label, why in answer.excluded:
        console.print(f"  {words('left out')}: {label}: {why}", style="dim", markup=False)
    if answer.choice is None:
        raise typer.Exit(1)

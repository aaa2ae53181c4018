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
) -> None:
    """Say which method to take, why, and which comes second.

    Example: `afina recommend demo --memory 1GB --minutes 5 --metric accuracy`
    """
    from rich.console import Console

    from afina.study.recommend import parse_memory
    from afina.study.recommend import recommend as choose

    answer = choose(
        directory, memory_bytes=parse_memory(memory) if memory else None, minutes=minutes, metric=metric,
        minimum=minimum, model=model, dataset=dataset,
    )  # fmt: skip
    console = Console(soft_wrap=True, highlight=False)
    name = answer.choice.method if answer.choice else "none"
    console.print(f"[bold]{name}[/bold]" + ("" if answer.decided else " (the data cannot decide)"))
    console.print(answer.reason, markup=False)
    if answer.runner_up is not None:
        console.print(f"Runner-up: {answer.runner_up.method}", markup=False)
    for label, why in answer.excluded:
        console.print(f"  left out: {label}: {why}", style="dim", markup=False)
    if answer.choice is None:
        raise typer.Exit(1)

"""`afina recommend`: one answer from a finished study, within a person's limits."""

from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Format, Language, StudyFolder
from afina.cli.terminal import console_for, note, print_json

if TYPE_CHECKING:
    from afina.results.recommend import Recommendation
    from afina.words.language import Words

__all__ = ["recommend"]


@command("recommend", panel=PANELS[1])
def recommend(
    directory: StudyFolder,
    memory: Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Most memory: 4GB, 800MB ...")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Most minutes of training.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What to judge by; default: the task's own.")] = None,
    minimum: Annotated[float | None, typer.Option("--minimum", help="Least value of the metric.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this model.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this data set.")] = None,
    no_worse_than_base: Annotated[
        list[str] | None,
        typer.Option(
            "--no-worse-than-base", metavar="AUDIT", help="Leave out what this audit found worse than the base: bias."
        ),
    ] = None,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Say which method to take, why, and which comes second.

    Example: `afina recommend demo --memory 1GB --minutes 5 --metric accuracy`
    """
    from afina import api
    from afina.words.language import Words

    console_for(format)
    answer = api.recommend(
        directory, memory=memory, minutes=minutes, metric=metric, minimum=minimum, model=model, dataset=dataset,
        no_worse_than_base=no_worse_than_base or (), language=language,
    )  # fmt: skip
    if format == "json":
        print_json(answer.as_dict())
    else:
        _show(answer, Words(language))
    # Nothing that fits is no answer to a script that asks.
    if answer.choice is None:
        raise typer.Exit(1)


def _show(answer: "Recommendation", words: "Words") -> None:
    from rich.console import Console
    from rich.text import Text

    # A reason may be long; the terminal wraps it and no program reads it here.
    console = Console(soft_wrap=True, highlight=False)
    name = answer.choice.method if answer.choice else words("none")
    undecided = "" if answer.decided else f" ({words('the data cannot decide')})"
    console.print(Text(name, style="bold").append(undecided, style="not bold"))
    console.print(answer.reason, markup=False)
    if answer.runner_up is not None:
        console.print(f"{words('Runner-up')}: {answer.runner_up.method}", markup=False)
    for doubt in answer.doubts:
        note(console, doubt)
    for label, why in answer.excluded:
        note(console, f"  {words('left out')}: {label}: {why}", "dim")

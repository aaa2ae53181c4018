"""`afina plan`: what a study will cost, before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import command
from afina.cli.options import Format
from afina.cli.terminal import console_for, is_quiet, note, print_json, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.study.estimate import Estimate
    from afina.study.planned import Ahead, Plan

__all__ = ["plan"]


@command("plan")
def plan(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study to plan.")], format: Format = "table"
) -> None:
    """Predict memory, time and disk of every run of a study on this machine; loads no weights, needs no network.

    Example: `afina plan studies/published.yaml`
    """
    from afina import api

    console = console_for(format)
    with working(console, "reading the data") as tell:
        found = api.plan(
            file, ahead=lambda known: _show_ahead(console, known), tell=lambda what: tell(f"timing {what}")
        )
    if format == "json":
        print_json(found.as_dict())
    else:
        _show(console, found.estimates)
        _show_sums(console, found)
    for run, why in {run.label + run.model: (run, why) for run, why in found.failed}.values():
        console.print(f"{run.label} on {Path(run.model).name} cannot run: {why}", style="red", markup=False)
    if found.failed:
        raise typer.Exit(1)


def _show_ahead(console: "Console", known: "Ahead") -> None:
    """Say what is known before anything is timed."""
    from afina.cli.learned import show_learned
    from afina.words.language import Words

    for sentence in known.notes:
        note(console, sentence, "dim")
    for remark in known.remarks:
        note(console, remark)
    for (model, dataset), own in known.learned.items():
        if isinstance(own, str):
            note(console, f"{dataset} for {model}: what is learned cannot be shown. {own}")
        elif not is_quiet():
            show_learned(console, own, f"{dataset} for {model}", Words())


def _show(console: "Console", estimates: "Sequence[Estimate]") -> None:
    from rich.table import Table

    seen: dict[str, Table] = {}
    rates: dict[str, list[str]] = {}
    for entry in estimates:
        if entry.run.seed != estimates[0].run.seed:
            continue
        title = f"{Path(entry.run.model).name} · {entry.run.dataset_name}"
        if title not in seen:
            seen[title] = Table("method", "trainable", "memory", "step", "train", "evaluate", "disk", title=title)
            seen[title].title_justify = "left"
            seen[title].columns[0].overflow = "fold"
            for column in seen[title].columns[1:]:
                column.justify = "right"
        seen[title].add_row(
            entry.run.label, f"{entry.trainable_parameters:,}", f"{entry.peak_memory_bytes / 1e9:.2f} GB",
            f"{entry.step_seconds:.3g} s", _time(entry.train_seconds), _time(entry.evaluate_seconds),
            f"{entry.disk_bytes / 1e6:,.0f} MB",
        )  # fmt: skip
        if (rate := entry.run.settings["learning_rate"]) is not None:
            rates.setdefault(title, []).append(f"{entry.run.label} {rate:g} ({entry.run.rate})")
    for title, table in seen.items():
        console.print(table)
        if title in rates:
            note(console, f"learning rates: {', '.join(rates[title])}", "dim")


def _show_sums(console: "Console", found: "Plan") -> None:
    """Say what all runs take, what a search adds and what a race saves."""
    seeds = len({entry.run.seed for entry in found.estimates})
    sentences = [
        f"{_count(len(found.estimates), 'run')} ({_count(seeds, 'seed')} each): {_time(found.seconds)} in all, one after "
        f"another; at most {found.peak_memory_bytes / 1e9:.2f} GB of memory and {found.disk_bytes / 1e9:.2f} GB of disk."
    ]
    if found.trials_seconds:
        sentences.append(
            f"learning_rate: search tries {found.rates} rates a method first: {_time(found.trials_seconds)} more."
        )
    if found.race_share is not None:
        seconds = found.race_share * sum(entry.train_seconds for entry in found.estimates)
        sentences.append(
            f"race: of {found.candidates} candidates the worse leave early, which leaves {found.race_share:.0%} of the "
            f"steps: {_time(seconds)} of training."
        )
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"

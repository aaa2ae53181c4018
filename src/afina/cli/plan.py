"""`afina plan`: what a study will cost, before anything starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from afina.config import StudyConfig
    from afina.study.estimate import Estimate

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="plan")(plan)


def plan(file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study to plan.")]) -> None:
    """Predict memory, time and disk of every run of a study on this machine; loads no weights, needs no network.

    Example: `afina plan studies/published.yaml`
    """
    from rich.console import Console

    from afina.config import StudyConfig

    config = StudyConfig.read(file)
    from afina.study.data import read_ahead

    console = Console()
    for note in read_ahead(config, presets=False):
        console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)
    from afina.cli.learned import show_learned
    from afina.ops.allocator import keep_freed_memory
    from afina.study.estimate import estimate_study
    from afina.study.plan import remarks
    from afina.study.preview import preview

    for remark in remarks(config):
        console.print(remark, style="yellow", markup=False, soft_wrap=True)
    for (model, dataset), own in preview(config).items():
        if isinstance(own, str):
            console.print(
                f"{dataset} for {model}: what is learned cannot be shown. {own}", style="yellow", markup=False
            )
        else:
            show_learned(console, own, f"{dataset} for {model}")
    keep_freed_memory()  # as the processes do that carry a study out
    with console.status("timing a few steps of one and two layers") as status:
        estimates, failed = estimate_study(config, tick=lambda what: status.update(f"timing {what}"))
    _show(console, estimates, len(config.seeds))
    _show_more(console, config, estimates)
    for run, why in {run.label + run.model: (run, why) for run, why in failed}.values():
        console.print(f"{run.label} on {Path(run.model).name} cannot run: {why}", style="red", markup=False)
    if failed:
        raise typer.Exit(1)


def _show(console, estimates: "list[Estimate]", seeds: int) -> None:  # type: ignore[no-untyped-def]
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
            console.print(f"learning rates: {', '.join(rates[title])}", style="dim", markup=False, soft_wrap=True)
    seconds = sum(entry.train_seconds + entry.evaluate_seconds for entry in estimates)
    disk = sum(entry.disk_bytes for entry in estimates)
    largest = max((entry.peak_memory_bytes for entry in estimates), default=0)
    console.print(
        f"{_count(len(estimates), 'run')} ({_count(seeds, 'seed')} each): {_time(seconds)} in all, one after another; "
        f"at most {largest / 1e9:.2f} GB of memory and {disk / 1e9:.2f} GB of disk.",
        soft_wrap=True,
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _show_more(console, config: "StudyConfig", estimates: "list[Estimate]") -> None:  # type: ignore[no-untyped-def]
    """Say what a search adds and what a race saves."""
    from afina.study.race import share_of_steps
    from afina.study.search import trials_seconds

    if trials := trials_seconds(config, estimates):
        console.print(
            f"learning_rate: search tries {len(config.search_factors)} rates a method first: {_time(trials)} more.",
            soft_wrap=True,
        )
    if config.race is not None and estimates:
        candidates = len({entry.run.label for entry in estimates})
        share = share_of_steps(config.race, candidates)
        seconds = share * sum(entry.train_seconds for entry in estimates)
        console.print(
            f"race: of {candidates} candidates the worse leave early, which leaves {share:.0%} of the steps: "
            f"{_time(seconds)} of training.",
            soft_wrap=True,
        )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"

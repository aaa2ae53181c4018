"""`afina plan`: what a study will cost, before anything starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import command
from afina.cli.options import Format, Language
from afina.cli.plan_machines import show_machines
from afina.cli.terminal import console_for, is_quiet, note, print_json, working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.study.estimate import CostEstimate
    from afina.study.needs import Likely
    from afina.study.planned import Ahead, Plan
    from afina.words.language import Words

__all__ = ["plan"]


@command("plan")
def plan(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study to plan.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", metavar="MACHINE",
            help="Plan for another machine: T4, 'RTX 3060 12GB', 24GB (a card), '8GB RAM, 4 cores'; several times.",
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="MACHINE=PRICE", help="What an hour of one costs: 'T4=0.35/h'; several times."),
    ] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", metavar="FACTOR", help="CO2 of the power that they draw: '0.1 kg/kWh'.")
    ] = None,
    language: Language = "en",
    format: Format = "table",
) -> None:  # fmt: skip
    """Predict memory, time and disk of every run of a study on this machine; loads no weights, needs no network.

    Example: `afina plan studies/published.yaml --device T4 --price L4=0.80/h`
    """
    from afina import api
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    with working(console, words("reading the data"), words) as tell:
        planned = api.plan(
            file, devices=device, prices=price, grid=grid, ahead=lambda known: _show_ahead(console, known, words),
            tell=lambda what: tell(words("timing {what}", what=what)),
        )  # fmt: skip
    if format == "json":
        print_json(planned.as_dict())
    elif planned.machines:
        show_machines(console, planned.machines, words)
    else:
        _show(console, planned.estimates, words)
        _show_sums(console, planned, words)
        _show_changes(console, planned, words)
    # Once for a method on a model, as all its seeds fail alike.
    failed = [*planned.failed, *(entry for machine in planned.machines for entry in machine.failed)]
    for run, why in {run.label + run.model: (run, why) for run, why in failed}.values():
        sentence = words("{method} on {model} cannot run: {why}", method=run.label, model=Path(run.model).name, why=why)
        console.print(sentence, style="red", markup=False)
    if failed:
        raise typer.Exit(1)


def _show_ahead(console: "Console", known: "Ahead", words: "Words") -> None:
    """Say what is known before anything is timed."""
    from afina.cli.learned import show_learned

    for sentence in known.notes:
        note(console, words.note(sentence), "dim")
    for remark in known.remarks:
        note(console, words.note(remark))
    for (model, dataset), learned in known.learned.items():
        title = words("{dataset} for {model}", dataset=dataset, model=model)
        if isinstance(learned, str):
            note(console, words("{title}: what is learned cannot be shown. {why}", title=title, why=learned))
        elif not is_quiet():
            show_learned(console, learned, title, words)


def _show(console: "Console", estimates: "Sequence[CostEstimate]", words: "Words") -> None:
    from rich.table import Table

    columns = [words(name) for name in ("method", "trainable", "memory", "step", "train", "evaluate", "disk")]
    tables: dict[str, Table] = {}
    rates: dict[str, list[str]] = {}
    worst: dict[str, list[str]] = {}
    for entry in estimates:
        # Seeds cost alike.
        if entry.run.seed != estimates[0].run.seed:
            continue
        title = f"{Path(entry.run.model).name} · {entry.run.dataset_name}"
        if title not in tables:
            tables[title] = Table(*columns, title=title, title_justify="left")
            tables[title].columns[0].overflow = "fold"
            for column in tables[title].columns[1:]:
                column.justify = "right"
            tables[title].columns[2].no_wrap, tables[title].columns[2].min_width = True, 12
        tables[title].add_row(
            entry.run.label, words.number(entry.trainable_parameters), _memory(entry.memory.peak, words),
            f"{words.written(format(entry.step_seconds, '.3g'))} s", _times(entry.time.train, words),
            _times(entry.time.evaluate, words), f"{words.number(entry.disk_bytes / 1e6)} MB",
        )  # fmt: skip
        worst.setdefault(title, []).append(f"{entry.run.label} {words(entry.memory.worst)}")
        if (rate := entry.run.settings["learning_rate"]) is not None:
            rates.setdefault(title, []).append(
                f"{entry.run.label} {words.written(f'{rate:g}')} ({words(entry.run.rate)})"
            )
    for title, table in tables.items():
        console.print(table)
        note(console, f"{words('most memory in')}: {', '.join(worst[title])}", "dim")
        if title in rates:
            note(console, f"{words('learning rates')}: {', '.join(rates[title])}", "dim")


def _show_sums(console: "Console", planned: "Plan", words: "Words") -> None:
    """Say what all runs take, what a search adds and what a race saves."""
    seeds = len({entry.run.seed for entry in planned.estimates})
    sentences = [
        words(
            "{runs} ({seeds} each): {time} in all, one after another; at most {memory} GB of memory "
            "beside Python and its libraries, and {disk} GB of disk.",
            runs=words.counted(len(planned.estimates), "{count} run", "{count} runs"),
            seeds=words.counted(seeds, "{count} seed", "{count} seeds"), time=_times(planned.time, words),
            memory=words.number(planned.peak_memory_bytes / 1e9, 2), disk=words.number(planned.disk_bytes / 1e9, 2),
        )
    ]  # fmt: skip
    if planned.trials_seconds:
        sentences.append(
            words(
                "learning_rate: search tries {rates} rates a method first: {time} more.",
                rates=planned.rates, time=_time(planned.trials_seconds, words),
            )
        )  # fmt: skip
    if planned.race_share is not None:
        seconds = planned.race_share * sum(entry.train_seconds for entry in planned.estimates)
        sentences.append(
            words(
                "race: of {count} candidates the worse leave early, which leaves {share}% of the steps: {time} of training.",
                count=planned.candidates, share=words.number(100 * planned.race_share), time=_time(seconds, words),
            )
        )  # fmt: skip
    if planned.corrected_by:
        runs = words.counted(planned.corrected_by, "{count} run", "{count} runs")
        sentences.append(words("Memory and time are corrected by {runs} of this machine.", runs=runs))
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)


def _show_changes(console: "Console", planned: "Plan", words: "Words") -> None:
    """Say which runs may not fit into the memory that is free here, and what to change of them."""
    from afina.cli.plan_changes import said_changes

    cramped = {own.run.label: planned.changes[own.run.id] for own in planned.estimates if own.run.id in planned.changes}
    if not cramped:
        return
    free = words.number((planned.free_bytes or 0.0) / 1e9, 2)
    console.print(
        words(
            "{memory} GB are free here, which may be too little for {methods}.", memory=free, methods=", ".join(cramped)
        ),
        soft_wrap=True,
    )
    for label, changes in cramped.items():
        for sentence in said_changes(label, changes, words):
            note(console, sentence)


def _memory(likely: "Likely", words: "Words") -> str:
    return f"{words.number(likely.low / 1e9, 2)}-{words.number(likely.high / 1e9, 2)} GB"


def _times(likely: "Likely", words: "Words") -> str:
    low, high = (_time(own, words).split(" ") for own in (likely.low, likely.high))
    # One unit for both, where it is one.
    return f"{low[0]}-{' '.join(high)}" if low[1] == high[1] else f"{' '.join(low)}-{' '.join(high)}"


def _time(seconds: float, words: "Words") -> str:
    # Minutes from a minute and a half, hours from ninety of these: a figure has two or three digits.
    if seconds < 90:
        return f"{words.number(seconds)} s"
    return f"{words.number(seconds / 60, 1)} min" if seconds < 5400 else f"{words.number(seconds / 3600, 1)} h"

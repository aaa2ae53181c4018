"""Show what a study takes on machines that are not here: which runs fit, in what time, for how much money and CO2."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from afina.cli.plan_changes import said_changes
from afina.cli.terminal import note

if TYPE_CHECKING:
    from rich.console import Console

    from afina.study.devices.elsewhere import DevicePlan, RunThere
    from afina.study.needs import Likely
    from afina.words.language import Words

__all__ = ["memory_range", "show_machines", "time_range"]

_STYLES = {"yes": "green", "perhaps": "yellow", "no": "red"}


def show_machines(console: "Console", plans: "Sequence[DevicePlan]", words: "Words") -> None:
    """Print a table for each machine, model and data set, what is to know of it, and which is the cheapest."""
    from afina.study.devices.elsewhere import cheapest

    for plan in plans:
        _show_tables(console, plan, words)
        for sentence in plan.remarks:
            note(console, words.note(sentence), "dim")
        console.print(_verdict(plan, words), soft_wrap=True)
        for cell in _once_a_seed(plan.cells):
            for sentence in said_changes(cell.run.label, cell.changes, words) if cell.changes else ():
                note(console, sentence)
        if plan.fits != "no" and (costs := _costs(plan, words)) is not None:
            console.print(costs, soft_wrap=True)
    if (best := cheapest(plans)) is not None and sum(plan.price is not None for plan in plans) > 1:
        plan, clearly = best
        sentence = (
            words("{device} is the cheapest on which all fits.", device=plan.device.name)
            if clearly and plan.fits == "yes"
            else words(
                "{device} is likely the cheapest on which all fits; the ranges do not tell for sure.", device=plan.device.name
            )
        )  # fmt: skip
        console.print(sentence, soft_wrap=True)
    note(
        console,
        words(
            "Computed from published figures, not measured: times lie between what is reached at best and at worst, without "
            "starting and loading."
        ),
        "dim",
    )


def _show_tables(console: "Console", plan: "DevicePlan", words: "Words") -> None:
    from rich.table import Table
    from rich.text import Text

    tables: dict[str, Table] = {}
    for cell in _once_a_seed(plan.cells):
        title = f"{plan.device.name} · {Path(cell.run.model).name} · {cell.run.dataset_name}"
        if title not in tables:
            columns = [words(name) for name in ("method", "memory", "fits", "train", "evaluate")]
            tables[title] = Table(*columns, title=title, title_justify="left")
            tables[title].columns[0].overflow = "fold"
            for column in tables[title].columns[1:]:
                column.no_wrap = True
            for place in (1, 3, 4):
                tables[title].columns[place].justify = "right"
        figures = cell.figures
        tables[title].add_row(
            cell.run.label, memory_range(figures.memory.peak, words), Text(words(cell.fits), style=_STYLES[cell.fits]),
            time_range(figures.train_seconds, words), time_range(figures.evaluate_seconds, words),
        )  # fmt: skip
    for table in tables.values():
        console.print(table)


def _once_a_seed(cells: "Sequence[RunThere]") -> "list[RunThere]":
    """Return the cells of the first seed, as seeds cost alike."""
    return [cell for cell in cells if cell.run.seed == cells[0].run.seed]


def _verdict(plan: "DevicePlan", words: "Words") -> str:
    """Say which of the runs fit, and how long all take."""
    device, there = plan.device.name, words.number(plan.device.memory_bytes / 1e9, 1)
    count = words.counted(len(plan.cells), "{count} run", "{count} runs")
    if plan.fits == "yes":
        time = time_range(plan.seconds, words)
        if plan.seconds is None:
            return words("{device} ({memory} GB): {runs} fit.", device=device, memory=there, runs=count)
        return words(
            "{device} ({memory} GB): {runs} fit, {time} in all, one after another.",
            device=device, memory=there, runs=count, time=time,
        )  # fmt: skip
    named = {
        kind: ", ".join(dict.fromkeys(cell.run.label for cell in plan.cells if cell.fits == kind))
        for kind in ("no", "perhaps")
    }
    sentences = []
    if named["no"]:
        sentences.append(
            words("{device} ({memory} GB) has no room for {methods}.", device=device, memory=there, methods=named["no"])
        )
    if named["perhaps"]:
        sentences.append(
            words("{device} ({memory} GB) perhaps has room for {methods}: the range reaches beyond.",
                  device=device, memory=there, methods=named["perhaps"])
        )  # fmt: skip
    return " ".join(sentences)


def _costs(plan: "DevicePlan", words: "Words") -> str | None:
    """Say what a study costs in money, energy and CO2, as far as that is known."""
    parts = []
    if plan.price is not None and plan.cost is not None:
        amount = f"{amount_range(plan.cost, words)} {plan.price.currency}".strip()
        parts.append(words("{amount} at {price} an hour", amount=amount, price=words.shortest(plan.price.per_hour)))
    if plan.energy is not None:
        parts.append(words("{amount} Wh of the card's power", amount=amount_range(plan.energy.times(1 / 3600), words)))
    if plan.co2 is not None:
        parts.append(words("{amount} g of CO2", amount=amount_range(plan.co2.times(1000), words)))
    return f"{plan.device.name}: {words.between.join(parts)}." if parts else None


def memory_range(likely: "Likely", words: "Words") -> str:
    """Write a range of bytes."""
    return f"{words.number(likely.low / 1e9, 2)}-{words.number(likely.high / 1e9, 2)} GB"


def time_range(likely: "Likely | None", words: "Words") -> str:
    """Write a range of seconds, in a unit of which both ends have digits; — where nothing is known."""
    if likely is None:
        return words.number(None)
    divisor, unit = (1, "s") if likely.high < 90 else (60, "min") if likely.high < 5400 else (3600, "h")
    return f"{amount_range(likely.times(1 / divisor), words)} {unit}"


def amount_range(likely: "Likely", words: "Words") -> str:
    """Write a range with two digits of each end that count."""
    return "-".join(words.number(value, _digits(value)) for value in (likely.low, likely.high))


def _digits(value: float) -> int:
    return 0 if value <= 0 else max(0, 1 - math.floor(math.log10(value)))

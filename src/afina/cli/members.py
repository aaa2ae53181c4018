"""Show what is at work: bars, a table of what each run of a cohort has reached, and ranges of that in the line of a log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from afina.words.language import Words

__all__ = ["RunAtWork", "bars_of", "members_table", "ranges"]


@dataclass
class RunAtWork:
    """Holds what is known of a run that is at work."""

    name: str
    """Name within its cohort: the method, and the data set where there are several."""
    seed: int
    epoch: str = ""
    """The last one that is evaluated; of a run that has left, how."""
    loss: float | None = None
    metric: str = ""
    test: float | None = None
    place: str = ""
    left: bool = False


def _cut(ratio: int) -> Column:
    return Column(ratio=ratio, no_wrap=True, overflow="ellipsis")


def bars_of(console: Console) -> Bars:
    """Return the bars of the whole study and of what is at work; in a narrow window words are cut, never the figures."""
    return Bars(
        TextColumn("{task.description}", table_column=_cut(2)), BarColumn(None, table_column=Column(ratio=1)),
        MofNCompleteColumn(table_column=Column(no_wrap=True)), TextColumn("{task.fields[note]}", table_column=_cut(2)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)), TimeRemainingColumn(table_column=Column(no_wrap=True)),
        console=console, expand=True,
    )  # fmt: skip


def members_table(members: Sequence[RunAtWork], words: Words, most: int) -> tuple[Table, list[Text]]:
    """Return a line for each of the first `most` members, and below them how many more there are."""
    metrics = {member.metric for member in members if member.metric}
    # A place is given only where candidates race.
    raced = any(member.place for member in members)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(words("member"), min_width=12)
    tested = words(next(iter(metrics))) if len(metrics) == 1 else words("test")
    for column in (words("seed"), words("epoch"), words("loss"), tested, *([words("place")] if raced else [])):
        table.add_column(column, no_wrap=True)

    for member in members[:most]:
        # Several metrics have no name in common for the head of the column.
        test = _figure(member.test, words)
        if len(metrics) > 1 and member.metric:  # no one name heads the column
            test = f"{words(member.metric)} {test}"
        figures = [
            str(member.seed),
            member.epoch,
            _figure(member.loss, words),
            test,
            *([member.place] if raced else []),
        ]
        table.add_row(Text(member.name, no_wrap=True, overflow="ellipsis"), *figures)
    hidden = len(members) - most
    return table, [Text(words("and {count} more", count=hidden), style="dim")] if hidden > 0 else []


def ranges(members: Mapping[str, RunAtWork], words: Words) -> Iterator[str]:
    """Yield the members' losses and metrics, each from the lowest to the highest; a single run's as they are."""
    # In the order in which they come: the loss first, then each metric.
    values: dict[str, list[float]] = {}
    for member in members.values():
        if member.loss is not None:
            values.setdefault("loss", []).append(member.loss)
        if member.test is not None:
            values.setdefault(member.metric, []).append(member.test)
    for name, several in values.items():
        low, high = words.number(min(several), 4), words.number(max(several), 4)
        yield (
            f"{words(name)} {low}"
            if low == high
            else words("{name} {low} to {high}", name=words(name), low=low, high=high)
        )


def _figure(value: float | None, words: Words) -> str:
    return "" if value is None else words.number(value, 4)

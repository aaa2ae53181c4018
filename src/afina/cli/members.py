"""Show what each run of a cohort has reached: as a table that moves at a terminal, as ranges in the line of a log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from afina.words.language import Words

__all__ = ["RunAtWork", "members_table", "ranges"]


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

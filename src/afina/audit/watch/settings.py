"""Hold all that may be said of how an adapter is watched, checked when it is said."""

from dataclasses import dataclass
from pathlib import Path

from afina.audit.watch.rows import NewColumns
from afina.audit.watch.windows import Dividing
from afina.drift.timeline import Watching

__all__ = ["WatchSettings"]


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """Says what is read and how it is judged; raises `UsageError` for what cannot be."""

    window: int | None = None
    """Rows of a window; without it and `every` a file is a window."""
    every: str | None = None
    """A stretch of time for each window: hour, day, week or month (UTC)."""
    season: str | None = None
    """Windows are compared with earlier ones of the same hour, weekday or month, and the first of each is learned from."""
    most: int = 2000
    """Rows of a window that are looked at; of more, so many are drawn at random."""
    false_alarms: float = 0.05
    """Probability that `over` windows without any change raise an alarm at all."""
    over: int = 52
    last: int | None = None
    """Number of the last windows that findings are of; None for all."""
    text: str | None = None
    """The column of texts, as for the next five: left out, the adapter's own or none."""
    text_pair: str | None = None
    label: str | None = None
    time: str | None = None
    id: str | None = None
    group: str | None = None
    labels: str | Path | None = None
    """A file of right answers that came later, by the rows' ids."""
    adapter_name: str | None = None
    """The adapter's name in a server's log; left out, its own."""
    texts: bool | None = None
    """True quotes the rows most unlike those before; None those of files, and not those of a log."""
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        # Made once to be checked: what cannot be is refused before anything is read.
        _ = (self.dividing, self.watching)

    @property
    def columns(self) -> NewColumns:
        return NewColumns(self.text, self.text_pair, self.label, self.time, self.id, self.group)

    @property
    def dividing(self) -> Dividing:
        return Dividing(every=self.every, rows=self.window, most=self.most, seed=self.seed)

    @property
    def watching(self) -> Watching:
        return Watching(false_alarms=self.false_alarms, over=self.over, season=self.season, seed=self.seed)

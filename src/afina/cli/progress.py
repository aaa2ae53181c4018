"""What a person sees while a study runs: a bar for the runs, a bar for what is at work with a line for each member of a
cohort, and a line for each run that is done."""

from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from afina.cli.learned import show_learned
from afina.cli.terminal import is_quiet

if TYPE_CHECKING:
    from afina.study import events
    from afina.study.events import Event

__all__ = ["UNSHOWN", "Progress", "shown_progress"]

UNSHOWN = ("failed",)
"""Kinds of events that show nothing: how a run failed is said when its result is there."""


def _cut(ratio: int) -> Column:
    return Column(ratio=ratio, no_wrap=True, overflow="ellipsis")


def shown_progress() -> "Callable[[Event], None]":
    """Return what shows a study's progress, or nothing where quiet is asked for."""
    return (lambda event: None) if is_quiet() else Progress()


class Progress:
    """An observer of a study, as in `study.run(afina.Progress())`: bars at a terminal and in a notebook that has ipywidgets.

    On a pipe, and in a notebook without them, it prints a plain line for each run.
    """

    def __init__(self, runs: int = 0) -> None:
        self.console = Console()
        # In a narrow window words are cut, never the figures.
        self.bars = Bars(
            TextColumn("{task.description}", table_column=_cut(2)), BarColumn(None, table_column=Column(ratio=1)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)), TextColumn("{task.fields[note]}", table_column=_cut(2)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)), TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=self.console, expand=True,
        )  # fmt: skip
        self.all = self.bars.add_task("study", total=runs, note="")
        self.one = self.bars.add_task("", total=None, note="", visible=False)
        self.names: dict[str, str] = {}
        self.short: dict[str, tuple[str, str]] = {}
        """Of each run, what tells it from the others of its unit: method (and data set), and seed."""
        self.members: dict[str, dict[str, str]] = {}
        """Of the cohort at work, what is known of each member: epoch, loss, test, place in a race, and that it has left."""
        self.live = Live(
            get_renderable=self._shown, console=self.console, transient=True,
            auto_refresh=self.console.is_terminal or self.console.is_jupyter,
            refresh_per_second=4,
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        self._start()
        return self

    def __call__(self, event: "Event") -> None:
        self.observe(event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def observe(self, event: "Event") -> None:
        """Show an event by the method of its kind."""
        if event.kind not in UNSHOWN:
            getattr(self, f"_{event.kind}")(event)

    def _start(self) -> None:
        # rich draws what moves in a notebook by ipywidgets, and warns at every step where they are not there.
        if self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets") is not None):
            self.live.start()

    def _begin(self, event: "events.Begin") -> None:
        self.bars.update(self.all, total=event.runs)
        self._start()

    def _end(self, event: "events.End") -> None:
        self.live.stop()

    def _shown(self) -> Group:
        if not self.members:
            return Group(self.bars)
        metrics = {own["metric"] for own in self.members.values() if "metric" in own}
        columns = {"epoch": "epoch", "loss": "loss", "test": next(iter(metrics)) if len(metrics) == 1 else "test"}
        if any("place" in own for own in self.members.values()):
            columns["place"] = "place"
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("member", min_width=12)
        for column in ("seed", *columns.values()):
            table.add_column(column, no_wrap=True)
        room = max(3, self.console.height - 8)
        for run, own in list(self.members.items())[:room]:
            name, seed = self.short[run]
            shown = {"test": f"{own['metric']} {own['test']}"} if len(metrics) > 1 and "metric" in own else {}
            figures = [(own | shown).get(column, "") for column in columns]
            table.add_row(Text(name, no_wrap=True, overflow="ellipsis"), seed, *figures)
        more = [Text(f"and {len(self.members) - room} more", style="dim")] if len(self.members) > room else []
        return Group(table, *more, self.bars)

    def _remarks(self, event: "events.Remarks") -> None:
        for remark in event.remarks:
            self._say(remark, "yellow")

    def _prepare(self, event: "events.Prepare") -> None:
        self._say(f"reading {event.dataset} for {event.model}", "dim")

    def _prepared(self, event: "events.Prepared") -> None:
        for note in event.notes:
            self._say(f"  {note}", "yellow")
        if event.learned is not None:
            show_learned(self.console, event.learned, "what is learned")

    def _unread(self, event: "events.Unread") -> None:
        self._say(
            f"  the rows of {event.dataset} cannot be read any more, so whether they are still those that these results "
            f"are of is not known. {event.why}",
            "yellow",
        )

    def _missing(self, event: "events.Missing") -> None:
        run, what = event.run, event.result.adapter
        if event.again:
            self._say(f"  {run} had finished, and its folder is gone: it is trained again", "yellow")
        else:
            told = f"{run} had finished, and its adapter ({what}) is gone: to train it again delete runs/{run}"
            self._say(f"  {told} and run the same command", "yellow")

    def _remade(self, event: "events.Remade") -> None:
        self._say(f"  {event.path} was damaged and is made again", "yellow")

    def _precision(self, event: "events.Precision") -> None:
        self._say(f"timing a few steps of {event.model} to choose the precision", "dim")

    def _unit(self, event: "events.Unit") -> None:
        runs = event.runs
        self.names = {run.id: f"{run.label} on {run.dataset_name}, {run.model}, seed {run.seed}" for run in runs}
        first, several = runs[0], len({run.dataset for run in runs}) > 1
        self.short = {
            run.id: (f"{run.label} on {run.dataset_name}" if several else run.label, str(run.seed)) for run in runs
        }
        self.what = self.names[first.id]
        if len(runs) > 1:
            data = f"{len({run.dataset for run in runs})} data sets" if several else first.dataset_name
            self.what = f"{len(runs)} runs on {data}, {first.model}"
            self._say(f"{self.what}, together", "dim")
        if not event.search:
            self.bars.update(self.all, completed=event.done)
        self.bars.reset(self.one, description=self.what, total=None, note="loading", visible=True)

    def _search(self, event: "events.Search") -> None:
        self._say(f"trying learning rates on the development split: {event.trials} trials", "dim")

    def _again(self, event: "events.Again") -> None:
        self._say(f"  {event.why} It is started once more.", "yellow")

    def _untried(self, event: "events.Untried") -> None:
        self._say(
            f"  {event.label} on {event.dataset}, {event.model}: {event.rates} of {event.of} rates could not "
            f"be tried, so another may be better than the one that is taken. {event.why}",
            "yellow",
        )

    def _profiling(self, event: "events.Profiling") -> None:
        self.bars.reset(self.one, description=self.what, total=None, note=f"what {event.run.label} costs alone")

    def _profile(self, event: "events.Profile") -> None:
        self.bars.update(self.one, completed=event.done, total=event.steps)

    def _together(self, event: "events.Together") -> None:
        self.bars.reset(self.one, description=self.what, total=None, note=f"timing {event.members} in one pass")

    def _cohort(self, event: "events.Cohort") -> None:
        self.members = {run: {} for run in self.names}
        self.bars.reset(self.one, description=self.what, total=None, note="loading")

    def _epoch(self, event: "events.Epoch") -> None:
        if (own := self.members.get(event.run)) is not None:
            own |= {"metric": event.metric, "test": f"{event.entry.metric('test', event.metric):.4f}"}
            if "left" not in own:
                own |= {"epoch": str(event.entry.epoch), "loss": f"{event.entry.train_loss:.4f}"}

    def _judged(self, event: "events.Judged") -> None:
        if event.run in self.members:
            self.members[event.run]["place"] = f"{event.place}/{event.of}"

    def _left(self, event: "events.Left") -> None:
        if event.run in self.members:
            # Why is told in a line of its own when the cohort is done: here it would be longer than its column.
            short = {"left the race": "left", "stopped early": "stopped"}.get(event.why, event.why)
            self.members[event.run] |= {"left": "yes", "epoch": short, "loss": ""}

    def _step(self, event: "events.Step") -> None:
        for run, loss in event.losses.items():
            if run in self.members and "left" not in self.members[run]:
                self.members[run]["loss"] = f"{loss:.4f}"
        note = "steps" if len(self.names) == 1 else f"steps, {event.training} training"
        self.bars.update(self.one, completed=event.step, total=event.steps, note=note)

    def _resumed(self, event: "events.Resumed") -> None:
        self._say(f"  {self.what}: goes on from step {event.step:,} of {event.steps:,}", "yellow")

    def _evaluate(self, event: "events.Evaluate") -> None:
        self.bars.update(self.one, note=f"evaluating on {event.split}, {event.done:,} of {event.rows:,} rows")

    def _embed(self, event: "events.Embed") -> None:
        self.bars.update(self.one, completed=event.done, total=event.rows, note=f"embedding {event.split} rows")

    def _finished(self, event: "events.Finished") -> None:
        result, self.members = event.result, {}
        name = self.names[result.run]
        if result.status == "failed":
            self._say(f"  {name}: failed. {result.error}", "red")
        elif result.status == "skipped":
            self._say(f"  {name}: {result.error}", "dim")
        else:
            value = f"{result.metric} {result.test_metric:.4f}"
            alone = " alone" if result.measured == "profile" else ""
            last = result.history[-1].epoch
            stopped = f", stopped after epoch {last}" if result.epochs is not None and last < result.epochs else ""
            style = "dim" if event.search else "green"
            self._say(f"  {name}: {value}, {result.train_seconds:.1f} s{alone}{stopped}", style)
        if not event.search:
            self.bars.advance(self.all)
        self.bars.update(self.one, visible=False)

    def _say(self, line: str, style: str) -> None:
        # On a pipe a line stays one; at a terminal it is broken between words, under its own beginning.
        text, indent = Text(line.strip(), style=style), len(line) - len(line.lstrip())
        if self.console.is_terminal:
            self.console.print(Padding(text, (0, 0, 0, indent), expand=False))
        else:
            self.console.print(Text(" " * indent, style=style) + text, soft_wrap=True)

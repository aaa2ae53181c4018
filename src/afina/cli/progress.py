"""What a person sees while a study runs: a bar for the runs, a bar for what is at work with a line for each member of a
cohort, and a line for each run that is done."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from afina.cli.learned import show_learned

__all__ = ["Progress"]


class Progress:
    """An observer of a study; on a pipe it prints plain lines only."""

    def __init__(self, runs: int) -> None:
        self.console = Console()
        self.bars = Bars(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), console=self.console,
        )  # fmt: skip
        self.all = self.bars.add_task("study", total=runs, note="")
        self.one = self.bars.add_task("", total=None, note="", visible=False)
        self.names: dict[str, str] = {}
        self.members: dict[str, dict[str, str]] = {}
        """Of the cohort at work, what is known of each member: epoch, loss, test and place in a race."""
        self.live = Live(
            get_renderable=self._shown, console=self.console, transient=True, auto_refresh=self.console.is_terminal,
            refresh_per_second=4,
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def observe(self, event: Mapping[str, Any]) -> None:
        getattr(self, f"_{event['kind']}", lambda event: None)(event)

    def _shown(self) -> Group:
        if not self.members:
            return Group(self.bars)
        columns = ["epoch", "loss", "test"]
        if any("place" in own for own in self.members.values()):
            columns.append("place")
        table = Table("member", *columns, box=None, padding=(0, 2), header_style="dim")
        room = max(3, self.console.height - 8)
        for run, own in list(self.members.items())[:room]:
            table.add_row(Text(self.names[run]), *(own.get(column, "") for column in columns))
        if len(self.members) > room:
            table.add_row(Text(f"and {len(self.members) - room} more", style="dim"))
        return Group(table, self.bars)

    def _prepare(self, event: Mapping[str, Any]) -> None:
        self._say(f"reading {event['dataset']} for {event['model']}", "dim")

    def _prepared(self, event: Mapping[str, Any]) -> None:
        for note in event["notes"]:
            self._say(f"  {note}", "yellow")
        if event["learned"] is not None:
            show_learned(self.console, event["learned"], "what is learned")

    def _precision(self, event: Mapping[str, Any]) -> None:
        self._say(f"timing a few steps of {event['model']} to choose the precision", "dim")

    def _unit(self, event: Mapping[str, Any]) -> None:
        runs = event["runs"]
        self.names = {run.id: f"{run.label} on {run.dataset_name}, {run.model}, seed {run.seed}" for run in runs}
        first = runs[0]
        self.what = self.names[first.id]
        if len(runs) > 1:
            others = len({run.dataset for run in runs}) - 1
            more = f" and {others} more" if others else ""
            self.what = f"{len(runs)} runs on {first.dataset_name}{more}, {first.model}"
            self._say(f"{self.what}, together", "dim")
        if not event.get("search"):
            self.bars.update(self.all, completed=event["done"])
        self.bars.reset(self.one, description=self.what, total=None, note="loading", visible=True)

    def _search(self, event: Mapping[str, Any]) -> None:
        self._say(f"trying learning rates on the development split: {event['trials']} trials", "dim")

    def _profiling(self, event: Mapping[str, Any]) -> None:
        self.bars.reset(self.one, description=self.what, total=None, note=f"what {event['run'].label} costs alone")

    def _profile(self, event: Mapping[str, Any]) -> None:
        self.bars.update(self.one, completed=event["done"], total=event["steps"])

    def _together(self, event: Mapping[str, Any]) -> None:
        self.bars.reset(self.one, description=self.what, total=None, note=f"timing {event['members']} in one pass")

    def _cohort(self, event: Mapping[str, Any]) -> None:
        self.members = {run: {} for run in self.names}
        self.bars.reset(self.one, description=self.what, total=None, note="loading")

    def _epoch(self, event: Mapping[str, Any]) -> None:
        if event["run"] in self.members:
            metric = event["metric"]
            shown = f"{metric} {event[f'test_{metric}']:.4f}"
            own = {"epoch": str(event["epoch"]), "loss": f"{event['train_loss']:.4f}", "test": shown}
            self.members[event["run"]] |= own

    def _judged(self, event: Mapping[str, Any]) -> None:
        if event["run"] in self.members:
            self.members[event["run"]]["place"] = f"{event['place']} of {event['of']}"

    def _left(self, event: Mapping[str, Any]) -> None:
        if event["run"] in self.members:
            why = {} if "place" in self.members[event["run"]] else {"test": event["error"][:60]}
            self.members[event["run"]] |= {"epoch": "left", "loss": "", **why}

    def _step(self, event: Mapping[str, Any]) -> None:
        for run, loss in event["losses"].items():
            if run in self.members:
                self.members[run]["loss"] = f"{loss:.4f}"
        note = "steps" if len(self.names) == 1 else f"steps, {event['training']} training"
        self.bars.update(self.one, completed=event["step"], total=event["steps"], note=note)

    def _resumed(self, event: Mapping[str, Any]) -> None:
        self._say(f"  {self.what}: goes on from step {event['step']:,} of {event['steps']:,}", "yellow")

    def _evaluate(self, event: Mapping[str, Any]) -> None:
        self.bars.update(self.one, note=f"evaluating on {event['split']}, {event['done']:,} of {event['rows']:,} rows")

    def _embed(self, event: Mapping[str, Any]) -> None:
        self.bars.update(
            self.one, completed=event["done"], total=event["rows"], note=f"embedding {event['split']} rows"
        )

    def _finished(self, event: Mapping[str, Any]) -> None:
        result, self.members = event["result"], {}
        name = self.names[result["run"]]
        if result["status"] == "failed":
            self._say(f"  {name}: failed. {result['error']}", "red")
        elif result["status"] == "skipped":
            self._say(f"  {name}: {result['error']}", "dim")
        else:
            value = f"{result['metric']} {result['test_metric']:.4f}"
            alone = " alone" if result["measured"] == "profile" else ""
            style = "dim" if event.get("search") else "green"
            self._say(f"  {name}: {value}, {result['train_seconds']:.1f} s{alone}", style)
        if not event.get("search"):
            self.bars.advance(self.all)
        self.bars.update(self.one, visible=False)

    def _say(self, line: str, style: str) -> None:
        self.console.print(Text(line, style=style), soft_wrap=True)

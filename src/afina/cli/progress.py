"""What a person sees while a study runs: a bar for the runs, a bar for the run at work, a line for each that is done."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

__all__ = ["Progress"]


class Progress:
    """An observer of a study; on a pipe it prints plain lines only."""

    def __init__(self, runs: int) -> None:
        self.console = Console()
        self.bars = Bars(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        self.all = self.bars.add_task("study", total=runs, note="")
        self.one = self.bars.add_task("", total=None, note="", visible=False)

    def __enter__(self) -> "Progress":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def observe(self, event: Mapping[str, Any]) -> None:
        getattr(self, f"_{event['kind']}", lambda event: None)(event)

    def _prepare(self, event: Mapping[str, Any]) -> None:
        self._say(f"reading {event['dataset']} for {event['model']}", "dim")

    def _prepared(self, event: Mapping[str, Any]) -> None:
        for note in event["notes"]:
            self._say(f"  {note}", "yellow")

    def _precision(self, event: Mapping[str, Any]) -> None:
        self._say(f"timing a few steps of {event['model']} to choose the precision", "dim")

    def _run(self, event: Mapping[str, Any]) -> None:
        run = event["run"]
        self.name = f"{run.label} on {run.dataset_name}, {run.model}, seed {run.seed}"
        self.bars.update(self.all, completed=event["number"] - 1)
        self.bars.reset(self.one, description=self.name, total=None, note="loading", visible=True)

    def _step(self, event: Mapping[str, Any]) -> None:
        self.bars.update(self.one, completed=event["step"], total=event["steps"], note="steps")

    def _resumed(self, event: Mapping[str, Any]) -> None:
        self._say(f"  {self.name}: goes on from step {event['step']:,} of {event['steps']:,}", "yellow")

    def _evaluate(self, event: Mapping[str, Any]) -> None:
        self.bars.update(self.one, note=f"evaluating on {event['split']}, {event['done']:,} of {event['rows']:,} rows")

    def _embed(self, event: Mapping[str, Any]) -> None:
        self.bars.update(
            self.one, completed=event["done"], total=event["rows"], note=f"embedding {event['split']} rows"
        )

    def _finished(self, event: Mapping[str, Any]) -> None:
        result = event["result"]
        if result["status"] == "failed":
            self._say(f"  {self.name}: failed. {result['error']}", "red")
        else:
            value = f"{result['metric']} {result['test_metric']:.4f}"
            self._say(f"  {self.name}: {value} in {result['train_seconds']:.1f} s", "green")
        self.bars.advance(self.all)
        self.bars.update(self.one, visible=False)

    def _say(self, line: str, style: str) -> None:
        self.bars.console.print(Text(line, style=style), soft_wrap=True)

"""Each job in a fresh process: its memory is its own, and its end ends nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.study.events import Observer
from afina.study.execute import run_apart, start_server
from afina.study.executors.base import Executor, Target, executor

__all__ = ["Processes"]


@executor("processes")
@dataclass(kw_only=True)
class Processes(Executor):
    """Carries jobs out in local processes, one after another."""

    def prepare(self, directory: Path) -> None:
        """Start the server from which the processes are forked."""
        start_server()

    def submit(self, target: Target, argument: Any, on_event: Observer = lambda event: None) -> Any:
        """Return what the job gives in a process of its own."""
        return run_apart(target, argument, on_event)

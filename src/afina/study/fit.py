"""Make a study fit into the memory that there is, where it says `fit: true`, by what leaves its results the same.

Fewer rows at once and checkpointing are tried as a plan tries them; what fits is one for all runs of a model, so that their
times can be compared. A run that nothing makes fit is refused before it starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.config import StudyConfig
from afina.results.result import Result
from afina.results.results_jsonl import append_result
from afina.study import events
from afina.study.events import Observer
from afina.study.less import changed_for_memory
from afina.study.plan import Run

if TYPE_CHECKING:
    from afina.study.job import Job

__all__ = ["FitJob", "Fitted", "kind_of_run", "merged"]

_WHY = "memory has no room for all its model's runs (fit: true)"


@dataclass(frozen=True)
class FitJob:
    """Says what is to fit: runs on one model, each of a kind of its own."""

    config: StudyConfig
    runs: Sequence[Run]
    precision: str
    device: str


@dataclass(frozen=True)
class Fitted:
    """Holds what was changed of a study so that it fits, and the runs that nothing makes fit."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Keys of the study, by model."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """The reason why a run has no room, by its data set, method and settings on a model."""

    def job(self, job: "Job") -> "Job":
        """Return a job with what was changed."""
        changes = self.settings.get(job.run.model)
        return changed_for_memory(job, changes, _WHY) if changes else job

    def refuse(
        self, left: Sequence[Run], job: "Callable[[Run], Job]", directory: Path, observer: Observer
    ) -> Sequence[Run]:
        """List the runs that have no room as failed, and return the others."""
        for run in left:
            if (why := self.refused.get(kind_of_run(run))) is not None:
                observer(events.Unit(runs=(run,), done=0))
                observer(events.Failed(run=run.id, error=why))
                result = Result.made(
                    run=run.id, status="failed", error=why, model=run.model, dataset=run.dataset_name,
                    task=job(run).task["name"], method=run.method.name, method_label=run.label,
                    method_config=run.settings, seed=run.seed,
                )  # fmt: skip
                append_result(directory, result)
                observer(events.Finished(result=result))
        return [run for run in left if kind_of_run(run) not in self.refused]


def kind_of_run(run: Run) -> str:
    """Return what runs share that take the same memory: model, data, method and settings."""
    return f"{run.model} {run.costs_like}"


def merged(changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one change for all: the fewest rows at once of any, and checkpointing if any has it."""
    together: dict[str, Any] = {}
    for change in changes:
        for key, value in change.items():
            together[key] = value if key not in together or isinstance(value, bool) else min(value, together[key])
    return together

"""Predict what a study will cost, for Python: `afina.plan`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.config import StudyConfig
from afina.measure.shown import html_of
from afina.ops.allocator import keep_freed_memory
from afina.study.data import read_ahead
from afina.study.estimate import Estimate, estimate_study
from afina.study.plan import Run
from afina.study.study import Study

if TYPE_CHECKING:
    import pandas

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """The predicted cost of each run, and the runs that cannot be, with the reason."""

    estimates: Sequence[Estimate]
    failed: Sequence[tuple[Run, str]]

    @property
    def seconds(self) -> float:
        """All runs, one after another: training and evaluating."""
        return sum(own.train_seconds + own.evaluate_seconds for own in self.estimates)

    @property
    def peak_memory_bytes(self) -> float:
        return max((own.peak_memory_bytes for own in self.estimates), default=0.0)

    @property
    def disk_bytes(self) -> float:
        return sum(own.disk_bytes for own in self.estimates)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a DataFrame with a row a run."""
        import pandas

        return pandas.DataFrame([{"run": own.run.id, **_figures(own)} for own in self.estimates])

    def __repr__(self) -> str:
        cannot = f", {len(self.failed)} cannot run" if self.failed else ""
        return (
            f"Plan: {len(self.estimates)} runs, {self.seconds:,.0f} s one after another, at most "
            f"{self.peak_memory_bytes / 1e9:.2f} GB of memory, {self.disk_bytes / 1e9:.2f} GB of disk{cannot}"
        )

    def _repr_html_(self) -> str:
        columns = ("run", "trainable", "memory (GB)", "step (s)", "train (s)", "evaluate (s)", "disk (MB)")
        rows = [
            (own.run.id, own.trainable_parameters, own.peak_memory_bytes / 1e9, own.step_seconds, own.train_seconds,
             own.evaluate_seconds, own.disk_bytes / 1e6)
            for own in self.estimates
        ]  # fmt: skip
        return html_of(repr(self), columns, rows, "; ".join(f"{run.id} cannot run: {why}" for run, why in self.failed))


def _figures(own: Estimate) -> dict[str, Any]:
    return {key: value for key, value in vars(own).items() if key != "run"}


def plan(
    study: Study | StudyConfig | str | Path | None = None,
    *,
    tick: Callable[[str], None] = lambda what: None,
    **settings: Any,
) -> Plan:
    """Predict memory, time and disk of every run on this machine; takes a study, a study file, or a study file's keys.

    Loads no weights. Raises `UsageError` for what is wrong with the study or its data.
    """
    if isinstance(study, Study):
        config: StudyConfig = study.config
    elif isinstance(study, StudyConfig):
        config = study
    else:
        config = StudyConfig.read(Path(study)) if study is not None else StudyConfig.parse(settings, "study")
    read_ahead(config, presets=False)
    keep_freed_memory()  # as the processes do that carry a study out
    return Plan(*estimate_study(config, tick=tick))

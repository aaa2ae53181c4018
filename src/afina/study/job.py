"""Tell a process that carries out a run all that it needs, picklable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.config import StudyConfig
from afina.data.sources.finding import known_by_name
from afina.distil.taught import TaughtRows
from afina.errors import AfinaError
from afina.measure.hardware import versions
from afina.study.plan import Run

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """All that one run needs."""

    run: Run
    config: StudyConfig
    directory: Path
    tokens: Path
    task: Mapping[str, Any]
    precision: str
    device: str
    fingerprint: Mapping[str, Any]
    taught: TaughtRows | None = None
    """The train rows as a teacher answered them, where there is a teacher."""
    train_evaluation_rows: np.ndarray | None = None
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    """The columns of the data's texts and labels."""
    assumed: tuple[str, ...] = ()
    """Assumptions about the model, for the notes of tables."""
    figures: Path | None = None
    """The file of what the texts alone tell, for the reference of `afina watch`; None where none is kept."""

    fitted: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the study that were changed for want of memory; none changes what is learned."""

    mitigated: Path | None = None
    """The file of how its rows weigh, or in what cells they are balanced, where it has a mitigation of bias."""

    @property
    def folder(self) -> Path:
        return self.directory / "runs" / self.run.id

    @property
    def rows_at_once(self) -> int:
        """Return how many rows of its batch are computed at once."""
        return min(self.config.micro_batch_size or self.config.batch_size, self.config.batch_size)

    @property
    def max_length(self) -> int:
        """Return the most tokens that its texts may have."""
        return self.config.length_of(self.config.dataset[self.run.dataset])

    @property
    def originals(self) -> dict[str, Any]:
        """Return the digests of what the run learns from: the rows, the parts of the model, and its teacher."""
        taught = {} if self.taught is None else {"teacher": self.taught.folder.name}
        changed = {} if self.mitigated is None else {"mitigated": self.mitigated.name}
        return {
            "data": self.fingerprint.get("data"), "model": dict(self.fingerprint.get("model") or {}), **taught, **changed,
        }  # fmt: skip

    def check_originals(self, state: Mapping[str, Any]) -> None:
        """Raise `AfinaError` for a checkpoint that was begun with another model, tokenizer or data of the same name."""
        # A checkpoint from before digests were kept is taken as it is.
        if state.get("originals", self.originals) != self.originals:
            raise AfinaError(
                f"The checkpoint of {self.run.id} is of another model or other data than are there now; put back what was "
                "there, or delete the checkpoint to start again."
            )

    def facts(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what an adapter's record says of the data and history that it comes from."""
        source = self.config.dataset[self.run.dataset].model_dump(mode="json")
        # A data set known by its name is read by it, whatever else is called so where the command runs.
        if not known_by_name(source["path"]) and Path(source["path"]).exists():
            source["path"] = str(Path(source["path"]).resolve())
        return {
            "dataset": self.run.dataset_name, "source": source, "columns": dict(self.columns), "history": list(history),
            "versions": versions(), **({} if self.config.teacher is None else {"teacher": self.config.teacher}),
        }  # fmt: skip

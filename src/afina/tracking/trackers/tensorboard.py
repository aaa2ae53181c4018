"""TensorBoard's event files, one folder a run: `tensorboard --logdir STUDY/tracking/tensorboard`.

TensorBoard keeps no files beside its figures: the report and the adapters stay where the study has them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.tracking.tracker import Settings, Tracker, tracker

__all__ = ["TensorBoard"]


@tracker("tensorboard")
class TensorBoard(Tracker):
    """Writes event files into the study's folder."""

    package, extra = "tensorboard", "tensorboard"

    def __init__(self, study: str, folder: Path) -> None:
        super().__init__(study, folder)
        self._settings: dict[str, Settings] = {}
        self._writers: dict[str, Any] = {}

    def begin(self, run: str, settings: Settings) -> None:
        self._settings[run] = settings

    def log(self, run: str, step: int, values: Mapping[str, float]) -> None:
        writer = self._writer(run, step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def finish(self, run: str, status: str, step: int, values: Mapping[str, float], files: Sequence[Path]) -> None:
        from torch.utils.tensorboard.summary import hparams as of_hparams

        hparams: Any = of_hparams  # it has no types

        self.log(run, step, values)
        writer = self._writers.pop(run)
        # The table of settings beside last figures, which TensorBoard calls hparams; it has no place for what is unset.
        known = {key: value for key, value in self._settings[run].items() if value is not None}
        for summary in hparams(known | {"status": status}, dict(values)):
            writer.file_writer.add_summary(summary)
        writer.close()

    def report(self, files: Sequence[Path]) -> None:
        """Leave the report where it is, as TensorBoard keeps no files."""

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, run: str, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier start wrote of later steps, before it was killed, is not shown: those steps are taken again.
        if run not in self._writers:
            self._writers[run] = SummaryWriter(str(self.folder / run), purge_step=step)
        return self._writers[run]

"""MLflow's runs: the study is the parent of its runs, in the store that MLFLOW_TRACKING_URI names.

Without that variable it is MLflow's own default, `mlflow.db` in the folder from which the study was started.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.json_files import read_json_object
from afina.tracking.tracker import Settings, Tracker, tracker
from afina.whole_file import write_json

__all__ = ["MLflow"]

_MOST_PARAMETERS, _LONGEST = 100, 6000
"""Parameters that MLflow takes in one call, and the characters that it keeps of each."""
_PARENT = "study"
"""The study's own name among the ids of runs, none of which has so short a one."""
_ENDS = {"ok": "FINISHED", "left": "KILLED"}
"""MLflow's word for how a run ended; whatever else there is has failed."""


@tracker("mlflow")
class MLflow(Tracker):
    """Writes runs by MLflow's client."""

    package, extra = "mlflow", "mlflow"

    def __init__(self, study: str, folder: Path) -> None:
        from mlflow import MlflowClient

        super().__init__(study, folder)
        self._client: Any = MlflowClient()
        self._file = folder / "runs.json"
        self._ids = self._known()

    def begin(self, run: str, settings: Settings) -> None:
        from mlflow.entities import Param

        if run in self._ids:
            self._client.update_run(self._ids[run], status="RUNNING")
            return
        self._create(run, {"mlflow.parentRunId": self._parent()})
        given = [Param(key, str(value)[:_LONGEST]) for key, value in settings.items()]
        for start in range(0, len(given), _MOST_PARAMETERS):
            self._client.log_batch(self._ids[run], params=given[start : start + _MOST_PARAMETERS])

    def log(self, run: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._ids[run], metrics=[Metric(key, value, now, step) for key, value in values.items()])

    def finish(self, run: str, status: str, step: int, values: Mapping[str, float], files: Sequence[Path]) -> None:
        self.log(run, step, values)
        for path in files:
            self._client.log_artifacts(self._ids[run], str(path), artifact_path=path.name)
        self._client.set_terminated(self._ids[run], status=_ENDS.get(status, "FAILED"))

    def report(self, files: Sequence[Path]) -> None:
        for path in files:
            self._client.log_artifact(self._parent(), str(path))
        self._client.set_terminated(self._parent())

    def close(self) -> None:
        """Do nothing: every call has reached the store when it returns."""

    # -- which of MLflow's runs are this study's ---------------------------------------------------------------------

    def _known(self) -> dict[str, str]:
        """Return MLflow's ids of the runs that an earlier start of the study began in the same store."""
        if not self._file.exists():
            return {}
        try:
            stored = read_json_object(self._file)
        except UsageError:  # damaged: the runs begin anew there, and nothing else is lost
            return {}
        ids = stored.get("runs")
        return dict(ids) if stored.get("store") == self._client.tracking_uri and isinstance(ids, dict) else {}

    def _parent(self) -> str:
        if _PARENT not in self._ids:
            self._create(_PARENT, {})
        return self._ids[_PARENT]

    def _create(self, run: str, tags: Mapping[str, str]) -> None:
        name = self.study if run == _PARENT else run
        created = self._client.create_run(self._experiment(), run_name=name, tags=dict(tags))
        self._ids[run] = created.info.run_id
        write_json(self._file, {"store": self._client.tracking_uri, "runs": self._ids})

    def _experiment(self) -> str:
        """Return the id of the experiment that MLFLOW_EXPERIMENT_NAME names, else of one called after the study."""
        from mlflow.environment_variables import MLFLOW_EXPERIMENT_NAME

        name = MLFLOW_EXPERIMENT_NAME.get() or self.study
        experiment = self._client.get_experiment_by_name(name)
        place: str = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        return place

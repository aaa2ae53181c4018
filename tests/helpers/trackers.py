"""Read back what each tracker's program keeps, by the program's own reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["READERS", "Points", "place"]

Points = dict[str, dict[str, list[tuple[int, float]]]]
"""Steps and values, by run and name."""


def place(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let all programs keep what they are told within a folder, none of it elsewhere."""
    patch.setenv("MLFLOW_TRACKING_URI", f"file://{folder}/mlruns")
    patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_DATA_DIR", str(folder / "wandb"))
    patch.setenv("TRACKIO_DIR", str(folder / "trackio"))


def tensorboard(study: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Points = {}
    for run in sorted((study / "tracking" / "tensorboard").iterdir()):
        events = EventAccumulator(str(run))
        events.Reload()
        found[run.name] = {
            name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]
        }
    return found


def mlflow(study: Path) -> Points:
    from mlflow import MlflowClient

    client: Any = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name(study.name).experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    found: Points = {}
    for run in runs:
        if run is not parent:
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert run.info.status == "FINISHED"
            assert run.data.params["method"] == "lora"
            assert [entry.path for entry in client.list_artifacts(run.info.run_id)] == ["adapter"]
            found[run.info.run_name] = {
                name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            }
    assert parent.info.run_name == study.name
    assert [entry.path for entry in client.list_artifacts(parent.info.run_id)] == ["report.html"]
    return found


READERS: dict[str, Callable[[Path], Points]] = {"tensorboard": tensorboard, "mlflow": mlflow}

"""Runs that were finished on a machine correct its plans, and the ranges hold for those that come after."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import afina
from afina.config import StudyConfig
from afina.results.result import Result
from afina.study import remembered
from afina.study.needs import ranged, shares_of
from afina.study.plan import expand
from afina.study.remembered import FinishedHere, cell_of, remember_finished
from afina.study.time_needs import seconds_of
from studies import settings

RUNS = json.loads((Path(__file__).parents[2] / "benchmarks/results/plan_recorded.json").read_text())["runs"]


def recorded(what: str) -> np.ndarray:
    """Return measured to counted of the recorded runs' training."""
    shares, ratios = shares_of(what, "train"), []
    for run in RUNS:
        counted, measured = run["counted"][what]["train"], run["measured"]
        took = measured["memory"]["train"] if what == "memory" else measured["train_seconds"]
        planned = (
            counted + shares[run["kind"]]
            if what == "memory" else sum(shares[part] * own for part, own in counted.items())
        )  # fmt: skip
        ratios.append(took / planned)
    return np.array(ratios)


def test_recorded_runs_are_planned_by_their_own_shares() -> None:
    """With these the middle of what was measured, beside what is planned, is near one."""
    planned = [seconds_of(run["counted"]["time"]["train"], "train") for run in RUNS]
    measured = [run["measured"]["train_seconds"] for run in RUNS]
    assert np.array(measured) / np.array(planned) == pytest.approx(recorded("time"))
    assert 0.9 < np.median(recorded("time")) < 1.1


@pytest.mark.parametrize("what", ["memory", "time"])
def test_ranges_hold_for_runs_that_come_after_on_a_machine_like_the_recorded_one_and_on_others(what: str) -> None:
    chance = np.random.default_rng(0)
    for pace in (1.0, 1.3, 0.75):
        inside = []
        for _ in range(20):
            ratios = chance.permutation(recorded(what)) * pace
            likely = ranged(1.0, what, "train", ratios[:24].tolist())
            inside.append(np.mean((likely.low <= ratios[24:]) & (ratios[24:] <= likely.high)))
        assert np.mean(inside) >= 0.88, pace


def test_the_middle_moves_to_where_this_machines_runs_lie() -> None:
    before = ranged(1.0, "time", "train").value
    slow = (1.5 * recorded("time")).tolist()
    few, many = (ranged(1.0, "time", "train", slow[:count]).value for count in (6, 60))
    assert before < few < many
    assert many == pytest.approx(1.5 * before, rel=0.1)
    like = recorded("memory").tolist()
    alone, beside = ranged(1.0, "memory", "train"), ranged(1.0, "memory", "train", like[:60])
    assert beside.high / beside.low < alone.high / alone.low


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFINA_REMEMBERED", str(tmp_path / "kept"))
    monkeypatch.setattr(remembered, "parent_process", lambda: 1)
    monkeypatch.delenv("AFINA_EXECUTOR", raising=False)
    return tmp_path / "kept"


def finished(**changes: Any) -> Result:
    """Return the result of a run that trained alone."""
    values = {
        "measured": "solo", "cohort_size": 1, "resumed": 0, "race": None, "history": [0], "train_rows": 90,
        "train_seconds": 40.0, "evaluate_seconds": 5.0,
        "memory": {"train": {"peak_bytes": 3e8}, "evaluate": {"peak_bytes": 2e8}},
    }  # fmt: skip
    return SimpleNamespace(**values | changes)  # type: ignore[return-value]


def test_a_run_that_was_planned_and_finished_corrects_the_next_plan(
    folder: Path, family_folder: Callable[..., Path], csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["lora"], precision="fp32")
    first = afina.plan(**study)
    assert first.corrected_by == 0
    config = StudyConfig.parse(study, "study")
    run = expand(config)[0]
    rows = json.loads(next(folder.glob("*.json")).read_text())["planned"]["rows"]
    job = SimpleNamespace(config=config, run=run, precision="fp32", device="cpu")
    took = {f"{phase}_seconds": 1.5 * getattr(first.estimates[0].time, phase).value for phase in ("train", "evaluate")}
    remember_finished(job, finished(train_rows=rows, history=[0] * config.epochs, **took))  # type: ignore[arg-type]
    known = FinishedHere.read()
    assert known.runs == 1
    for phase in ("train", "evaluate"):
        assert known.of("time", phase) == [pytest.approx(1.5 * ranged(1.0, "time", phase).value)]
    assert known.of("memory", "train")[0] == pytest.approx(3e8 / first.estimates[0].memory.train.value, rel=0.1)
    assert afina.plan(**study).corrected_by == 1
    # Another seed and rate are the same to costs, another batch is not.
    assert cell_of(config, replace(run, seed=7), "fp32") == cell_of(config, run, "fp32")
    assert cell_of(StudyConfig.parse(study | {"batch_size": 2}, "study"), run, "fp32") != cell_of(config, run, "fp32")


def test_what_was_measured_otherwise_than_it_was_planned_is_not_remembered(folder: Path, csv_folder: Path) -> None:
    config = StudyConfig.parse({"model": "minilm", "dataset": str(csv_folder), "methods": ["lora"]}, "study")
    job = SimpleNamespace(config=config, run=expand(config)[0], precision="fp32", device="cpu")
    for changes in ({"cohort_size": 2}, {"resumed": 1}, {"history": [0]}, {"measured": "profile"}):
        remember_finished(job, finished(**{"history": [0] * config.epochs} | changes))  # type: ignore[arg-type]
    assert not folder.exists()
    remember_finished(job, finished(history=[0] * config.epochs))  # type: ignore[arg-type]
    (folder / "torn.json").write_text("{")
    assert FinishedHere.read().runs == 0  # finished, and not planned

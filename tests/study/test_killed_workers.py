"""A worker that is killed in a search or a race: nothing is concluded from its end, and nothing comes out otherwise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from afina.api.studies import Outcome
from afina.cli.report import end_study
from afina.report.write import write_report
from afina.results.results_jsonl import read_results
from afina.study.study import Study
from kills import AT_EVERY_STEP, kill_workers, plan_alike
from studies import settings, write_splits

Loader = Callable[..., Path]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(tmp_path_factory.mktemp("rows"), train=60, test=40, validation=40)


@pytest.fixture(scope="module")
def searching(family_folder: Loader, rows: Path) -> dict[str, Any]:
    study = settings(family_folder, rows, methods=["lora", "ia3"], epochs=2, cohort=4, **AT_EVERY_STEP)
    return study | {"learning_rate": "search", "search_factors": [0.01, 30]}


@pytest.fixture(scope="module")
def undisturbed(searching: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "whole"
    assert {result["rate"] for result in Study(folder, **searching).run()} == {"searched"}
    return folder


def adapters(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("adapter_model.safetensors"))
    }


def killing(kind: str, which: Callable[[dict[str, Any]], bool] = lambda event: True, times: int = 1) -> Any:
    """An observer that kills the worker that sends an event of a kind, so many times; and what it saw."""
    seen: list[dict[str, Any]] = []

    def observe(event: dict[str, Any]) -> None:
        seen.append(dict(event))
        if event["kind"] == kind and which(event) and sum(own["kind"] == kind and which(own) for own in seen) <= times:
            kill_workers()

    return observe, seen


@pytest.mark.always
@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("kind", ["epoch", "profile"])
def test_a_trial_whose_worker_is_killed_is_tried_again(
    kind: str, searching: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    """While the cohort of the trials trains, or while one method's costs are found."""
    plan_alike(undisturbed, tmp_path / "killed")
    observe, seen = killing(kind)
    results = Study(tmp_path / "killed", **searching).run(observe)
    assert [event["why"] for event in seen if event["kind"] == "again"]
    assert [(r["status"], r["method_config"], r["rate"]) for r in results] == [
        (r["status"], r["method_config"], r["rate"]) for r in read_results(undisturbed)
    ]
    assert not [result for result in results if "untried" in result]
    assert adapters(tmp_path / "killed") == adapters(undisturbed)


def killing_trials_of_ia3(told: list[dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    """An observer that kills whoever finds what a trial of IA3 costs, each time, and keeps what could not be tried."""
    profiled = ""

    def observe(event: dict[str, Any]) -> None:
        nonlocal profiled
        profiled = event["run"].method.name if event["kind"] == "profiling" else profiled
        told.append(event) if event["kind"] == "untried" else None
        if event["kind"] == "profile" and profiled == "ia3" and event.get("search"):
            kill_workers()

    return observe


@pytest.mark.usefixtures("processes")
def test_a_rate_whose_trials_could_not_be_is_marked(searching: dict[str, Any], tmp_path: Path) -> None:
    """Its worker is killed each time that it comes so far: the default stays, and everything that shows it says why."""
    told: list[dict[str, Any]] = []
    folder = tmp_path / "out"
    results = {result["method"]: result for result in Study(folder, **searching).run(killing_trials_of_ia3(told))}
    assert results["lora"]["rate"] == "searched"
    assert "untried" not in results["lora"]
    assert results["ia3"]["rate"] == "default"
    assert (results["ia3"]["untried"]["rates"], results["ia3"]["untried"]["of"]) == (2, 2)
    assert "ended by SIGKILL" in results["ia3"]["untried"]["why"]
    assert [(event["label"], event["rates"]) for event in told] == [("ia3", 2)]
    write_report(folder)
    (table,) = (folder / "tables").glob("comparison-*.md")
    assert "(default †)" in table.read_text()
    assert "† ia3: 2 of 2 rates could not be tried" in table.read_text()
    write_report(folder, language="pt")
    assert "não puderam ser experimentadas" in table.read_text()
    stored = yaml.safe_load((folder / "study.yaml").read_text())["resolved"]["runs"]
    assert [run for run, own in stored.items() if "untried" in own] == [results["ia3"]["run"]]
    outcome = Outcome(folder, Study(folder, **searching).results, write_report(folder))
    assert [result.method for result in outcome.untried] == ["ia3"]
    with pytest.raises(typer.Exit) as ended:
        end_study(outcome, "en")
    assert ended.value.exit_code == 1


@pytest.mark.usefixtures("processes")
def test_what_could_not_be_tried_is_tried_at_the_next_start(
    searching: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    """And what was trained at a rate that was chosen without it is trained again, at that of an undisturbed study."""
    folder, told, seen = tmp_path / "killed", list[dict[str, Any]](), list[dict[str, Any]]()
    first = {own.method: own for own in Study(folder, **searching).run(killing_trials_of_ia3(told))}
    assert told
    assert first["ia3"].untried

    results = Study(folder, **searching).run(lambda event: seen.append(dict(event)))
    assert [event["run"] for event in seen if event["kind"] == "tried"] == [first["ia3"].run]
    assert {r.method: (r.status, r.method_config, r.rate, r.untried) for r in results} == {
        r.method: (r.status, r.method_config, r.rate, None) for r in read_results(undisturbed)
    }
    assert next(own for own in results if own.method == "lora") == first["lora"]
    stored = yaml.safe_load((folder / "study.yaml").read_text())["resolved"]["runs"]
    assert not [run for run, own in stored.items() if "untried" in own]
    # Nothing of what was broken off is left lying, neither of the trials nor of the runs.
    states = {path.name for path in folder.rglob("*.safetensors")} | {path.name for path in folder.rglob(".*.part")}
    assert states == {"adapter_model.safetensors"}

    seen.clear()
    assert Study(folder, **searching).run(lambda event: seen.append(dict(event))) == results
    assert not [event for event in seen if event["kind"] in ("tried", "search", "unit")]


@pytest.mark.usefixtures("processes")
def test_a_race_whose_worker_is_killed_has_the_same_winner(family_folder: Loader, rows: Path, tmp_path: Path) -> None:
    race = {"rungs": [0.4], "keep": 0.5, "rate_factors": [0.01, 30]}
    study = settings(family_folder, rows, methods=["lora", "ia3"], epochs=2, race=race, **AT_EVERY_STEP)
    del study["learning_rate"]
    whole = Study(tmp_path / "whole", **study).run()
    plan_alike(tmp_path / "whole", tmp_path / "killed")
    observe, seen = killing("judged")
    killed = Study(tmp_path / "killed", **study).run(observe)
    assert [event for event in seen if event["kind"] == "again"]
    assert [(r["run"], r["status"], r.get("race")) for r in killed] == [
        (r["run"], r["status"], r.get("race")) for r in whole
    ]
    assert adapters(tmp_path / "killed") == adapters(tmp_path / "whole")
    logged = [
        json.loads(line)
        for path in (tmp_path / "killed").rglob("events.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert any(entry["kind"] == "again" and "ended by SIGKILL" in entry["why"] for entry in logged)

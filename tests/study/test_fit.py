"""What is refused fails and what is accepted fits, by a limit on a run's memory; `fit: true` changes what it has to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import afina
from afina.backbone.shapes import read_shape
from afina.config import StudyConfig
from afina.errors import AfinaError
from afina.measure import free_memory
from afina.measure.free_memory import free_bytes
from afina.report.write import write_report
from afina.study.devices import cells, here
from afina.study.devices.changes import Case
from afina.study.devices.device import Room
from afina.study.devices.here import this_machine
from afina.study.execute import run_apart
from afina.study.executors.in_process import InProcess
from afina.study.executors.processes import Processes
from afina.study.fit import merged
from afina.study.plan import expand
from afina.study.sizes import sizes_of
from afina.study.staging import rehearsed_run
from afina.study.study import Study
from jobs import limited
from studies import settings

Loader = Callable[..., Path]


class Limited(Processes):
    """Gives each job's process so many bytes beyond what it has when it starts."""

    def __init__(self, room: float) -> None:
        self.room = room

    def submit(self, target: Any, argument: Any, on_event: Any = lambda event: None) -> Any:
        return run_apart(limited, (target, argument, self.room), on_event)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Texts of one length, whose batch takes some hundred megabytes."""
    rows = tmp_path_factory.mktemp("long") / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"{'word ' * 120}{i},{'ab'[i % 2]}\n" for i in range(24)))
    return {
        "model": "minilm", "dataset": str(rows), "methods": ["lora"], "epochs": 1, "batch_size": 16, "max_length": 128,
        "train_limit": 16, "test_limit": 4, "train_evaluation_limit": 4, "evaluation_batch_size": 4, "precision": "fp32",
        "watch_reference": False,
    }  # fmt: skip


def run(study: dict[str, Any], room: float, out: Path) -> tuple[Any, list[int]]:
    """Return the result of a study's one run, and the rows at once that it went on with as memory ran out."""
    events: list[dict[str, Any]] = []
    (result,) = Study(out, executor=Limited(room), **study).run(lambda event: events.append(dict(event)))
    return result, [event["rows"] for event in events if event["kind"] == "less"]


@pytest.mark.whole
def test_what_is_refused_runs_out_of_memory_and_what_is_accepted_fits(study: dict[str, Any], tmp_path: Path) -> None:
    config, shape = StudyConfig.parse(study, "study"), read_shape("minilm")
    sizes = sizes_of(config, config.dataset[0], "minilm")
    memory = Case(expand(config)[0], config, shape, sizes, this_machine("cpu"), "fp32").computed.memory
    # The weights lie in pages of their file, which such a limit does not count.
    small = 0.95 * (memory.train.low - memory.parts["weights"])
    result, less = run(study, small, tmp_path / "refused")
    assert less
    assert (result.status, result.fitted) == ("ok", {"micro_batch_size": less[-1]})
    # As much beside as a process may take before it loads the model.
    result, less = run(study, memory.train.high + 0.15e9, tmp_path / "accepted")
    assert (result.status, less, result.fitted) == ("ok", [], {})
    result, less = run({**study, "fit": True}, small, tmp_path / "fit")
    assert (result.status, less) == ("ok", [])
    assert result.fitted["micro_batch_size"] < 16


def with_room(patch: pytest.MonkeyPatch, room: Room) -> None:
    patch.setattr(here, "room_here", lambda device, started=False: room)


def test_one_change_is_for_all_runs_of_a_model_and_what_has_no_room_is_refused(
    family_folder: Loader, csv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = settings(
        family_folder, csv_folder, methods=["lora", "full"], epochs=1, batch_size=32, fit=True, cohort="off"
    )
    config, shape = StudyConfig.parse(keys, "study"), read_shape(keys["model"])
    sizes = sizes_of(config, config.dataset[0], keys["model"])
    cases = [Case(each, config, shape, sizes, this_machine("cpu"), "fp32") for each in expand(config)]
    whole = max((case.computed.memory for case in cases), key=lambda memory: memory.train.high)
    with_room(monkeypatch, Room(whole.train.high - 1, whole.train.high - 1))
    told: list[Any] = []
    results = Study(tmp_path / "fit", executor=InProcess(), **keys).run(lambda event: told.append(dict(event)))
    assert {result.status for result in results} == {"ok"}
    assert len({str(result.fitted) for result in results}) == 1 and results[0].fitted
    (remark,) = (text for event in told if event["kind"] == "remarks" for text in event["remarks"] if "fit:" in text)
    assert "as memory has no room for all of its runs otherwise" in remark
    assert "fit: true" in results[0].assumed[-1]
    page = write_report(tmp_path / "fit", language="pt").html.read_text()
    assert "a memória não tem lugar para todas as execuções" in page
    assert afina.Study(tmp_path / "fit", **keys).run()[0].fitted == results[0].fitted  # and stays as it was

    with_room(monkeypatch, Room(1e4, 1e4))  # less than the weights
    results = Study(tmp_path / "none", executor=InProcess(), **keys).run()
    assert {result.status for result in results} == {"failed"}
    assert all("GB at least" in str(result.error) and not result.unfinished for result in results)


def test_a_plan_for_this_machine_says_what_to_change(
    family_folder: Loader, csv_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = settings(family_folder, csv_folder, batch_size=40, evaluation_batch_size=4)
    plan = afina.plan(**keys)
    assert plan.changes == {}
    assert plan.free_bytes > 0
    peak = plan.estimates[0].memory.train.high
    assert plan.estimates[0].memory.evaluate.high < peak
    monkeypatch.setattr(here, "free_bytes", lambda device="cpu": 0.5e9 + peak - 1)
    rehearsed: list[Any] = []

    def noted(run: Any, config: StudyConfig, *rest: Any, **settings: Any) -> Any:
        rehearsed.append((run.id, config.model_dump_json()))
        return rehearsed_run(run, config, *rest, **settings)

    monkeypatch.setattr(cells, "rehearsed_run", noted)
    plan = afina.plan(**keys)
    assert len(set(rehearsed)) == len(rehearsed) > 1  # each takes seconds of a large model
    first = plan.changes[plan.estimates[0].run.id][0]
    assert first.same_result
    assert first.figures.memory.train.low < plan.estimates[0].memory.train.low
    assert plan.as_dict()["changes"][plan.estimates[0].run.id][0]["settings"] == first.settings

    # Where no change can be told the figures stand all the same.
    def fail(*_: Any) -> None:
        raise AfinaError("The model cannot be looked at.")

    monkeypatch.setattr(here, "changes_for", fail)
    told: list[str] = []
    plan = afina.plan(**keys, tell=told.append)
    assert plan.estimates and plan.changes == {}
    assert any(what.endswith(": The model cannot be looked at.") for what in told)


def test_the_fewest_rows_and_checkpointing_of_any_are_for_all() -> None:
    assert merged([{}, {"micro_batch_size": 4}, {"micro_batch_size": 2, "gradient_checkpointing": True}]) == {
        "micro_batch_size": 2, "gradient_checkpointing": True,
    }  # fmt: skip
    assert merged([{}, {}]) == {}


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_is_what_is_free(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group, ours = tmp_path / ("memory" if version == 1 else "") / "a" / "b", tmp_path / "ours"
    ours.write_text("4:memory:/a/b\n2:cpu:/a\n" if version == 1 else "0::/a/b\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    for place, limit, held, files in ((group, "max", 10, 0), (group.parent, "5000", 3000, 500)):
        place.mkdir(parents=True, exist_ok=True)
        (place / names[0]).write_text(f"{limit}\n")
        (place / names[1]).write_text(f"{held}\n")
        (place / "memory.stat").write_text(f"anon 1\ninactive_file {files}\n")
    monkeypatch.setattr(free_memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(free_memory, "_OURS", ours)
    assert free_bytes() == 2500

"""Trackers: each gets every run by the same names, and none of them can stop a study."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from afina.api import study
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.registry import listing
from afina.results.results_jsonl import read_results
from afina.study import tracked
from afina.study.study import Study
from afina.tracking.tracker import TRACKERS, Settings, Tracker
from studies import settings
from trackers import READERS, place

Loader = Callable[[str], Path]
SHIPPED = sorted(listing("afina.tracking.trackers", "tracker"))


@pytest.mark.parametrize("name", READERS)
def test_a_tracker_has_every_run_of_a_study(
    name: str, family_folder: Loader, csv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(tmp_path, monkeypatch)
    keys = settings(family_folder, csv_folder, seeds=2, cohort="off", report_to=name)
    outcome = study(out=tmp_path / "mail", **keys)
    found = READERS[name](tmp_path / "mail")
    assert sorted(found) == sorted(result.run for result in outcome.results)
    for result in outcome.results:
        points = found[result.run]
        losses = dict(points["train/loss"])
        assert sorted(losses) == list(losses)
        assert losses[20] == pytest.approx(result.history[-1].train_loss, rel=1e-6)
        assert points["epoch"] == [(10, 1.0), (20, 2.0)]
        assert points["test/accuracy"][-1] == (20, pytest.approx(result.test_metrics["accuracy"]))
        assert points["cost/train_seconds"][-1][1] == pytest.approx(result.train_seconds)
        assert points["parameters/trainable_parameters"][-1][1] == result.trainable_parameters


class _Recorder(Tracker):
    """Keeps what it is told; a base of trackers that go wrong."""

    package = "afina"

    def __init__(self, study: str, folder: Path) -> None:
        super().__init__(study, folder)
        self.told: list[str] = []

    def begin(self, run: str, settings: Settings) -> None:
        self.told.append(run)

    def log(self, run: str, step: int, values: Mapping[str, float]) -> None:
        assert run in self.told

    def finish(self, run: str, status: str, step: int, values: Mapping[str, float], files: Sequence[Path]) -> None: ...

    def report(self, files: Sequence[Path]) -> None: ...

    def close(self) -> None: ...


@TRACKERS.register("broken")
class _Broken(_Recorder):
    def log(self, run: str, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("https://me:a-long-password@tracker.example answers nothing")


@TRACKERS.register("stuck")
class _Stuck(_Recorder):
    def begin(self, run: str, settings: Settings) -> None:
        threading.Event().wait()


@pytest.mark.parametrize(("name", "why"), [("broken", "it failed"), ("stuck", "it had not taken everything")])
def test_a_tracker_that_fails_stops_nothing_and_is_named(
    name: str, why: str, family_folder: Loader, csv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked, "PATIENCE", 0.5)
    said: list[str] = []
    keys = settings(family_folder, csv_folder, epochs=1)

    def observer(event: Any) -> None:
        said.extend(event.get("remarks", ()))

    told = Study(tmp_path / "told", report_to=[name], **keys).run(observer)
    (sentence,) = [remark for remark in said if "report_to" in remark]
    assert name in sentence and why in sentence and "password" not in sentence

    plain = Study(tmp_path / "plain", **keys).run()
    assert told[0].is_finished
    weights = [
        (tmp_path / out / str(results[0].adapter) / "adapter_model.safetensors").read_bytes()
        for out, results in (("told", told), ("plain", plain))
    ]
    assert weights[0] == weights[1]
    assert told[0].fingerprint == plain[0].fingerprint


def test_a_study_goes_on_with_other_trackers(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    keys = settings(family_folder, csv_folder, epochs=1)
    Study(tmp_path / "out", **keys).run()
    Study(tmp_path / "out", report_to="stuck", **keys).run()  # all is done, and so it is told nothing
    assert len(read_results(tmp_path / "out")) == 1
    assert StudyConfig.read(tmp_path / "out" / "study.yaml").report_to == ["stuck"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_done(
    name: str, family_folder: Loader, csv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, TRACKERS[name].package, None)
    with pytest.raises(
        UsageError, match=rf"^report_to: {name} needs .* pip install 'afina\[{TRACKERS[name].extra}\]'\.$"
    ):
        Study(tmp_path / "out", report_to=name, **settings(family_folder, csv_folder)).run()
    assert not (tmp_path / "out").exists()


def test_a_misspelt_tracker_is_named(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"report_to.*'tensorbord'; did you mean 'tensorboard'"):
        Study(tmp_path / "out", report_to="tensorbord", **settings(family_folder, csv_folder))


def test_every_tracker_stands_in_the_keys_description() -> None:
    described = str(StudyConfig.model_fields["report_to"].description)
    assert [name for name in SHIPPED if f"`{name}`" not in described] == []


def test_a_study_that_tells_no_tracker_is_read_again(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    """As resuming, auditing and reports do."""
    Study(tmp_path / "out", **settings(family_folder, csv_folder, methods=["head"], epochs=1, train_limit=20)).run()
    assert not StudyConfig.read(tmp_path / "out" / "study.yaml").report_to

"""Jobs on other machines: written down, followed by files, tried again where they were lost."""

import os
import pickle
from pathlib import Path

import pytest

from afina.errors import AfinaError, UsageError
from afina.study import errand
from afina.study.errand import Ended, Errand, run
from afina.study.events import Event
from afina.study.executors.slurm import Slurm
from jobs import dies_once, fail, where


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let interpreters of their own import the jobs of these tests."""
    folder = Path(__file__).parents[1] / "helpers"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def queue(helpers: None, tmp_path: Path) -> Slurm:
    """Give submitit's own stand-in for a cluster, whose jobs are processes of this machine."""
    made = Slurm(cluster="local")
    made.prepare(tmp_path / "study")
    return made


def test_a_job_that_was_killed_is_tried_again_and_its_events_and_value_come_back(queue: Slurm, tmp_path: Path) -> None:
    given, seen = [str(tmp_path / "mark")], list[Event]()
    process, value = queue.submit(dies_once, given, seen.append)
    assert process != os.getpid() and value == [*given, "alive"] and len(given) == 1
    again, event = seen
    assert again.kind == "again" and "SIGKILL" in again["why"]
    assert event == {"kind": "here", "argument": given}
    assert not (queue.directory / errand.FOLDER).exists()


@pytest.mark.always
def test_an_error_of_the_job_says_where(helpers: None, tmp_path: Path) -> None:
    written = Errand.written(tmp_path, fail, "usage")
    with pytest.raises(UsageError, match=r"^On node7: The file is empty\.$"):
        written.value(run(str(written.folder), "node7"))


def test_a_machine_that_lacks_what_is_shared_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "PATIENCE", 0.2)
    study = tmp_path / "study"
    unseen = run(str(study / errand.FOLDER / "x"), "node7")
    assert unseen.code is None
    with pytest.raises(UsageError, match=rf"^node7: it does not see {study}: keep a study of several machines"):
        Errand(study / errand.FOLDER / "x").value(unseen)

    written = Errand.written(study, where, [])
    job = pickle.loads((written.folder / "job").read_bytes())
    (written.folder / "job").write_bytes(pickle.dumps(job | {"directory": "/not/there"}))
    assert "/not/there" in run(str(written.folder), "node7").why


def test_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    written = Errand.written(tmp_path, where, [])
    job = pickle.loads((written.folder / "job").read_bytes())
    other = job | {"target": len, "versions": job["versions"] | {"torch": "1.0"}}
    (written.folder / "job").write_bytes(pickle.dumps(other))
    with pytest.raises(UsageError, match=r"node7 has other packages .*\(torch .* for 1\.0\); install the same"):
        written.value(run(str(written.folder), "node7"))


def test_what_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    job = Errand.written(tmp_path, where, [])
    news, whole = job.events(), pickle.dumps("first")
    assert next(news) == []
    (job.folder / "events").write_bytes(whole + whole[:5])
    assert next(news) == ["first"]
    assert next(news) == []
    (job.folder / "events").write_bytes(whole + whole)
    assert next(news) == ["first"]


def test_an_interpreter_that_says_nothing_is_no_value(tmp_path: Path) -> None:
    with pytest.raises(AfinaError, match="ended with code 3 and no word"):
        Errand(tmp_path).value(Ended("node7", 3))

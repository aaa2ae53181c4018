"""What a machine that does not see the study's folder is sent of it, and what comes back."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from afina.errors import UsageError
from afina.study import parcels
from afina.study.errand import Errand
from afina.study.job import Job
from afina.study.parcels import Visit, packed, put_back, run_there
from jobs import where


@pytest.fixture
def errand(tmp_path: Path) -> Errand:
    """Give an errand in a study of two runs, of which it names one."""
    study = tmp_path / "study"
    for name in ("cache/tokens.npz", "runs/a/checkpoint.safetensors", "runs/b/adapter/adapter_model.safetensors"):
        (study / name).parent.mkdir(parents=True)
        (study / name).write_text(name)
    (study / "runs" / ".lock").touch()
    (study / "cache" / ".tokens.npz.1.part").touch()
    given: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    return Errand.written(study, where, [Job(**given | {"run": SimpleNamespace(id="a"), "directory": study})])


def listed(study: Path) -> set[str]:
    return {str(path.relative_to(study)) for path in study.rglob("*") if path.is_file() and path.name != "job"}


def test_a_job_gets_its_own_run_and_what_all_share_and_gives_back_what_it_changed(
    errand: Errand, tmp_path: Path
) -> None:
    study, parcel, home = errand.study, packed(errand), tmp_path / "home"
    study.rename(home)
    visit = Visit(errand, parcel)
    assert listed(study) == {"cache/tokens.npz", "runs/a/checkpoint.safetensors", ".copy"}
    (study / "runs" / "a" / "checkpoint.safetensors").write_text("later")
    (errand.folder / "value").write_text("done")
    made = visit.made()
    visit.end()
    assert not study.exists()
    put_back(made, home)
    assert (home / "runs" / "a" / "checkpoint.safetensors").read_text() == "later"
    assert (home / errand.folder.relative_to(study) / "value").read_text() == "done"
    assert (home / "cache" / "tokens.npz").read_text() == "cache/tokens.npz"


def test_the_copy_goes_with_the_last_job_that_is_there(errand: Errand, tmp_path: Path) -> None:
    study, other = errand.study, Errand.written(errand.study, where, [1])
    sent = packed(errand), packed(other)
    study.rename(tmp_path / "home")
    first, second = Visit(errand, sent[0]), Visit(other, sent[1])
    first.end()
    assert "runs/b/adapter/adapter_model.safetensors" in listed(study)  # which the second, without runs, may read
    second.end()
    assert not study.exists()


def test_a_folder_of_that_machines_own_is_left_alone(
    errand: Errand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "_PATIENCE", 0.1)
    monkeypatch.setattr(parcels, "PATIENCE", 0.1)
    parcel, study = packed(errand), errand.study
    study.rename(tmp_path / "home")
    study.mkdir()
    (study / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=rf"^it has another folder by the name of {study}; choose an --out"):
        Visit(errand, parcel)
    assert listed(study) == {"thesis.txt"}
    study.joinpath("thesis.txt").unlink()
    study.rmdir()
    study.write_text("a file")
    assert f"it does not see {study} and cannot make a copy there" in run_there(str(errand.folder), "node7", parcel).why

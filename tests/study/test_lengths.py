"""`max_length` as a list makes a grid: each data set is read at each length, by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

import afina
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.study.study import Study
from studies import settings

Loader = Callable[..., Path]


def test_each_length_is_a_data_set_of_its_own(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    own = settings(family_folder, csv_folder, methods=["head"], max_length=[6, 16], epochs=1)
    study = Study(tmp_path / "out", **own)
    short, long = study.run()
    name = csv_folder.name
    assert [short["dataset"], long["dataset"]] == [f"{name}, 6 tokens", f"{name}, 16 tokens"]
    assert [short["max_length"], long["max_length"]] == [6, 16]
    assert short["texts_cut"]["train"] > long["texts_cut"]["train"] == 0
    assert [afina.load(study.directory / run["adapter"]).longest for run in (short, long)] == [6, 16]
    # As it was resolved it is the same study again, with nothing left to do.
    again = StudyConfig.read(study.directory / "study.yaml")
    assert [again.length_of(spec) for spec in again.dataset] == [6, 16]
    assert [run["run"] for run in Study(study.directory, again).run()] == [short["run"], long["run"]]


def test_a_length_of_a_data_sets_own_stays() -> None:
    own = {"model": "minilm", "methods": ["head"], "max_length": [8, 16]}
    config = StudyConfig.parse(own | {"dataset": [{"path": "a.csv", "max_length": 12}, "b.csv"]}, "study")
    assert [config.length_of(spec) for spec in config.dataset] == [12, 8, 16]
    one = StudyConfig.parse(own | {"dataset": "a.csv", "max_length": [8]}, "study")
    assert (one.max_length, [spec.name for spec in one.dataset]) == (8, [None])


@pytest.mark.parametrize("wrong", [[], [2, 8], [8, 8], ["8"], [True], [8.5]])
def test_what_is_no_list_of_lengths(wrong: list[object]) -> None:
    with pytest.raises(UsageError):
        StudyConfig.parse({"model": "minilm", "dataset": "a.csv", "methods": ["head"], "max_length": wrong}, "study")

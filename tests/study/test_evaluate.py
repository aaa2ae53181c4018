"""`evaluate: last` and every n-th epoch: the same adapter and metrics, without what is measured on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afina.config import StudyConfig
from afina.errors import UsageError
from afina.report.write import write_report
from afina.study.plan import expand
from afina.study.study import Study
from studies import settings, write_splits

Loader = Callable[..., Path]


@pytest.fixture(scope="module")
def studies(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Study]:
    folder = tmp_path_factory.mktemp("evaluate")
    write_splits(folder, train=24, test=12)
    made: dict[Any, Study] = {}
    for every in (1, 2, "last"):
        made[every] = Study(folder / f"out-{every}", **settings(family_folder, folder, epochs=3, evaluate=every))
        made[every].run()
    return made


def test_what_is_measured_on_the_way_changes_nothing(studies: dict[Any, Study]) -> None:
    results = {every: study.results[0] for every, study in studies.items()}
    measured = {
        every: [entry.epoch for entry in result.history if entry.metric("test", "accuracy") is not None]
        for every, result in results.items()
    }
    assert measured == {1: [1, 2, 3], 2: [2, 3], "last": [3]}
    assert all(
        len(result.history) == 3 and None not in [e.train_loss for e in result.history] for result in results.values()
    )
    weights = {
        every: (study.directory / str(results[every].adapter) / "adapter_model.safetensors").read_bytes()
        for every, study in studies.items()
    }
    assert weights[1] == weights[2] == weights["last"]
    assert len({(result.test_metric, result.train_metric) for result in results.values()}) == 1
    assert len({result.fingerprint["digest"] for result in results.values()}) == 1, "so they may be compared"


def test_a_report_shows_the_epochs_that_were_measured(studies: dict[Any, Study]) -> None:
    for study in studies.values():
        assert write_report(study).html.stat().st_size > 1000


def test_early_stopping_wants_every_epoch(family_folder: Loader, tmp_path: Path) -> None:
    keys = settings(family_folder, tmp_path, early_stopping=2, evaluate="last")
    with pytest.raises(UsageError, match="evaluate cannot be last"):
        expand(StudyConfig.parse(keys, "study"))

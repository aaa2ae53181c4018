"""What a report says of lost predictions is what mends them: delete the run's folder, and run the study again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import afina
from afina import api
from afina.errors import AfinaError
from studies import settings, write_splits


def test_the_repair_that_is_advised_repairs(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir()
    write_splits(data, train=12, test=8)
    how = settings(family_folder, data, methods=["head", "bitfit"], epochs=1)
    study = afina.Study(tmp_path / "study", **how)
    before = {result.run: result for result in study.run()}
    (lost := next((tmp_path / "study" / "runs").glob("*head*"))).joinpath("predictions.parquet").unlink()
    with pytest.raises(AfinaError, match=rf"delete runs/{lost.name} and run the study again"):
        api.report(tmp_path / "study")
    shutil.rmtree(lost)
    after = {result.run: result for result in afina.Study(tmp_path / "study", **how).run()}
    assert after.keys() == before.keys()
    assert (lost / "predictions.parquet").is_file()
    assert after[lost.name].test_metric == before[lost.name].test_metric
    api.report(tmp_path / "study")

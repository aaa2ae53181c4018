"""The report tells what a study's rows were like before training: test rows that were learned, labels to look at again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from afina.config import StudyConfig
from afina.report.write import write_report
from afina.results.examined_data import read_examination
from afina.results.results_jsonl import read_results
from afina.study.study import Study
from studies import settings, write_splits


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, family_folder: Callable[[str], Path]) -> Path:
    """Give a study of 160 train rows, three of which are test rows."""
    folder = write_splits(tmp_path_factory.mktemp("leaky"), train=157, test=40)
    rows = (folder / "test.csv").read_text().splitlines()[1:4]
    with (folder / "train.csv").open("a") as file:
        file.write(
            "\n".join([rows[0].upper().replace("PRAISE", "praise").replace("COMPLAINT", "complaint"), *rows[1:]]) + "\n"
        )
    out = tmp_path_factory.mktemp("study")
    wanted = settings(family_folder, folder, methods=[{"features": {"representation": "tfidf"}}])
    Study(out, StudyConfig.parse({**wanted, "max_length": [16, 32], "learning_rate": "auto"}, "study")).run()
    return out


def test_leaked_rows_and_labels_stand_in_the_report(studied: Path) -> None:
    files = write_report(studied, language="pt")
    page = files.html.read_text(encoding="utf-8")
    assert "Os dados, antes do treino" in page and "3 de 40 palavra por palavra" in page
    # One data set at two lengths is examined once.
    assert page.count("palavra por palavra") == 1
    (leaked,) = [path for path in files.tables if path.name.startswith("leaked-") and path.suffix == ".csv"]
    assert len(leaked.read_text().splitlines()) >= 4
    (labels,) = [path for path in files.tables if path.name.startswith("labels-") and path.suffix == ".csv"]
    assert {line.split(",")[0] for line in labels.read_text().splitlines()[1:]} == {"praise", "complaint"}


def test_what_is_damaged_or_gone_is_left_out(studied: Path) -> None:
    result = read_results(studied)[0]
    assert result.fingerprint is not None
    (path,) = (studied / "cache").glob("examined-*.json")
    kept = path.read_text()
    for text in (kept[:100], "{}", json.dumps({**json.loads(kept), "leaks": 3})):
        path.write_text(text)
        assert read_examination(studied, result.fingerprint.data) is None
        assert "before training" not in write_report(studied).html.read_text(encoding="utf-8")
    path.write_text(kept)
    assert "before training" in write_report(studied).html.read_text(encoding="utf-8")

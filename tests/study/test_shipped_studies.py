"""The studies that come along can be read and expanded; that of dictionaries is the grid that was published."""

from pathlib import Path

import pytest

from afina.config import StudyConfig
from afina.study.plan import expand
from afina.yaml_file import read_yaml
from source import SOURCE

STUDIES = SOURCE.parents[1] / "studies"
SHIPPED = [path for path in sorted(STUDIES.rglob("*.yaml")) if "methods" in (read_yaml(path) or {})]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_is_a_study(path: Path) -> None:
    assert expand(StudyConfig.read(path))


def test_dictionaries_stand_beside_all_layers_at_both_lengths() -> None:
    config = StudyConfig.read(STUDIES / "dictionary.yaml")
    runs = expand(config)
    read = {(spec.label_name, spec.max_length, spec.metric) for spec in config.dataset}
    assert read == {
        (f"{name}, {length} tokens", length, metric)
        for name, metric in (("stsb_en", "mse"), ("stsb_pt", "mse"), ("imdb", None)) for length in (256, 512)
    }  # fmt: skip
    assert len(runs) == 6 * 6 * 3 and {run.method.name for run in runs} == {"features", "head", "full"}
    words = [run.method for run in runs if not run.method.reads_model]
    assert {(own.settings()["representation"], own.settings()["model"]) for own in words} == {
        ("words", "forest"), ("words", "xgboost"), ("tfidf", "logistic"),
    }  # fmt: skip


def test_a_list_of_lengths_with_the_same_twice_or_a_text_is_refused() -> None:
    from afina.errors import UsageError

    whole = {"model": "minilm", "dataset": "tickets", "methods": ["head"]}
    assert [spec.max_length for spec in StudyConfig.parse(whole | {"max_length": [8, 16]}, "a").dataset] == [8, 16]
    for wrong in ([8, 8], [8, "16"], [], [2]):
        with pytest.raises(UsageError, match=r"max_length|once"):
            StudyConfig.parse(whole | {"max_length": wrong}, "a")

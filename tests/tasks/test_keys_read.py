"""A key of a study file that is for one task is not silently passed over by another."""

from pathlib import Path

import pytest

import afina
from afina.config import StudyConfig
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.study.prepare import prepare
from afina.tasks.base import TASKS, readers

FOR_SOME = sorted({key for cls in TASKS.values() for key in cls.settings_keys()})


@pytest.mark.parametrize("key", FOR_SOME)
def test_a_key_that_is_for_some_tasks_is_one_of_a_study_file(key: str) -> None:
    assert key in StudyConfig.model_fields or key in DatasetSpec.model_fields
    assert 0 < len(readers(key)) < len(TASKS)


def study(rows: str, folder: Path, **keys: object) -> StudyConfig:
    (folder / "mail.csv").write_text(rows)
    spec = {"path": str(folder / "mail.csv"), **{key: keys.pop(key) for key in ("messages", "prompt") if key in keys}}
    return StudyConfig.parse(
        {"model": "minilm", "dataset": spec, "methods": ["head"], "max_length": 16, **keys}, "study"
    )


CLASSES = "text,label\n" + "the lamp is broken,bad\nthe lamp is here,good\n" * 8
NUMBERS = "text,label\n" + "".join(f"the lamp is late,{number}.5\n" for number in range(16))


def test_a_study_says_which_of_its_keys_a_data_sets_task_does_not_read(tmp_path: Path) -> None:
    both = {"label_smoothing": 0.1, "template": "plain"}
    for rows, unread in ((CLASSES, {"template"}), (NUMBERS, {"label_smoothing", "template"})):
        config = study(rows, tmp_path, **both)
        notes = prepare(config, config.dataset[0], "minilm", tmp_path / "study").notes
        assert {note.partition(" is for task: ")[0] for note in notes if "does not read it" in note} == unread
    assert (
        "label_smoothing is for task: classification, multilabel, tagging; task: regression does not read it" in notes
    )
    config = study(CLASSES, tmp_path, label_smoothing=0.1)
    assert not any(
        "does not read" in note for note in prepare(config, config.dataset[0], "minilm", tmp_path / "study").notes
    )


def test_a_key_of_a_data_set_that_its_task_does_not_read_is_refused(tmp_path: Path) -> None:
    config = study(CLASSES, tmp_path, prompt="{text} is", task="classification")
    with pytest.raises(
        UsageError,
        match=r"mail\.csv: prompt is for task: choices, seq2seq, and its rows are read for task: classification; leave",
    ):
        prepare(config, config.dataset[0], "minilm", tmp_path / "study")
    with pytest.raises(UsageError, match="prompt is for task: choices, seq2seq"):
        afina.plan(config)

"""results.jsonl as typed results: keys by attribute, files byte for byte, what is not known kept, what is wrong named."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afina.errors import UsageError
from afina.results.json_object import JsonObject, plain
from afina.results.result import Result, read_result, result_of
from afina.results.results_jsonl import append_result, read_results
from afina.results.study_file import StudyFile

LINE: dict[str, Any] = {
    "status": "ok", "error": None, "run": "minilm-a-lora-seed0", "model": "minilm", "dataset": "a", "task": "classification",
    "method": "lora", "method_label": "lora", "method_config": {"learning_rate": 0.001}, "seed": 0, "epochs": 2,
    "adapter": "runs/minilm-a-lora-seed0/adapter", "fingerprint": {"digest": "d", "data": "e", "git": None},
    "trainable_parameters": 10, "train_seconds": 3, "step_seconds": 0.5, "energy_joules": None,
    "history": [
        {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.5, "test_accuracy": 0.25, "seconds": 1.0},
        {"epoch": 2, "train_loss": 0.1, "train_accuracy": 1, "test_accuracy": 0.75, "seconds": 3},
    ],
    "metric": "accuracy", "test_metric": 0.75, "test_metrics": {"accuracy": 0.75}, "peak_memory_bytes": 5,
}  # fmt: skip


def test_a_results_keys_are_its_attributes() -> None:
    result = Result(LINE)
    assert (result.run, result.seed, result.test_metric, result.learning_rate) == (LINE["run"], 0, 0.75, 0.001)
    assert (
        result.is_finished and result.untried is None and result.rate == "default" and result.test_metrics["accuracy"]
    )
    assert [entry.metric("test", "accuracy") for entry in result.history] == [0.25, 0.75]
    assert result.history[1].seconds == 3 and result.history[0].metric("validation", "accuracy") is None
    assert result.fingerprint is not None and result.fingerprint.digest == "d"
    assert result["test_metric"] == 0.75 and json.loads(json.dumps(result)) == LINE  # still the dict of the file
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_misspelt_key_is_an_error() -> None:
    result: Any = Result(LINE)
    with pytest.raises(AttributeError):
        _ = result.test_metrik
    with pytest.raises(AttributeError):
        result.test_metric = 1.0  # a result is changed as the dict that it is, never by an attribute nobody writes
    with pytest.raises(AssertionError, match="test_metrik"):
        Result.made(LINE, test_metrik=1.0)


def test_a_line_is_written_as_it_was_read(tmp_path: Path) -> None:
    """Whole numbers stay whole, keys keep their order, and those of a newer Afina stay beside the others."""
    line = json.dumps({**LINE, "of_2031": {"b": 1, "a": [2]}, "text": "ação"}, ensure_ascii=False)
    (tmp_path / "results.jsonl").write_text(line + "\n", encoding="utf-8")
    (result,) = read_results(tmp_path)
    assert result["of_2031"] == {"b": 1, "a": [2]}
    append_result(tmp_path, result)
    append_result(tmp_path, Result.made(result, status="failed"))
    first, second, third = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert first == second == line and third == line.replace('"ok"', '"failed"')


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": "0"}, "seed: should be a valid integer, and is '0'"),
        ({"status": "done"}, "status: should be 'ok', 'failed' or 'skipped', and is 'done'"),
        ({"adapter": "../../elsewhere"}, "adapter: should be a path within the folder"),
        ({"history": [{"epoch": 1, "test_accuracy": "x"}]}, "history.0.test_accuracy: should be a valid number"),
        ({"history": []}, "'history' is missing of a run that finished"),
        ({"method_config": {}}, "'method_config' has no learning_rate"),
        ({"race": {"step": 1}}, "race.steps is missing"),
        ({"steps": 1.5}, "steps: should be a valid integer"),
    ],
)
def test_what_is_wrong_with_a_result_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        result_of({**LINE, **change}, "results.jsonl, line 3,", "delete that line")
    assert str(caught.value).startswith("results.jsonl, line 3, is damaged: ") and told in str(caught.value)
    assert str(caught.value).endswith("; delete that line.")


def test_what_is_missing_of_a_result_is_named(tmp_path: Path) -> None:
    for key in (name for name, own in Result.declared().items() if name in LINE and own.is_required):
        path = tmp_path / "result.json"
        path.write_text(json.dumps({name: value for name, value in LINE.items() if name != key}))
        with pytest.raises(UsageError, match=f"{key} is missing"):
            read_result(path)
    with pytest.raises(AttributeError, match="no 'run'"):
        _ = Result().run


def test_every_key_of_a_result_has_a_type() -> None:
    """Of each a value of the wrong kind is refused where a file is read, so that no reader meets it."""
    lenient = {"git"}
    for kind in (Result, StudyFile):
        for name in kind.declared().keys() - lenient:
            with pytest.raises(UsageError, match=name):
                result_of({**LINE, name: object()}, "here", "mend it") if kind is Result else _refused(name)


def _refused(name: str) -> None:
    from afina.results.json_object import checked

    checked(StudyFile, {"study": {}, name: object()}, "here", "mend it")


def test_objects_become_plain_for_yaml() -> None:
    made = plain(JsonObject({"a": [JsonObject({"b": 1})], "c": JsonObject()}))
    assert made == {"a": [{"b": 1}], "c": {}} and type(made) is type(made["a"][0]) is type(made["c"]) is dict


def test_results_are_read_without_torch() -> None:
    code = (
        "import pkgutil, importlib, sys, afina.results as room\n"
        "for module in pkgutil.iter_modules(room.__path__): importlib.import_module(f'afina.results.{module.name}')\n"
        "assert not {'torch', 'transformers', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

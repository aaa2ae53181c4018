"""Task files of others: what they would run here is refused, in templates, functions and metrics, unless they are trusted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from afina.errors import UsageError
from afina.evaluation.evaluate import Battery
from afina.evaluation.harness import load_tasks, run_tasks
from afina.evaluation.speaker import Speaker
from commands import afina
from families import load_family

Folder = Callable[[str], Path]

_ATTACK = "{{ cycler.__init__.__globals__.os.system('touch MARK') }}"
_METRIC = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"question": "where", "answer": "here", "attack": _ATTACK}] * 2
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def task(folder: Path, **changes: Any) -> Path:
    keys = {
        "task": "say", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test", "output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
        "metric_list": [_METRIC], "generation_kwargs": {"until": ["."], "max_gen_toks": 2},
    } | changes  # fmt: skip
    text = yaml.safe_dump(keys).replace("MARK", str(folder / "mark"))
    # A function's tag is none that YAML writes of itself.
    text = text.replace("'!function ", "!function '").replace('"!function ', '!function "')
    (path := folder / "say.yaml").write_text(text)
    return path


def measured(path: Path, speaker: Folder, *, trusted: bool = False) -> Any:
    model = Speaker(load_family(speaker("llama"), speaks=True), context=64)
    return run_tasks(model, load_tasks([path], trusted=trusted), limit=1, trusted=trusted)


@pytest.mark.parametrize("key", ["doc_to_text", "doc_to_target", "gen_prefix"])
def test_a_template_runs_nothing(key: str, folder: Path, speaker: Folder) -> None:
    with pytest.raises(UsageError, match=r"would run code|cannot be loaded.*unsafe"):
        measured(task(folder, **{key: _ATTACK}), speaker)
    assert not (folder / "mark").exists()
    measured(task(folder, **{key: _ATTACK}), speaker, trusted=True)
    assert (folder / "mark").exists()


def test_a_row_is_no_template(folder: Path, speaker: Folder) -> None:
    measured(task(folder, doc_to_text="{{attack}}"), speaker)
    assert not (folder / "mark").exists()


@pytest.mark.parametrize("key", ["process_docs", "doc_to_text", "custom_dataset"])
@pytest.mark.parametrize("called", ["beside.act", "os.system", "here.beside.act"])
def test_a_function_is_not_even_imported(key: str, called: str, folder: Path) -> None:
    code = f"from pathlib import Path\nPath({str(folder / 'mark')!r}).touch()\ndef act(docs): return docs\n"
    (folder / "beside.py").write_text(code)
    (folder / "here").mkdir()
    (folder / "here" / "beside.py").write_text(code)
    path = task(folder, **{key: f"!function {called}"})
    with pytest.raises(
        UsageError, match=f"cannot be loaded: it would run the Python function {called}; say --trust-tasks"
    ):
        load_tasks([path])
    (folder / "all.yaml").write_text("include: say.yaml\ntask: other\n")
    with pytest.raises(UsageError, match="it would run the Python function"):
        load_tasks([folder / "all.yaml"])
    assert not (folder / "mark").exists()


def test_a_function_of_a_trusted_file_is_run(folder: Path, speaker: Folder) -> None:
    (folder / "trusted_beside.py").write_text("def act(docs): return docs.select([0])\n")
    path = task(folder, process_docs="!function trusted_beside.act")
    assert measured(path, speaker, trusted=True)["say"]


def test_a_metric_that_is_a_script_is_not_run(folder: Path) -> None:
    (folder / "metric.py").write_text(f"from pathlib import Path\nPath({str(folder / 'mark')!r}).touch()\n")
    path = task(folder, metric_list=[_METRIC | {"metric": str(folder / "metric.py")}])
    with pytest.raises(UsageError, match=r"script of the metric .*metric\.py; say --trust-tasks"):
        load_tasks([path])
    assert not (folder / "mark").exists()


def test_the_command_asks_whether_files_are_trusted(folder: Path, speaker: Folder) -> None:
    path = task(folder, doc_to_text=_ATTACK)
    result = afina("evaluate", speaker("llama"), "--tasks", path, "--limit", 1)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "mark").exists()
    assert not Battery(tasks=[path]).trust_tasks

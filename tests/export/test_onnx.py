"""An exported graph gives what the adapter gives, in its own runtime, without Afina and torch, and is refused where not."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina import api
from afina.errors import AfinaError
from afina.export.held import PROBE
from afina.export.manifest import MANIFEST
from afina.export.opened import open_export
from commands import afina as run_afina
from commands import refused
from exports import CLASSES, folder_of

Loader = Callable[..., Path]
TEXTS = ["my parcel is late", "where is the kettle please", "good film", "the login works not my password is broken"]
ALONE = """
import json, runpy, sys

class Nothing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "transformers", "afina"):
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def exported(
    name: str, family: str, family_folder: Loader, folder: Path, task: dict[str, Any] = CLASSES, **options: Any
) -> tuple[Any, Path]:
    """Export a small adapter; return it, loaded, and the export's folder, which stands only where the two are the same."""
    source = folder_of(name, family, family_folder, folder, task)
    made = api.export(source, "onnx", folder / "out", rows=9, **options)
    assert made.effect is None or made.effect > 0.01, "an adapter that changes nothing cannot be missed"
    return afina.load(source), made.folder


def alone(folder: Path, *given: str) -> list[Any]:
    """Run an export's own script where neither torch, transformers nor Afina can be imported."""
    command = [sys.executable, "-c", ALONE, str(folder / "predict.py"), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("name", "family"), [("lora", "bert"), ("prefix", "roberta"), ("loreft", "modernbert")])
def test_an_export_answers_as_its_adapter(name: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    ours, folder = exported(name, family, family_folder, tmp_path)
    expected = ours.predict(TEXTS)
    found = [row.found for row in api.predict(folder, TEXTS)]
    said = alone(folder, *TEXTS)
    for one, other, third in zip(expected, found, said, strict=True):
        assert one.label == other.label == third["label"]
        for label, value in one.probabilities.items():
            assert value == pytest.approx(other.probabilities[label], abs=1e-4)
            assert value == pytest.approx(third["probabilities"][label], abs=1e-4)


@pytest.fixture(scope="module")
def made(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an export that stands."""
    return exported("lora", "bert", family_folder, tmp_path_factory.mktemp("made"))[1]


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """Give a copy of it to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copied"))


def test_an_export_is_looked_at_again_without_its_adapter(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows"
    data.mkdir()
    for split in ("train", "test"):
        (data / f"{split}.csv").write_text(
            "text,label\n" + "".join(f"{text},{label}\n" for text in TEXTS for label in ("no", "yes"))
        )
    found = api.check_export(made, str(data))
    assert found.difference == 0
    assert found.from_adapter < 1e-4
    assert (found.measured, found.metrics["accuracy"]) == (8, 0.5)
    shown = run_afina("export", "--check", made)
    assert shown.returncode == 0
    assert "difference from what the adapter gave then" in shown.stdout


def test_what_an_export_keeps_to_be_asked_again_is_nobodys_row(
    made: Path, family_folder: Loader, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "Ana Souza owes 310 reais,no\nit works,yes\n" * 8)
    _, folder = exported("lora", "bert", family_folder, tmp_path, data=str(tmp_path / "rows.csv"))
    with np.load(folder / PROBE) as ours, np.load(made / PROBE) as theirs:
        assert {*ours} == {*theirs}
        asked = [name for name in ours if "/" not in name]
        assert asked
        assert all(np.array_equal(ours[name], theirs[name]) for name in asked)


def test_what_was_spoilt_since_is_refused(copied: Path) -> None:
    model = copied / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    for words in (("export", "--check", copied), ("predict", copied, "good film")):
        refused(run_afina(*words), "is damaged: model.onnx is not what was written", code=1)
    model.unlink()
    refused(run_afina("predict", copied, "good film"), "is incomplete: model.onnx is missing", code=1)
    (copied / "tokenizer.json").unlink()
    refused(
        run_afina("predict", copied, "good film"),
        "is incomplete: model.onnx is missing; likewise tokenizer.json",
        code=1,
    )


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("runtime_version", "0.9.1", "in onnxruntime 0.9.1, and"),
        ("runtime", "other", "is for the runtime 'other', which this Afina does not know"),
        ("format", 2, "is of format 2, which a newer Afina wrote"),
        ("task", {"name": "dancing"}, "'task' has the name 'dancing'"),
        ("files", {"../out.txt": {"bytes": 1, "sha256": ""}}, "names ../out.txt, which is not in its folder"),
    ],
)
def test_a_manifest_that_cannot_be_gone_by_is_refused(copied: Path, key: str, value: Any, says: str) -> None:
    path = copied / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(AfinaError, match=re.escape(says)):
        open_export(copied)


def test_what_an_export_holds_is_not_chosen_again(made: Path) -> None:
    refused(run_afina("predict", made, "good film", "--precision", "bf16"), "it takes no --precision")
    refused(run_afina("export", made, "--check", made), "--check looks at what was exported, and takes no adapter")
    refused(run_afina("export", made), "Give an adapter and --to what to export it")
    refused(run_afina("evaluate", made, "--text", made / "README.md"), "afina export --check")

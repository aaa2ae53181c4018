"""An exported graph gives what the adapter gives, in its own runtime, without Afina and torch, and is refused where not."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import afina
from afina import api
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

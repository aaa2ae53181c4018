"""What leaves as a graph answers in its own runtime as its adapter does: each target but ONNX, which has its own file."""

import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afina
from afina import api
from afina.errors import AfinaError, UsageError
from afina.export.graph_target import GraphTarget
from afina.export.manifest import read_manifest
from afina.export.opened import open_export
from afina.export.runtime import RUNTIMES
from afina.export.target import TARGETS
from commands import afina as run_afina
from commands import refused
from exports import CLASSES, NUMBER, SEVERAL, TAGS, VECTORS, alone, exports_to_try, folder_of
from families import ENCODERS

Loader = Callable[..., Path]
GRAPHS = [name for name, cls in TARGETS.items() if issubclass(cls, GraphTarget) and name != "onnx"]
TEXTS = [
    "my parcel is late",
    "where is the <sep> kettle</s>",
    "good film",
    "the login works not my password is broken",
]
QUICK = [("prefix", "modernbert", NUMBER)]
"""What stays a branch, beside LoRA on BERT (`made`): what is traced is ONNX's too, where each kind of answer is tested."""
FURTHER = [
    ("loreft", "deberta-v2", SEVERAL), ("prompt", "roberta", TAGS), ("bitfit", "vit", CLASSES), ("lora", "mpnet", VECTORS),
]  # fmt: skip
"""The other kinds of site, of encoder and of answer, for `make conformance`."""
SETTINGS = {name: {"length": 3} for name in ("prompt", "ptuning")}
"""Shorter prompts than their own: the small models have positions for few tokens besides those of a text."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test each target, and the adapters to export: a few, or of every architecture and method for the tables."""
    if "kind" in metafunc.fixturenames:
        whole = metafunc.config.getoption("--conformance") is not None
        tried = [] if metafunc.config.getoption("--exports") else [*QUICK, *FURTHER] if whole else QUICK
        quick = [(to, kind) for to in GRAPHS for kind in tried]
        every = exports_to_try(metafunc.config, (), (*ENCODERS, "vit"), GRAPHS)
        more = [(to, (name, family, CLASSES)) for to, name, family in every]
        kinds = [*quick, *(own for own in more if own not in quick)]
        ids = [f"{to}-{name}-{family}-{task['name']}" for to, (name, family, task) in kinds]
        metafunc.parametrize(("to", "kind"), kinds, ids=ids, scope="module")
    elif "to" in metafunc.fixturenames:
        metafunc.parametrize("to", GRAPHS, scope="module")


def needed(to: str) -> None:
    """Skip where a target's runtime is not installed; it is not imported, for OpenVINO is to be by us, without telemetry."""
    for module in TARGETS[to].needs:
        if find_spec(module) is None:
            pytest.skip(f"--to {to} needs {module}")


def exported(to: str, source: Path, out: Path) -> Path:
    """Export an adapter; the folder stands only where the runtime gives what the adapter gives."""
    made = api.export(source, to, out, rows=9)
    assert made.parity.exact_difference < 1e-3
    least = max(1e-3, 100 * made.parity.exact_difference)
    assert made.effect is None or made.effect > least, "an adapter that changes nothing cannot be missed"
    return made.folder


def same(task: dict[str, Any], one: Any, other: Any) -> bool:
    """Return whether two predictions say the same."""
    if task is NUMBER:
        return bool(one.label == pytest.approx(other.label, abs=1e-3))
    if task is VECTORS:
        return bool(np.allclose(one.vector, other.vector, atol=1e-3))
    if task is TAGS:
        return bool(one.tags == other.tags)
    return (one.labels if task is SEVERAL else one.label) == (other.labels if task is SEVERAL else other.label)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # the head of what gives vectors has no rows
def test_a_graph_answers_as_its_adapter(
    to: str, kind: tuple[str, str, dict[str, Any]], family_folder: Loader, tmp_path: Path, record_property: Any
) -> None:
    needed(to)
    name, family, task = kind
    source = folder_of(name, family, family_folder, tmp_path, task, **SETTINGS.get(name, {}))
    folder = exported(to, source, tmp_path / "out")
    difference = read_manifest(folder).parity["largest_difference"]
    record_property("export", [to, family, name, task["name"], difference])
    ours = afina.load(tmp_path / "adapter")
    if family == "vit":
        given = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "images.npz", images=given)
        expected, found = ours.predict(given), [row.found for row in api.predict(folder, file=tmp_path / "images.npz")]
    else:
        expected, found = ours.predict(TEXTS), [row.found for row in api.predict(folder, TEXTS)]
        if task is CLASSES:  # a text beside another one
            expected = [*expected, *ours.predict(TEXTS, TEXTS[::-1])]
            found = [*found, *open_export(folder).predict(TEXTS, TEXTS[::-1])]
    assert len(found) >= len(TEXTS)
    assert all(same(task, *pair) for pair in zip(expected, found, strict=True))


@pytest.fixture(scope="module")
def made(to: str, one_layer: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an export that stands."""
    needed(to)
    folder = tmp_path_factory.mktemp("made")
    return exported(to, folder_of("lora", "bert", one_layer, folder), folder / "out")


def test_lora_answers_as_its_adapter(made: Path) -> None:
    pairs = zip(afina.load(made.parent / "adapter").predict(TEXTS), api.predict(made, TEXTS), strict=True)
    assert all(same(CLASSES, one, row.found) for one, row in pairs)


def test_its_own_script_says_the_same_without_afina(made: Path) -> None:
    found = RUNTIMES[read_manifest(made).runtime]
    said = alone(made, *TEXTS, lacking=("afina", "transformers", *({"torch"} - set(found.imports))))
    for one, row in zip(said, api.predict(made, TEXTS), strict=True):
        assert one["label"] == row.found.label
        assert one["probabilities"] == pytest.approx(dict(row.found.probabilities), abs=1e-5)


def test_it_is_looked_at_again_at_any_time(made: Path) -> None:
    found = api.check_export(made)
    assert found.difference < 1e-6
    assert found.from_adapter < 1e-4
    assert found.batches == 12


def test_one_that_was_spoilt_is_refused(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copied"))
    graph = folder / RUNTIMES[read_manifest(made).runtime].file
    graph.write_bytes(graph.read_bytes()[:-9])
    refused(run_afina("predict", folder, "good film"), f"is damaged: {graph.name} is not what was written", code=1)


def test_a_runtime_says_what_it_cannot_open(made: Path, tmp_path: Path) -> None:
    manifest = read_manifest(made)
    found = RUNTIMES[manifest.runtime]
    (tmp_path / found.file).write_bytes(b"nothing of the kind" * 99)
    with pytest.raises(AfinaError, match=f"{found.file} cannot be opened by {found.package}"):
        found.open(tmp_path, manifest)


def test_what_it_needs_is_named_before_any_work(to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in TARGETS[to].needs:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(UsageError, match=rf"has to be there: pip install 'afina\[{to}\]'\.$"):
        api.export(tmp_path / "nothing", to)


def drop_scale(loaded: Any) -> None:
    """Leave out the scale of LoRA's branches."""
    for _, branch in loaded.adapter.placed():
        branch.scale = 1.0


def see_padding(loaded: Any) -> None:
    """Have the graph look at padding."""
    call = loaded.backbone.model.forward
    loaded.backbone.model.forward = lambda **given: call(
        **given | {"attention_mask": torch.ones_like(given["input_ids"])}
    )


@pytest.mark.covered("fault", [see_padding], [drop_scale, see_padding])
def test_a_graph_that_is_not_the_adapter_is_refused(
    fault: Callable[[Any], None], to: str, one_layer: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is spoilt, and the adapter that it is held against is not."""
    needed(to)
    source = folder_of("lora", "bert", one_layer, tmp_path, alpha=9.0)
    write = GraphTarget.files

    def spoilt(target: Any, adapter: Any, folder: Path) -> Any:
        other = afina.load(source, precision="fp32")
        fault(other)
        return write(target, other, folder)

    monkeypatch.setattr(GraphTarget, "files", spoilt)
    with pytest.raises(AfinaError, match="What was exported is not what was tested"):
        api.export(source, to, tmp_path / "out", rows=9)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []

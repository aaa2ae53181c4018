"""An exported graph gives what the adapter gives, in its own runtime, without Afina and torch, and is refused where not."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afina
from afina import api
from afina.data.rows import Rows
from afina.errors import AfinaError, UsageError
from afina.export import onnx_file
from afina.export.held import hold
from afina.export.manifest import MANIFEST, PROBE, read_manifest
from afina.export.opened import open_export
from afina.export.parity import Parity
from afina.export.targets.onnx import OnnxTarget
from commands import afina as run_afina
from commands import refused
from exports import ALWAYS, CLASSES, NUMBER, SEVERAL, TAGS, alone, exports_to_try, folder_of
from families import ENCODERS

Loader = Callable[..., Path]
TEXTS = [
    "my parcel is late",
    "where is the <sep> kettle</s>",
    "good film",
    "the login works not my password is broken",
]


def exported(
    name: str, family: str, family_folder: Loader, folder: Path, task: dict[str, Any] = CLASSES, **options: Any
) -> tuple[Any, Path]:
    """Export a small adapter; return it, loaded, and the export's folder, which stands only where the two are the same."""
    source = folder_of(name, family, family_folder, folder, task)
    made = api.export(source, "onnx", folder / "out", rows=9, **options)
    least = max(1e-3, 100 * made.parity.exact_difference)
    assert made.effect is None or made.effect > least, "an adapter that changes nothing cannot be missed"
    return afina.load(source), made.folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take one pair whose branches stay in the graph; `make conformance` takes every architecture."""
    if {"name", "family"} <= {*metafunc.fixturenames} and metafunc.function is test_an_export_answers_as_its_adapter:
        every = exports_to_try(metafunc.config, [("onnx", "loreft", "electra")], (*ENCODERS, "vit"), ["onnx"])
        pairs = [(name, family) for _, name, family in every]
        metafunc.parametrize(("name", "family"), pairs, ids=[f"{name}-{family}" for name, family in pairs])


def test_an_export_answers_as_its_adapter(
    name: str, family: str, one_layer: Loader, tmp_path: Path, record_property: Any
) -> None:
    ours, folder = exported(name, family, one_layer, tmp_path)
    difference = read_manifest(folder).parity["largest_difference"]
    record_property("export", ["onnx", family, name, "classification", difference])
    if family == "vit":
        return  # what was exported was held against the adapter
    expected = ours.predict(TEXTS)
    found = [row.found for row in api.predict(folder, TEXTS)]
    for one, other in zip(expected, found, strict=True):
        assert one.label == other.label
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=1e-4)
    if name in (ALWAYS, "loreft"):  # what a script does is the same for every graph of an architecture
        for one, third in zip(expected, alone(folder, *TEXTS), strict=True):
            assert one.label == third["label"]
            assert dict(one.probabilities) == pytest.approx(third["probabilities"], abs=1e-4)


@pytest.fixture(scope="module")
def made(one_layer: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an export that stands."""
    return exported("lora", "bert", one_layer, tmp_path_factory.mktemp("made"))[1]


@pytest.fixture(scope="module")
def beside(one_layer: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an export that was held against a person's rows, and whose weights stand beside its graph."""
    folder = tmp_path_factory.mktemp("beside")
    (folder / "rows.csv").write_text("text,label\n" + "Ana Souza owes 310 reais,no\nit works,yes\n" * 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "_LARGEST", 1)  # of protobuf's two gigabytes
        return exported("lora", "bert", one_layer, folder, data=str(folder / "rows.csv"))[1]


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """Give a copy of it to spoil."""
    return Path(shutil.copytree(made, tmp_path / "copied"))


@pytest.mark.always
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


def test_what_an_export_keeps_to_be_asked_again_is_nobodys_row(made: Path, beside: Path) -> None:
    with np.load(beside / PROBE) as ours, np.load(made / PROBE) as theirs:
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


def test_an_export_of_what_learned_from_pairs_is_asked_in_pairs(copied: Path) -> None:
    manifest = json.loads((copied / MANIFEST).read_text())
    for pairs, texts, sentence in (
        (True, (["good film"],), "learned from pairs of texts"),
        (False, (["good film"], ["second"]), "learned from single texts"),
    ):
        (copied / MANIFEST).write_text(json.dumps(manifest | {"reading": manifest["reading"] | {"pairs": pairs}}))
        with pytest.raises(UsageError, match=sentence):
            open_export(copied).predict(*texts)
    # The folder's own script as well.
    (copied / MANIFEST).write_text(json.dumps(manifest | {"reading": manifest["reading"] | {"pairs": True}}))
    (wanted,) = open_export(copied).predict(["good film"], ["second"])
    (found,) = alone(copied, "good film", "--pair", "second")
    assert found["probabilities"] == pytest.approx(dict(wanted.probabilities or {}), abs=1e-5)
    with pytest.raises(AssertionError, match="It learned from pairs of texts"):
        alone(copied, "good film")


def test_what_an_export_holds_is_not_chosen_again(made: Path) -> None:
    refused(run_afina("predict", made, "good film", "--precision", "bf16"), "it takes no --precision")
    refused(run_afina("export", made, "--check", made), "--check looks at what was exported, and takes no adapter")
    refused(run_afina("export", made), "Give an adapter and --to what to export it")
    refused(run_afina("evaluate", made, "--text", made / "README.md"), "afina export --check")


KINDS = [
    ("houlsby", "distilbert", NUMBER),
    ("prompt", "bert", TAGS),
    ("lora", "vit", CLASSES),
    ("ia3", "electra", SEVERAL),
]


@pytest.mark.covered(("name", "family", "task"), KINDS[:3], KINDS)
def test_every_kind_of_answer_leaves(
    name: str, family: str, task: dict[str, Any], one_layer: Loader, tmp_path: Path, record_property: Any
) -> None:
    ours, folder = exported(name, family, one_layer, tmp_path, task)
    difference = read_manifest(folder).parity["largest_difference"]
    record_property("export", ["onnx", family, name, task["name"], difference])
    if family == "vit":
        images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / "images.npz", images=images)
        expected, found = ours.predict(images), [row.found for row in api.predict(folder, file=tmp_path / "images.npz")]
        said = alone(folder, str(tmp_path / "images.npz"))
        assert [one.label for one in expected] == [one.label for one in found] == [one["label"] for one in said]
        return
    expected, found, said = (
        ours.predict(TEXTS),
        [row.found for row in api.predict(folder, TEXTS)],
        alone(folder, *TEXTS),
    )
    for one, other, third in zip(expected, found, said, strict=True):
        if task is NUMBER:
            assert one.label == pytest.approx(other.label, abs=1e-3) == pytest.approx(third["label"], abs=1e-3)
        elif task is TAGS:
            assert one.tags == other.tags == tuple(third["tags"])
        else:
            assert list(one.labels) == list(other.labels) == third["labels"]


def test_what_one_file_cannot_hold_has_its_weights_beside_it(beside: Path, tmp_path: Path) -> None:
    ours, folder = afina.load(beside.parent / "adapter"), Path(shutil.copytree(beside, tmp_path / "copied"))
    assert "model.onnx.data" in read_manifest(folder).files
    for one, third in zip(ours.predict(TEXTS), alone(folder, *TEXTS), strict=True):
        assert one.label == third["label"]
    (folder / "model.onnx.data").unlink()
    refused(run_afina("predict", folder, "good film"), "is incomplete: model.onnx.data is missing", code=1)


def spoil_scale(own: Any, session: Any) -> None:
    """Drop the scale of LoRA's branches."""
    for _, branch in own.adapter.placed():
        branch.scale = 1.0


def spoil_heads(own: Any, session: Any) -> None:
    """Exchange two heads of a layer's queries."""
    weight = own.backbone.model.encoder.layer[0].attention.self.query.weight
    with torch.no_grad():
        weight.copy_(weight.view(4, -1, weight.shape[1])[[1, 0, 2, 3]].reshape_as(weight))


def spoil_mask(own: Any, session: Any) -> None:
    """Have the graph look at padding."""
    give = session.outputs
    session.outputs = lambda inputs: give(inputs | {"attention_mask": np.ones_like(inputs["attention_mask"])})


def spoil_segments(own: Any, session: Any) -> None:
    """Have the graph take the second text of a pair for the first."""
    give = session.outputs
    session.outputs = lambda inputs: give(inputs | {"token_type_ids": np.zeros_like(inputs["token_type_ids"])})


def spoil_branches(own: Any, session: Any) -> None:
    """Leave the branches out."""
    own.adapter.branches, own.adapter.sites = torch.nn.ModuleDict(), []


def whole(own: Any, session: Any) -> None:
    """Spoil nothing."""


@pytest.mark.parametrize(
    "fault", [whole, spoil_scale, spoil_heads, spoil_mask, spoil_segments, spoil_branches], ids=lambda own: own.__name__
)
def test_a_graph_that_is_not_the_adapter_is_told_from_it(fault: Callable[..., None], copied: Path, made: Path) -> None:
    own, opened = afina.load(made.parent / "adapter"), open_export(copied)
    fault(own, opened.session)
    rows = Rows(TEXTS, None, np.array([0, 1, 0, 1]))
    parity, _ = hold(own, own, opened, rows)
    assert parity.equal == (fault is whole), parity


def test_a_tokenizer_that_splits_otherwise_is_told_from_it(copied: Path, made: Path) -> None:
    path = copied / "tokenizer.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | {"pre_tokenizer": {"type": "WhitespaceSplit"}}), encoding="utf-8")
    own, opened = afina.load(made.parent / "adapter"), open_export(made)
    with pytest.raises(AfinaError, match="The tokenizer that was written has other tokens for"):
        hold(own, own, replace(opened, folder=copied), Rows(TEXTS, None, np.array([0, 1, 0, 1])))


def test_what_parted_leaves_no_folder(one_layer: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_of("lora", "bert", one_layer, tmp_path)

    def parted(*_: object) -> Any:
        return Parity(9, 0.5, 1.0, 0.5, 3, 9, {}), 1.0

    monkeypatch.setattr(OnnxTarget, "write", lambda *_: None)
    monkeypatch.setattr(OnnxTarget, "compare", parted)
    with pytest.raises(AfinaError, match="What was exported is not what was tested: logits part"):
        api.export(source, "onnx", tmp_path / "out", rows=9)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_session_has_as_many_threads_as_torch(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, threads in (("1", 1), ("", 0)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        session: Any = open_export(made).session
        assert session.session.get_session_options().intra_op_num_threads == threads

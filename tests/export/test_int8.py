"""Graphs in eight bits: what that gains and loses is measured on the same rows, said, and bounded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina import api
from afina.data.rows import Rows
from afina.errors import AfinaError, UsageError
from afina.export import int8
from afina.export.int8 import loss_of
from afina.export.int8_target import Int8Target
from afina.export.manifest import read_manifest
from afina.export.opened import open_export
from afina.export.runtime import RUNTIMES
from afina.export.target import TARGETS, make_target
from afina.measure.bootstrap import Estimate
from afina.words.notes import said_note
from exports import chatting, folder_of, rewriting, save_pairs, save_talks
from families import BOTH, DECODERS
from gguf_files import save_speaker

Loader = Callable[..., Path]
TEXTS = ["my parcel is late", "where is the kettle please", "good film", "the login works not my password is broken"]
WAYS = [
    (name, way)
    for name, cls in TARGETS.items() if issubclass(cls, Int8Target)
    for way in cls.int8_ways
]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give labelled rows, of train and of test."""
    folder = tmp_path_factory.mktemp("rows")
    for split, words in {"train": ("a", "b", "team", "c"), "test": ("d", "e")}.items():
        lines = [f"{text} {word},{label}" for text in TEXTS for word in words for label in ("no", "yes")]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines * 3]))
    return str(folder)


def needed(to: str) -> None:
    for module in (*TARGETS[to].needs, *TARGETS[to].int8_needs):
        pytest.importorskip(module, reason=f"--to {to} --int8 needs {module}")


@pytest.mark.parametrize(("to", "way"), WAYS)
def test_what_rounding_gains_and_loses_is_said(
    to: str, way: str, rows: str, family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed(to)
    source = folder_of("lora", "bert", family_folder, tmp_path)
    made = [api.export(source, to, tmp_path / "out", data=rows, int8=way, at_most=1.0)]
    found = made[0].parity.narrowed
    if way == "static":
        # What it costs has been measured, in two processes.
        monkeypatch.setattr(int8, "cost_of", lambda *_: found.after)
        made.append(api.export(source, to, tmp_path / "again", data=rows, int8=way, at_most=1.0))
    graph = RUNTIMES[read_manifest(made[0].folder).runtime].file.replace(
        ".xml", ".bin"
    )  # of so small a model the XML grows
    assert (made[0].folder / graph).stat().st_size < found.before.size
    assert min(found.before.memory, found.after.memory) > 1e6
    assert found.loss.low <= found.loss.value <= found.loss.high
    assert 1e-4 < made[0].parity.difference < 0.3 * made[0].parity.scale, "rounded, and not to nonsense"
    told = made[0].merging or ""
    assert ("by what 96 train rows (drawn with seed 0) show" in told) == (way == "static")
    assert "in float stay the head's last layer" in told
    assert "camadas" in said_note(told, "pt")
    layers = sum(site.name.startswith("encoder") for site, _ in afina.load(source).adapter.placed())
    assert found.rounded.layers > layers
    opened = open_export(made[0].folder)
    assert opened.manifest.precision.startswith("int8")
    assert api.check_export(made[0].folder).difference == 0
    if way == "static":  # the same rows were drawn, and gave the same graph
        one, other = (read_manifest(own.folder).files[graph]["sha256"] for own in made)
        assert one == other


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take a writer of each runtime, and one of two halves; `make conformance` takes every architecture."""
    if "writer" in metafunc.fixturenames:
        whole = metafunc.config.getoption("--conformance") is not None
        every = [(to, family) for to in ("onnx", "openvino") for family in (*DECODERS, *BOTH)]
        metafunc.parametrize("writer", every if whole else [("onnx", "t5"), ("openvino", "gpt2")], ids="-".join)


def test_what_writes_is_rounded(writer: tuple[str, str], tmp_path: Path) -> None:
    to, family = writer
    needed(to)
    save, rows = (rewriting, save_pairs) if family in BOTH else (chatting, save_talks)
    data, source = rows(tmp_path / "rows.jsonl"), save(save_speaker(family, tmp_path / "base"), tmp_path)
    way = {"onnx": "dynamic", "openvino": "weights"}[to]
    made = api.export(source, to, tmp_path / "out", data=data, rows=9, int8=way, at_most=1.0)
    found = made.parity.narrowed
    assert found.metric == "loss" and found.rows == 5  # all that are for tests
    assert found.loss.low <= found.loss.value <= found.loss.high
    assert found.loss.value == pytest.approx(found.values[1] - found.values[0])
    assert found.after.size < found.before.size and found.after.one > 0
    told = said_note(made.merging or "", "pt")
    assert "mais um token leva" in told
    # Rounded, and not to nonsense: the same weights in 32 bits give nearly the same.
    assert 1e-5 < abs(found.loss.value) < 0.1 * found.values[0]
    assert api.check_export(made.folder).difference < 1e-5
    same, _, written, _ = dict(made.rows())["written alike, taking the likeliest token"].split()
    assert 0 <= int(same) <= int(written)
    with pytest.raises(UsageError, match=f"has no form for what writes: give --int8 {way}, or export it --to gguf"):
        api.export(source, to, tmp_path / "other", data=data, int8="static")


def test_a_loss_that_is_sure_is_refused(
    rows: str, family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of("lora", "bert", family_folder, tmp_path)

    def worse(task: Any, tokens: Any, before: Any, after: Any) -> Any:
        return loss_of(task, tokens, np.eye(2)[tokens.labels], np.eye(2)[1 - tokens.labels])

    tokens = afina.load(source).tokens(Rows(TEXTS, None, np.array([0, 1, 0, 1])))
    metric, values, loss = worse(afina.load(source).task, tokens, None, None)
    assert (metric, values, loss) == ("accuracy", (1.0, 0.0), Estimate(1.0, 1.0, 1.0))
    with pytest.raises(UsageError, match="measured on rows with labels, and none are here"):
        api.export(source, "onnx", tmp_path / "out", int8="dynamic")
    monkeypatch.setattr(int8, "loss_of", worse)
    monkeypatch.setattr(int8, "cost_of", lambda *_: int8.Cost(1, 0.0, 0.0, 1))
    with pytest.raises(AfinaError, match=r"accuracy falls from 1\.0000 to 0\.0000 on 48 rows, by 1\.0000 at least"):
        api.export(source, "onnx", tmp_path / "out", data=rows, int8="dynamic")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_rounded_is_said_before_any_work(
    family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"--int8 of --to onnx is dynamic or static or none, not 'statics'.*'static'"):
        make_target("onnx", {"int8": "statics"})
    with pytest.raises(UsageError, match=r"--at-most should be from 0 to 1, not 3"):
        make_target("onnx", {"at_most": 3.0})
    source = folder_of("lora", "bert", family_folder, tmp_path)
    with pytest.raises(UsageError, match=r"train rows show, and those of this adapter are not here; give --data"):
        api.export(source, "onnx", tmp_path / "out", int8="static")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(UsageError, match=r"nncf has to be there: pip install 'afina\[openvino-int8\]'\.$"):
        TARGETS["openvino"](int8="static")

"""Graphs in eight bits: what that gains and loses is measured on the same rows, said, and bounded."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina import api
from afina.data.rows import Rows
from afina.errors import AfinaError, UsageError
from afina.export import costs, int8
from afina.export.costs import Cost
from afina.export.export import Exported
from afina.export.int8 import loss_of
from afina.export.int8_target import Int8Target
from afina.export.manifest import read_manifest
from afina.export.opened import OpenedExport, open_export
from afina.export.runtime import RUNTIMES
from afina.export.target import TARGETS, make_target
from afina.measure.bootstrap import Estimate
from afina.words.notes import said_note
from exports import chatting, folder_of, rewriting, save_pairs, save_talks
from families import BOTH, DECODERS
from gguf_files import ONE_LAYER, save_speaker

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


@pytest.fixture(scope="module")
def taken() -> dict[tuple[str, bool], list[Cost]]:
    """Keep what graphs took in processes of their own: by runtime and whether they write, before and after rounding."""
    return {}


@pytest.fixture(autouse=True)
def measured_once(taken: dict[tuple[str, bool], list[Cost]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the first graph of each kind, before and after; of the others the size alone, as a process takes seconds."""

    def cost_of(opened: OpenedExport, graph: str, batch: Mapping[str, np.ndarray]) -> Cost:
        kind = taken.setdefault((opened.manifest.runtime, opened.task.writes), [])
        if len(kind) < 2:
            kind.append(costs.cost_of(opened, graph, batch))
        return replace(kind[-1], size=costs.bytes_of(opened, graph))

    monkeypatch.setattr(int8, "cost_of", cost_of)


def needed(to: str) -> None:
    for module in (*TARGETS[to].needs, *TARGETS[to].int8_needs):
        pytest.importorskip(module, reason=f"--to {to} --int8 needs {module}")


@pytest.fixture(scope="module")
def source(one_layer: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an adapter that labels."""
    return folder_of("lora", "bert", one_layer, tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def rounded(source: Path, rows: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Exported]:
    """Give what is exported of it in eight bits."""

    @cache
    def export(to: str, way: str) -> Exported:
        needed(to)
        out = tmp_path_factory.mktemp("rounded") / "out"
        return api.export(source, to, out, data=rows, int8=way, at_most=1.0)

    return export


def graph_of(folder: Path) -> str:
    """Name the file of a graph that holds its weights: of so small a model OpenVINO's XML grows."""
    return RUNTIMES[read_manifest(folder).runtime].file.replace(".xml", ".bin")


# A way that looks at rows, and one that rounds weights alone.
@pytest.mark.covered(("to", "way"), [("onnx", "static"), ("openvino", "weights")], WAYS)
def test_what_rounding_gains_and_loses_is_said(
    to: str, way: str, source: Path, rounded: Callable[[str, str], Exported]
) -> None:
    made = rounded(to, way)
    found = made.parity.narrowed
    assert (made.folder / graph_of(made.folder)).stat().st_size < found.before.size
    assert min(found.before.memory, found.after.memory) > 1e6
    assert found.loss.low <= found.loss.value <= found.loss.high
    assert 1e-4 < made.parity.difference < 0.3 * made.parity.scale, "rounded, and not to nonsense"
    told = made.merging or ""
    assert ("by what 96 train rows (drawn with seed 0) show" in told) == (way == "static")
    assert "in float stay the head's last layer" in told
    assert "camadas" in said_note(told, "pt")
    layers = sum(site.name.startswith("encoder") for site, _ in afina.load(source).adapter.placed())
    assert found.rounded.layers > layers
    opened = open_export(made.folder)
    assert opened.manifest.precision.startswith("int8")
    assert api.check_export(made.folder).difference == 0


@pytest.mark.whole
@pytest.mark.parametrize("to", [to for to, way in WAYS if way == "static"])
def test_the_same_rows_are_drawn_and_give_the_same_graph(
    to: str, source: Path, rows: str, rounded: Callable[[str, str], Exported], tmp_path: Path
) -> None:
    before = rounded(to, "static")
    again = api.export(source, to, tmp_path / "again", data=rows, int8="static", at_most=1.0)
    one, other = (read_manifest(own.folder).files[graph_of(own.folder)]["sha256"] for own in (before, again))
    assert one == other


# One that is in one graph, and not in two halves, whose rounding takes longest of all.
@pytest.mark.covered(("to", "family"), [("onnx", "gpt2")], product(("onnx", "openvino"), (*DECODERS, *BOTH)))
def test_what_writes_is_rounded(to: str, family: str, tmp_path: Path) -> None:
    needed(to)
    save, rows = (rewriting, save_pairs) if family in BOTH else (chatting, save_talks)
    base = save_speaker(family, tmp_path / "base", **ONE_LAYER.get(family, {}))
    data, source = rows(tmp_path / "rows.jsonl"), save(base, tmp_path)
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
    rows: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def worse(task: Any, tokens: Any, before: Any, after: Any) -> Any:
        return loss_of(task, tokens, np.eye(2)[tokens.labels], np.eye(2)[1 - tokens.labels])

    tokens = afina.load(source).tokens(Rows(TEXTS, None, np.array([0, 1, 0, 1])))
    metric, values, loss = worse(afina.load(source).task, tokens, None, None)
    assert (metric, values, loss) == ("accuracy", (1.0, 0.0), Estimate(1.0, 1.0, 1.0))
    monkeypatch.setattr(int8, "loss_of", worse)
    monkeypatch.setattr(int8, "cost_of", lambda *_: int8.Cost(1, 0.0, 0.0, 1))
    with pytest.raises(AfinaError, match=r"accuracy falls from 1\.0000 to 0\.0000 on 48 rows, by 1\.0000 at least"):
        api.export(source, "onnx", tmp_path / "out", data=rows, int8="dynamic")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_rounded_is_said_before_any_work(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"--int8 of --to onnx is dynamic or static or none, not 'statics'.*'static'"):
        make_target("onnx", {"int8": "statics"})
    with pytest.raises(UsageError, match=r"--at-most should be from 0 to 1, not 3"):
        make_target("onnx", {"at_most": 3.0})
    with pytest.raises(UsageError, match=r"train rows show, and those of this adapter are not here; give --data"):
        api.export(source, "onnx", tmp_path / "out", int8="static")

    def made(*_: object) -> Any:
        raise AssertionError("a graph was made before it was known that nothing judges it")

    monkeypatch.setattr(TARGETS["onnx"], "files", made)
    with pytest.raises(UsageError, match="measured on rows with labels, and none are here"):
        api.export(source, "onnx", tmp_path / "out", int8="dynamic")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(UsageError, match=r"nncf has to be there: pip install 'afina\[openvino-int8\]'\.$"):
        TARGETS["openvino"](int8="static")

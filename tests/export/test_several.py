"""Several adapters of one base leave as one graph, in which each row is answered by the adapter whose number it has."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina import api
from afina.errors import AfinaError, UsageError
from afina.export import export_several
from afina.export.export_several import compared
from afina.export.manifest import read_manifest, write_manifest
from afina.export.opened import open_export
from afina.words.language import Words
from commands import afina as run_afina
from commands import refused
from exports import CLASSES, NUMBER, TAGS, alone, folder_of

Loader = Callable[..., Path]
TEXTS = [
    "my parcel is late",
    "where is the <sep> kettle</s>",
    "good film",
    "the login works not my password is broken",
]
THREE = {"name": "classification", "label_names": ["bad", "fair", "good"]}
KINDS = [
    ("first", "lora", CLASSES, {"rank": 2, "alpha": 9.0}), ("second", "lora", THREE, {"rank": 5, "alpha": 9.0}),
    ("tuned", "prefix", NUMBER, {"length": 3}), ("edited", "loreft", CLASSES, {}),
    ("gated", "llama-adapter", CLASSES, {"length": 2, "layers": 1}),
]  # fmt: skip
"""Branches at linear layers, at attention and at hidden states, with heads of other sizes and units."""


def saved(name: str, kind: str, task: dict[str, Any], settings: dict[str, Any], loader: Loader, folder: Path) -> Path:
    folder_of(kind, "bert", loader, folder / name, task, **settings)
    return folder / name / "adapter"


@pytest.fixture(scope="module")
def sources(one_layer: Loader, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    return [saved(*kind, one_layer, folder) for kind in KINDS]


@pytest.fixture(scope="module")
def made(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a graph of them; it stands only where each answers as it did alone, and in one batch with the others."""
    out = tmp_path_factory.mktemp("several") / "out"
    exported = api.export(sources, "onnx", out, rows=5)
    assert [name for name, _ in exported.parity.told] == [kind[0] for kind in KINDS]
    assert exported.effect is not None
    assert exported.effect > 1e-3 > 100 * exported.parity.exact_difference, "one that changes nothing cannot be missed"
    return exported.folder


@pytest.mark.parametrize("place", range(len(KINDS)), ids=[kind[0] for kind in KINDS])
def test_each_answers_as_it_did_alone(place: int, made: Path, sources: list[Path]) -> None:
    name, _, task, _ = KINDS[place]
    expected = afina.load(sources[place], precision="fp32").predict(TEXTS)
    found = [row.found for row in api.predict(made, TEXTS, one=name)]
    answers = [(own.label, own.probabilities) for own in found]
    if name in ("second", "tuned"):  # a script of its own takes each alike: labels of one, numbers of another
        answers += [(own["label"], own.get("probabilities")) for own in alone(made, name, *TEXTS)]
    for place, (label, probabilities) in enumerate(answers):
        one = expected[place % len(TEXTS)]
        if task is NUMBER:
            assert one.label == pytest.approx(label, abs=1e-3)
        else:
            assert one.label == label and dict(one.probabilities) == pytest.approx(dict(probabilities), abs=1e-4)


def test_rows_of_all_stand_in_one_batch(made: Path, sources: list[Path]) -> None:
    first = open_export(made, adapter="first")
    read = first.tokenizer([TEXTS[0]] * len(KINDS), return_tensors="np", return_token_type_ids=True)
    inputs = {name: read[name].astype(np.int64) for name in first.asked}
    mixed = first.session.session.outputs({**inputs, "adapter": np.arange(len(KINDS))})  # type: ignore[attr-defined]
    for number, source in enumerate(sources):
        if KINDS[number][2] is not NUMBER:  # whose logits are deviations, and not its unit
            wanted = afina.load(source, precision="fp32").logits(TEXTS[:1])[0]
            assert mixed[number, : len(wanted)] == pytest.approx(wanted, abs=1e-4)


def test_who_answers_has_to_be_said(made: Path, sources: list[Path]) -> None:
    refused(
        run_afina("predict", made, "good film"), "holds first, second, tuned, edited, gated; say by --adapter which one"
    )
    refused(
        run_afina("predict", made, "good film", "--adapter", "secnd"),
        "holds no adapter 'secnd'; did you mean 'second'?",
    )
    refused(run_afina("predict", sources[0], "good film", "--adapter", "first"), "is no export of several adapters")
    answered = run_afina("predict", made, "good film", "--adapter", "second", "--format", "jsonl")
    assert set(json.loads(answered.stdout)["probabilities"]) == {"bad", "fair", "good"}


def test_its_card_says_who_is_asked_and_whose_results_it_has(made: Path) -> None:
    card = (made / "README.md").read_text(encoding="utf-8")
    assert 'python predict.py first "A text."' in card
    assert 'afina predict . "A text." --adapter first' in card
    assert "are first, second, tuned, edited, gated, in this order from 0" in card
    assert "Neste grafo estão" in Words("pt").note(export_several._remark(["a", "b"]))


def test_all_are_asked_again_at_any_time(made: Path) -> None:
    found = api.check_export(made)
    assert (found.batches, found.difference < 1e-6, found.from_adapter < 1e-4) == (12 * len(KINDS), True, True)


def test_what_has_no_graph_in_common_is_refused_by_name(sources: list[Path], one_layer: Loader, tmp_path: Path) -> None:
    def said(*adapters: Path, to: str = "onnx", **options: Any) -> str:
        with pytest.raises(UsageError) as error:
            api.export(adapters, to, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
        return str(error.value)

    tags = saved("words", "lora", TAGS, {}, one_layer, tmp_path)
    prompted = saved("prompted", "prompt", CLASSES, {"length": 2}, one_layer, tmp_path)
    whole = saved("whole", "full", CLASSES, {}, one_layer, tmp_path)
    assert "bert, which is loaded" in said(sources[0], tags), "another base"
    assert "have 0, 2" in said(sources[0], prompted)
    assert "whole" in said(sources[0], whole)
    assert "Two of the adapters are called first" in said(sources[0], sources[0])
    assert "--to onnx or --to openvino, without --int8" in said(*sources[:2], int8="dynamic")
    assert "--to onnx or --to openvino" in said(*sources[:2], to="merged")


def test_a_graph_that_takes_another_adapter_is_refused(made: Path, sources: list[Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(made, tmp_path / "copied"))
    manifest = read_manifest(copied)
    backwards = dict(reversed(manifest.adapters.items()))
    write_manifest(copied, replace(manifest, adapters=backwards))
    ours = afina.load(sources[0], precision="fp32")
    with pytest.raises(AfinaError, match="What was exported of first is not what was tested"):
        compared(copied, "first", ours, ours, 3)

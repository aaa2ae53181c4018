"""A run that is rehearsed without numbers takes what a real one takes, and a plan says so phase by phase."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.load import Backbone
from afina.backbone.shapes import read_shape, shape_backbone
from afina.config import StudyConfig
from afina.data.tokens.tokens import LabelledTokens
from afina.measure.storages import Storages
from afina.methods.base import make_method, registry
from afina.ops.dropout import DropoutSource
from afina.study.estimate import estimate_study
from afina.study.needs import interval
from afina.study.rehearsal import BACKWARD, EVALUATION, FORWARD, Rehearsed, Scene, play, rehearse
from afina.study.stand_ins import stand_in_rows
from afina.tasks.classification import Classification
from studies import settings

Loader = Callable[..., Path]
METHODS = [name for name, kind in registry().items() if not kind.gradient_free]
TASK = Classification(("a", "b", "c"))


def rows(count: int, length: int, seed: int = 0) -> LabelledTokens:
    """Return texts of several lengths, so that there is padding."""
    lengths = np.array([length, *np.random.default_rng(seed).integers(3, length, count - 1)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return LabelledTokens(np.full(offsets[-1], 7), offsets, np.zeros(count, dtype=np.int64))


def scene_of(backbone: Backbone, name: str, **changes: Any) -> Scene:
    method = make_method(name, {})
    if method.owns_backbone:
        backbone.model.requires_grad_(True)
    adapter = build_adapter(method, backbone, TASK.outputs, seed=0)
    return replace(Scene(backbone, adapter, TASK, [rows(4, 24)], [rows(6, 30, 1)]), **changes)


def without_dropout(shape: Any) -> Any:
    """Return a configuration whose model drops nothing: factors that are drawn ahead would hide all else of a small one."""
    for name in shape.to_dict():
        if "drop" in name and isinstance(getattr(shape, name), float):
            setattr(shape, name, 0.0)
    return shape


def real(shape: Any, name: str, **changes: Any) -> Rehearsed:
    """Take the same step with numbers, and count what torch allocates for it."""
    scene = scene_of(shape_backbone(shape, device="cpu"), name, **changes)
    scene.backbone.linears = {}
    standing = [
        own for module in (scene.backbone.model, scene.adapter) for own in (*module.parameters(), *module.buffers())
    ]
    with Storages(real=True) as storages:
        return play(scene, storages, standing, DropoutSource(0))


def rehearsed(shape: Any, name: str, **changes: Any) -> Rehearsed:
    return rehearse(scene_of(shape_backbone(shape), name, **changes))


def minilm(layers: int) -> Any:
    shape = without_dropout(read_shape("minilm"))
    shape.num_hidden_layers = layers
    return shape


@pytest.mark.always
@pytest.mark.covered("family", ["bert", "t5"], ["bert", "t5", "llama", "gpt2", "modernbert", "deberta-v2"])
def test_a_rehearsal_takes_what_a_step_with_numbers_takes(family: str, family_folder: Loader) -> None:
    shape = without_dropout(read_shape(str(family_folder(family))))
    for name in ("lora", "full", "head", "dora", "prompt"):
        with_numbers, without = real(shape, name).peaks, rehearsed(shape, name).peaks
        assert with_numbers.keys() == without.keys()
        for part, size in with_numbers.items():
            # But for masks (rows, 1, T, T), up to three, which transformers makes in another way without numbers.
            count, width = (6, 32) if part == EVALUATION else (4, 24)
            assert without[part] == pytest.approx(size, rel=0.02, abs=18 * count * width**2), (name, part)


@pytest.mark.parametrize(
    "changes",
    [{"checkpointing": True}, {"micro_batch_size": 4}, {"train": [rows(8, 32)]}],
    ids=lambda own: next(iter(own)),
)
def test_what_saves_memory_saves_it_in_a_rehearsal(changes: dict[str, Any]) -> None:
    shape, all_of = minilm(3), {"train": [rows(8, 64)]}
    less = rehearsed(shape, "lora", **all_of | changes).peak(FORWARD, BACKWARD)
    assert less < 0.8 * rehearsed(shape, "lora", **all_of).peak(FORWARD, BACKWARD)
    assert less == pytest.approx(real(shape, "lora", **all_of | changes).peak(FORWARD, BACKWARD), rel=0.02)


def test_every_method_can_be_rehearsed() -> None:
    for name in METHODS:
        found = rehearsed(minilm(1), name)
        assert found.peak(EVALUATION) > 0, name
        assert found.peak(FORWARD) > 0, name


def test_a_card_keeps_no_scores_of_attention() -> None:
    """Twice the length is twice the memory there, and more on a CPU, whose products are written out."""

    def peak(kind: str, length: int) -> int:
        return rehearsed(minilm(2), "lora", train=[stand_in_rows(4, length)], kind=kind).peak(FORWARD, BACKWARD)

    assert peak("cuda", 512) / peak("cuda", 256) < 2.2
    assert peak("cpu", 512) / peak("cpu", 256) > 2.6


def test_a_card_computes_its_layers_again_with_dropout_too() -> None:
    shape = read_shape("minilm")
    shape.num_hidden_layers = 2
    less = rehearsed(shape, "lora", kind="cuda", checkpointing=True).peak(FORWARD)
    assert less < 0.8 * rehearsed(shape, "lora", kind="cuda").peak(FORWARD)


def test_a_model_that_writes_is_rehearsed_without_the_cache_that_training_has_not(family_folder: Loader) -> None:
    """With one, layers that are computed again would meet their own keys."""
    shape = read_shape(str(family_folder("llama")))
    assert shape_backbone(shape).call_settings == {"use_cache": False}
    less = rehearsed(shape, "lora", checkpointing=True)
    assert 0 < less.peak(FORWARD) <= rehearsed(shape, "lora").peak(FORWARD)


def test_texts_of_one_length_are_rehearsed_too(family_folder: Loader) -> None:
    """Where there is no padding, transformers would look whether texts are packed."""
    same = LabelledTokens(np.full(4 * 8, 7), 8 * np.arange(5), np.zeros(4, dtype=np.int64))
    shape = read_shape(str(family_folder("llama")))
    found = rehearsed(shape, "full", train=[same], test=[same])
    assert found.peak(FORWARD) > 0 < found.peak(EVALUATION)


def test_a_range_holds_nine_of_ten_whatever_the_figures_are() -> None:
    random = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        ratios = random.lognormal(0, 0.3, 60)
        low, _, high = interval(ratios[:-1])
        inside.append(low <= ratios[-1] <= high)
    assert np.mean(inside) == pytest.approx(0.92, abs=0.04)
    with pytest.raises(AssertionError, match="too few"):
        interval([1.0] * 10)


def test_a_plan_says_what_each_phase_takes_and_which_is_the_worst(family_folder: Loader, csv_folder: Path) -> None:
    study = settings(family_folder, csv_folder, methods=["full", "lora", "head"], micro_batch_size=2)
    estimates, failed = estimate_study(StudyConfig.parse(study, "study"))
    assert not failed
    memory = {own.run.method.name: own.memory for own in estimates}
    for own in memory.values():
        assert own.train.low < own.train.value < own.train.high
        assert own.load >= own.parts["weights"]
        assert sum(own.parts.values()) > 0
    assert memory["full"].parts["what is trained"] > memory["lora"].parts["what is trained"]
    assert memory["head"].parts.keys() - memory["lora"].parts.keys() == {"rows below the lowest branch"}


def test_an_evaluation_leaves_gaps_that_a_plan_counts() -> None:
    """What is resident in a phase is more than its tensors at their worst, as the allocator keeps what it cannot join."""
    shape = minilm(3)
    found = rehearsed(shape, "lora", test=[rows(16, 40), rows(16, 64, 1)])
    assert 1.05 * found.peak(EVALUATION) < found.resident[EVALUATION] < 4 * found.peak(EVALUATION)
    assert found.resident[BACKWARD] >= found.peak(BACKWARD)


def test_copies_and_an_optimisers_state_are_part_of_a_rehearsal() -> None:
    shape = minilm(2)
    scene = scene_of(shape_backbone(shape), "lora")
    more = replace(scene, copied=scene.backbone.linear_models, moments=4_000_000)
    linear = sum(own.weight.nbytes for own in scene.backbone.model.modules() if isinstance(own, torch.nn.Linear))
    beyond = rehearse(more).peak(EVALUATION) - rehearsed(shape, "lora").peak(EVALUATION)
    # In one direction each, and of those in the other that a gradient goes through: the pooler's goes through none.
    assert 4_000_000 + linear < beyond < 4_000_000 + 2 * linear


@pytest.mark.parametrize("what", ["memory", "time"])
def test_the_ranges_are_those_of_the_recorded_runs(what: str) -> None:
    """Of recorded runs nine of ten lie in the range that the plan's own file makes of them."""
    root = Path(__file__).parents[2]
    runs = json.loads((root / "benchmarks/results/plan_recorded.json").read_text())["runs"]
    found = json.loads((root / f"src/afina/study/{what}_ratios.json").read_text())
    for phase in ("train", "evaluate"):
        shares, (low, _, high) = found["shares"][phase], interval(found["ratios"][phase])
        ratios = []
        for run in runs:
            measured, counted = run["measured"], run["counted"][what][phase]
            took = measured["memory"][phase] if what == "memory" else measured[f"{phase}_seconds"]
            said = (
                counted + shares[run["kind"]]
                if what == "memory"
                else sum(shares[part] * own for part, own in counted.items())
            )
            ratios += [took / said] if took else []
        assert len(ratios) == len(found["ratios"][phase]) >= 20
        assert np.mean([low <= ratio <= high for ratio in ratios]) >= 0.88
        assert min(shares.values()) >= 0

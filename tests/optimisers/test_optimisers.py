"""Every optimiser of the registry: it learns, says what it keeps, goes on after a kill, and refuses what it cannot do."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.methods.base import make_method
from afina.optimisers.base import OPTIMISERS, OUTSIDE, Trained, make_optimiser
from afina.optimisers.projected import projectable
from afina.study.estimate import estimate_study
from afina.study.plan import expand
from afina.study.room import kept_bytes
from afina.study.study import Study
from afina.train.checkpoint import read_checkpoint, write_checkpoint
from afina.train.optimiser import By, Course, Optimiser
from kills import killed_and_resumed
from studies import Loader, settings

PAGED = ("paged_adamw", "paged_adamw8bit")
HERE = [name for name in OPTIMISERS if name not in PAGED]
SMALL: dict[str, dict[str, Any]] = {
    "galore": {"rank": 4, "period": 3},
    "apollo": {"rank": 4, "period": 3},
    "lisa": {"layers": 1},
}
"""Settings for models that are narrower than what is usual."""
METHODS = {"full": {}, "lora": {"rank": 8}, "bitfit": {}}


def chosen(name: str) -> Any:
    return {name: SMALL[name]} if name in SMALL else name


@pytest.fixture
def backbone(family_folder: Loader) -> Backbone:
    own = load_backbone(str(family_folder("bert")), precision="fp32", device="cpu")
    own.linears = {}
    return own


def an_adapter(backbone: Backbone, method: str) -> Adapter:
    made = make_method(method, METHODS[method])
    backbone.model.requires_grad_(made.owns_backbone)
    return build_adapter(made, backbone, outputs=2, seed=0)


def an_optimiser(backbone: Backbone, adapter: Adapter, name: str, **more: Any) -> Optimiser:
    return Optimiser(
        adapter.trainable(backbone), by=By(make_optimiser(chosen(name)), adapter.layers(backbone), 3),
        **{"learning_rate": 1e-2, "total_steps": 24, "course": Course("constant")} | more,
    )  # fmt: skip


def steps(backbone: Backbone, adapter: Adapter, optimiser: Optimiser, first: int, last: int) -> list[float]:
    inputs = {"input_ids": torch.arange(5, 29).reshape(4, 6), "attention_mask": torch.ones(4, 6, dtype=torch.long)}
    losses = []
    with Attachment(backbone, [adapter]) as attached:
        for step in range(first, last + 1):
            loss = nn.functional.cross_entropy(attached(inputs)[0], torch.tensor([0, 1, 1, 0]))
            loss.backward()
            optimiser.step(step)
            optimiser.clear()
            losses.append(loss.item())
    return losses


def refusal(name: str, method: str, backbone: Backbone) -> str | None:
    """Return the sentence by which a method's run with an optimiser is refused, or None."""
    adapter = an_adapter(backbone, method)
    try:
        kept_bytes(dataclasses.replace(adapter.method, optimiser=chosen(name)), adapter, backbone, "cpu")
    except UsageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", HERE)
def test_what_an_optimiser_keeps_is_written_and_read(name: str, family_folder: Any, tmp_path: Path) -> None:
    """Of tensors wide enough for moments in 8 bits, which share a table that a file cannot hold twice."""
    backbone = load_backbone(str(family_folder("bert", sizes=(64, 128))), precision="fp32", device="cpu")
    adapter = an_adapter(backbone, "full")
    optimiser = an_optimiser(backbone, adapter, name)
    steps(backbone, adapter, optimiser, 1, 1)
    state = optimiser.state()
    write_checkpoint(tmp_path / "checkpoint", state, {})
    read = read_checkpoint(tmp_path / "checkpoint")
    assert read is not None and read[0].keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in read[0].items())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_learns_and_goes_on_or_says_why_not(name: str, method: str, backbone: Backbone) -> None:
    """Stopped after 7 of 14 steps and restored into fresh objects, it ends with the very same weights."""
    if (why := refusal(name, method, backbone)) is not None:
        assert name in PAGED or (method == "bitfit" and name in ("muon", "galore", "apollo"))
        assert why.startswith(f"optimiser: {name} ") and why.count(".") <= 4
        return
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = an_adapter(backbone, method)
    optimiser = an_optimiser(backbone, adapter, name)
    losses = steps(backbone, adapter, optimiser, 1, 7)
    weights = {key: value.detach().clone() for key, value in adapter.trainable(backbone).items()}
    state = {key: value.clone() for key, value in optimiser.state().items()}
    losses += steps(backbone, adapter, optimiser, 8, 14)
    assert losses[-1] < 0.8 * losses[0]
    whole = {key: value.detach().clone() for key, value in adapter.trainable(backbone).items()}

    backbone.model.load_state_dict(before)
    again = an_adapter(backbone, method)
    with torch.no_grad():
        for key, value in again.trainable(backbone).items():
            value.copy_(weights[key])
    restored = an_optimiser(backbone, again, name)
    restored.load_state(state, 7)
    steps(backbone, again, restored, 8, 14)
    assert all(torch.equal(value, whole[key]) for key, value in again.trainable(backbone).items())


@pytest.mark.parametrize("name", HERE)
def test_what_an_optimiser_keeps_is_what_a_plan_says(name: str, backbone: Backbone) -> None:
    adapter = an_adapter(backbone, "full")
    optimiser = an_optimiser(backbone, adapter, name)
    most_gradients = most_state = 0
    for step in range(1, 25):
        steps_bytes = _gradients(backbone, adapter)
        optimiser.step(step)
        tensors = {
            id(value): value for part in optimiser.parts for own in part.state.values() for value in own.values()
        }
        kept = [value for value in tensors.values() if isinstance(value, Tensor) and value.ndim]
        most_gradients = max(most_gradients, steps_bytes)
        most_state = max(most_state, sum(value.numel() * value.itemsize for value in kept))
        optimiser.clear()
    trained = Trained(adapter.trainable(backbone), adapter.layers(backbone))
    kind = make_optimiser(chosen(name))
    assert most_gradients == kind.gradient_bytes(trained)
    # bitsandbytes' tables are shared until a run is resumed, and stand here once.
    tables = 2_048 * (sum(v.numel() >= 4_096 for v in trained.parameters.values()) - 1) if name == "adamw8bit" else 0
    assert most_state == pytest.approx(kind.state_bytes(trained) - tables, rel=0.02)


def _gradients(backbone: Backbone, adapter: Adapter) -> int:
    inputs = {"input_ids": torch.arange(5, 17).reshape(2, 6), "attention_mask": torch.ones(2, 6, dtype=torch.long)}
    with Attachment(backbone, [adapter]) as attached:
        attached(inputs)[0].square().sum().backward()
    wanted = [value for value in adapter.trainable(backbone).values() if value.requires_grad]
    return sum(4 * value.numel() for value in wanted)


def matrices(*shapes: tuple[int, int]) -> Trained:
    return Trained(
        {str(place): nn.Parameter(torch.zeros(shape)) for place, shape in enumerate(shapes)},
        {str(place): 0 for place in range(len(shapes))}, seed=5,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_galore_in_all_directions_is_adamw_in_the_gradients_own(shape: tuple[int, int]) -> None:
    """With every direction kept and one gradient again and again: the projection is a rotation, and Adam's step in it."""
    trained = matrices(shape)
    (value,) = trained.parameters.values()
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    (galore,) = make_optimiser({"galore": {"rank": 5}}).build([{"params": [value], "weight_decay": 0.0}], 0.1, trained)
    for _ in range(3):
        value.grad = gradient.clone()
        galore.step()
    wide = gradient if shape[0] < shape[1] else gradient.T
    left = torch.linalg.svd(wide)[0][:, :5]
    expected = -0.3 * left @ (left.T @ wide).sign()  # Adam's direction for a gradient that stays is its sign
    torch.testing.assert_close(value.detach(), expected if shape[0] < shape[1] else expected.T, rtol=1e-3, atol=1e-5)


def test_apollo_scales_each_channel_by_what_adam_does_to_its_projection() -> None:
    trained = matrices((6, 9))
    (value,) = trained.parameters.values()
    gradient = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    (apollo,) = make_optimiser({"apollo": {"rank": 4, "scale": 1}}).build(
        [{"params": [value], "weight_decay": 0.5}], 0.1, trained
    )
    with torch.no_grad():
        value.fill_(1.0)
    value.grad = gradient.clone()
    apollo.step()
    step = (0.95 - value.detach()) / 0.1
    ratio = step / gradient
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=1e-4)  # one factor a channel
    # Adam's first direction has 4 entries of size 1: its norm is 2, over the norm of a projection of the channel.
    assert ((step.norm(dim=0) > 0.5) & (step.norm(dim=0) < 20)).all()
    before = step.norm()
    value.grad = 100 * gradient  # the limiter: no update is over 1.01 times the one before
    held = value.detach().clone()
    apollo.step()
    assert (0.95 * held - value.detach()).norm() <= 1.011 * 0.1 * before


def test_apollo_makes_up_for_the_size_of_its_projection() -> None:
    """The paper's theorem 1: a projection of rank r to a matrix of m rows asks for sqrt(m / r), unless one says a scale."""
    steps = []
    for given in ({"rank": 4, "scale": 1}, {"rank": 4}):
        trained = matrices((6, 9))
        (value,) = trained.parameters.values()
        before = value.detach().clone()
        (apollo,) = make_optimiser({"apollo": given}).build([{"params": [value], "weight_decay": 0.0}], 0.1, trained)
        value.grad = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
        apollo.step()
        steps.append(value.detach() - before)
    torch.testing.assert_close(steps[1], steps[0] * math.sqrt(6 / 4), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "together"), [("badam", 1), ("lisa", 2)])
def test_layers_take_turns_and_all_have_them(name: str, together: int) -> None:
    parameters = {f"{layer}.{part}": nn.Parameter(torch.ones(2, 2)) for layer in range(5) for part in "ab"}
    parameters |= {"embedding": nn.Parameter(torch.ones(3, 2)), "head": nn.Parameter(torch.ones(2, 2))}
    layers = {key: int(key[0]) for key in parameters if key[0].isdigit()} | {"embedding": OUTSIDE}
    optimiser = Optimiser(
        parameters, learning_rate=0.1, total_steps=60, by=By(make_optimiser({name: {"period": 4}}), layers, 1)
    )
    turns = []
    for step in range(1, 25):
        active = {key for key, value in parameters.items() if value.requires_grad}
        before = {key: value.detach().clone() for key, value in parameters.items()}
        for key in active:
            parameters[key].grad = torch.ones_like(parameters[key])
        optimiser.step(step)
        optimiser.clear()
        assert {key for key, value in parameters.items() if not torch.equal(value, before[key])} == active
        turns.append(frozenset(active))
    assert all(len(set(turns[start : start + 4])) == 1 for start in range(0, 24, 4))
    always = {"head"} | ({"embedding"} if name == "lisa" else set())
    assert set.intersection(*map(set, turns)) == always
    first = turns[: 4 * (3 if name == "lisa" else 6)]
    assert set.union(*map(set, first)) == set(parameters)
    assert {len({key[0] for key in turn - {"head", "embedding"}}) for turn in turns} <= {0, 1, together}


def test_muon_has_the_matrices_of_layers_and_adamw_the_rest() -> None:
    trained = matrices((4, 6))
    outside = {"embedding": nn.Parameter(torch.zeros(9, 6)), "bias": nn.Parameter(torch.zeros(6))}
    whole = Trained({**trained.parameters, **outside}, {**trained.layers, "embedding": OUTSIDE, "bias": 0})
    groups = [{"params": list(whole.parameters.values()), "weight_decay": 0.0}]
    muon, adamw = make_optimiser("muon").build(groups, 0.1, whole)
    assert [v for group in muon.param_groups for v in group["params"]] == [whole.parameters["0"]]
    assert {id(v) for group in adamw.param_groups for v in group["params"]} == {id(v) for v in outside.values()}


def test_only_matrices_over_the_rank_are_projected() -> None:
    trained = matrices((8, 40), (40, 9), (7, 7))
    assert [tuple(value.shape) for value in projectable(trained, 8)] == [(40, 9)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("adamww", "Unknown optimiser 'adamww'; did you mean 'adamw'"),
        ({"galore": {"ranks": 4}}, "galore: unknown setting 'ranks'; did you mean 'rank'"),
        ({"galore": {"rank": 0}}, "rank should be above 0"),
        ({"galore": {"rank": "many"}}, "'rank' should be int"),
        ({"muon": {"momentum": 1.5}}, "momentum should be below 1"),
        ({"galore": {}, "muon": {}}, "should "),
        ({}, "should "),
        ({"galore": 4}, "optimiser"),
    ],
)
def test_what_no_optimiser_can_be_is_refused(given: Any, said: str) -> None:
    for study in ({"optimiser": given, "methods": ["full"]}, {"methods": [{"full": {"optimiser": given}}]}):
        with pytest.raises(UsageError) as error:
            expand(StudyConfig.parse({"model": "minilm", "dataset": "tickets", **study}, "study.yaml"))
        assert said in str(error.value) and "\n" not in str(error.value)


def test_a_study_says_its_optimiser_and_a_method_its_own() -> None:
    config = StudyConfig.parse(
        {"model": "minilm", "dataset": "tickets", "optimiser": {"galore": {"rank": 8}},
         "methods": ["full", {"lora": {"optimiser": "adamw"}}]}, "study.yaml",
    )  # fmt: skip
    full, lora = expand(config)
    assert (full.method.steps_by.name, full.method.steps_by.settings()["rank"]) == ("galore", 8)
    assert (lora.method.steps_by.name, lora.label) == ("adamw", "lora(optimiser=adamw)")


def test_auto_is_a_rate_of_each_optimiser() -> None:
    plain = make_method("full", {}).with_rate(steps=500, width=384).learning_rate
    for name, cls in OPTIMISERS.items():
        rate = make_method("full", {"optimiser": name}).with_rate(steps=500, width=384).learning_rate
        assert rate == pytest.approx(plain * cls.rate_factor, rel=5e-3)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_study_with_other_optimisers_is_killed_and_goes_on(
    method: str, tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    """A cohort of several on one base, and turns of layers on weights of their own."""
    names = ("galore", "adamw8bit") if method == "lora" else ("badam",)
    methods = [{method: {"optimiser": chosen(name)} | METHODS[method]} for name in names]
    study = settings(family_folder, csv_folder, methods=methods, epochs=1, cohort=4, train_limit=24, test_limit=12)
    results = killed_and_resumed(study, tmp_path, [2])
    assert [result["optimiser"] for result in results] == [OPTIMISERS[name].title for name in names]
    assert {result["cohort_size"] for result in results} == {len(names)}


def test_a_plan_counts_what_each_optimiser_keeps(family_folder: Loader, csv_folder: Path) -> None:
    names = ("adamw", "galore", "badam", "paged_adamw")
    methods = [{"full": {"optimiser": chosen(name)}} for name in names] + [{"bitfit": {"optimiser": "galore"}}]
    estimates, failed = estimate_study(StudyConfig.parse(settings(family_folder, csv_folder, methods=methods), "study"))
    memory = {own.run.method.steps_by.name: own.memory.parts["what is trained"] for own in estimates}
    assert memory["badam"] < memory["galore"] < memory["adamw"]
    assert [why.split(" ")[1] for _, why in failed] == ["paged_adamw", "galore"]


def test_a_run_that_an_optimiser_can_do_nothing_for_fails_with_the_sentence(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["bitfit", "lora"], epochs=1, optimiser="muon", cohort="off")
    results = {r["method"]: r for r in Study(tmp_path / "out", **study).run()}
    assert results["lora"]["status"] == "ok"
    assert results["bitfit"]["error"] == (
        "optimiser: muon is for the matrices of a model's layers, and bitfit trains none; leave optimiser out."
    )

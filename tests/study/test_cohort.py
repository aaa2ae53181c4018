"""Cohorts: every member ends as it would alone, whoever else is in it, leaves it or is killed with it."""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from safetensors.torch import load_file

from afina.backbone.branch import Branch
from afina.backbone.load import Backbone, load_backbone
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.measure.memory import MemoryMonitor
from afina.methods.base import make_method, registry
from afina.methods.low_rank import LowRank
from afina.report.write import write_report
from afina.study import profile, sharing
from afina.study.cohorts import plan_cohorts
from afina.study.estimate import estimate_study
from afina.study.executors.processes import Processes
from afina.study.job import Job
from afina.study.plan import expand
from afina.study.prepare import prepare
from afina.study.profile import fitted, profile_run
from afina.study.race import share_of_steps, standings, who_leaves
from afina.study.room import members_that_fit
from afina.study.running import load_data
from afina.study.search import trials
from afina.study.sharing import choose_together
from afina.study.state_files import first_steps
from afina.study.study import Study
from afina.study.training import Training
from afina.study_parts import RaceSpec
from afina.train.loop import Callbacks, Clock, Member, Position, train
from afina.train.passes import Passes, pass_kind
from cohorts import assert_same, member, tokens_of, trained, without_dropout
from examples import examples
from kills import AT_EVERY_STEP, kill_workers, killed_and_resumed
from pairs import FROZEN
from studies import settings as study_settings
from studies import write_csv, write_splits

Loader = Callable[[str], Path]
FAMILIES = ("bert", "llama", "t5", "gpt2", "opt")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    """Models without dropout."""
    from families import save_family

    found = {}
    for family in FAMILIES:
        folder = save_family(family, tmp_path_factory.mktemp("cohort") / family)
        found[family] = load_backbone(str(without_dropout(folder)))
    return found


MEMBER = st.tuples(
    st.sampled_from(FROZEN), st.integers(0, 3), st.sampled_from([1e-3, 5e-3]), st.sampled_from(["linear", "cosine"])
)


@examples(6, 24, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    family=st.sampled_from(FAMILIES),
    chosen=st.lists(MEMBER, min_size=2, max_size=6),
    most=st.sampled_from([None, 1, 2, 3]),
    alike=st.booleans(),
    micro=st.sampled_from([None, 3]),
)
def test_a_cohort_is_only_faster(
    family: str, chosen: list[Any], most: int | None, alike: bool, micro: int | None, backbones: dict[str, Backbone]
) -> None:
    backbone, tokens = backbones[family], tokens_of(14, 0)

    def fresh(place: int) -> Member:
        name, seed, rate, schedule = chosen[place]
        return member(backbone, name, seed, tokens, learning_rate=rate, schedule=schedule)

    everyone = [fresh(place) for place in range(len(chosen))]
    together = trained(backbone, everyone, most=most, alike=alike, micro_batch_size=micro)
    for place, own in enumerate(together):
        (alone,) = trained(backbone, [fresh(place)])
        assert_same(alone, own, f"{family} {chosen[place]}")


ONE_BY_ONE = ("head", "llama-adapter", "loreft", "norms", "parallel", "prefix", "prompt", "ptuning", "svd")


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_what_has_no_stacked_form_is_computed_one_by_one(name: str, backbones: dict[str, Backbone]) -> None:
    placed = member(backbones["bert"], name, 0, tokens_of(4, 0)).adapter.placed()
    assert not any(branch.stack_key() for _, branch in placed if isinstance(branch, Branch))


# Projections apart, slices of one, rows laid end to end.
@pytest.mark.pairs(
    [*(name for name in FROZEN if name not in ONE_BY_ONE), "pissa"], ("bert", "gpt2", "opt"), fully=["bert"]
)
def test_branches_alike_are_computed_at_once_and_as_alone(
    name: str, family: str, backbones: dict[str, Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seeds at rates of their own; among them one with fewer rows, beside them one of another rank, if it has any."""
    backbone, settings = backbones[family], {"init": "pissa"} if name == "pissa" else {}
    name = "lora" if name == "pissa" else name
    other = settings | ({"rank": 3} if "rank" in {field.name for field in fields(registry()[name])} else {})
    rows, (first, *rates) = tokens_of(14, 0), (1e-3, 2e-3, 3e-3)
    make = partial(member, backbone, name)
    makers = [
        partial(make, 0, rows, learning_rate=first, **settings),
        partial(make, 3, tokens_of(9, 3), batch_size=3, **settings),
        *(partial(make, seed, rows, learning_rate=rate, **settings) for seed, rate in enumerate(rates, 1)),
        partial(make, 4, rows, **other),
    ]

    placed = [branch for _, branch in makers[0]().adapter.placed() if isinstance(branch, Branch)]
    assert any(branch.stack_key() for branch in placed)
    stacks: list[int] = []
    for kind in {type(branch) for branch in placed}:
        plain = kind.together

        def counted(self: Any, branches: Any, plain: Any = plain) -> Any:
            stacks.append(len(branches))
            return plain(self, branches)

        monkeypatch.setattr(kind, "together", counted)
    together = trained(backbone, [fresh() for fresh in makers])
    whole = max(stacks)
    assert whole in (3, 4)  # all alike once the one with fewer rows has come to its end, never with it
    # Three rows at a time: first all of them, then one of each but of that one none, which the others close up over.
    in_parts = trained(backbone, [fresh() for fresh in makers], micro_batch_size=3)
    assert max(stacks) == whole + 1
    stacks.clear()
    for place, (own, part) in enumerate(zip(together, in_parts, strict=True)):
        (alone,) = trained(backbone, [makers[place]()])
        assert_same(alone, own, f"{family} {name} {place}")
        assert_same(alone, part, f"{family} {name} {place}, in parts")
    assert not stacks


def test_a_branch_that_stacks_stacks_all_that_it_does() -> None:
    """Else its change would be missing in a cohort, and there only."""
    with pytest.raises(TypeError, match="Half has a stack_key and after, and no after_stacked"):

        class Half(Branch):
            def stack_key(self) -> str:
                return "half"

            def after(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                return y / 2

    with pytest.raises(TypeError, match="Other has a stack_key and after"):

        class Other(LowRank):
            def after(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                return y / 2


def test_members_have_data_and_tasks_of_their_own(backbones: dict[str, Backbone]) -> None:
    """Many customers on one base: other rows, other numbers of them, other batches, classes here and numbers there."""
    backbone = backbones["bert"]

    def fresh() -> list[Member]:
        return [
            member(backbone, "lora", 0, tokens_of(14, 1)),
            member(backbone, "ia3", 1, tokens_of(30, 2), batch_size=6),
            member(backbone, "prefix", 2, tokens_of(9, 3, regression=True), regression=True),
        ]

    together = trained(backbone, fresh())
    for place, own in enumerate(together):
        (alone,) = trained(backbone, [fresh()[place]])
        assert_same(alone, own, str(place))


def test_a_short_batch_may_end_before_the_others_micro_batches(backbones: dict[str, Backbone]) -> None:
    """Also that of the last member, behind whose rows none stand."""
    backbone = backbones["bert"]

    def fresh() -> list[Member]:
        return [member(backbone, "ia3", 1, tokens_of(12, 2)), member(backbone, "lora", 0, tokens_of(11, 1))]

    together = trained(backbone, fresh(), micro_batch_size=1)
    for place, own in enumerate(together):
        (alone,) = trained(backbone, [fresh()[place]])
        assert_same(alone, own, str(place))


def test_one_that_diverges_or_leaves_does_not_disturb_the_others(backbones: dict[str, Backbone]) -> None:
    backbone, tokens = backbones["bert"], tokens_of(14, 0)

    def fresh() -> list[Member]:
        bad = member(backbone, "lora", 1, tokens, learning_rate=1e30, gradient_clip=None)
        return [
            member(backbone, "lora", 0, tokens),
            bad,
            member(backbone, "bitfit", 2, tokens),
            member(backbone, "ia3", 3, tokens),
        ]

    members = fresh()
    steps = 0

    def leave() -> None:
        nonlocal steps
        steps += 1
        members[3].left = steps >= 3

    together = trained(backbone, members, leave)
    assert not np.isfinite(float(members[1].loss_sum))
    assert members[3].position.step == 3
    for place in (0, 2):
        (alone,) = trained(backbone, [fresh()[place]])
        assert_same(alone, together[place], str(place))


def test_gradients_stay_with_their_member(backbones: dict[str, Backbone]) -> None:
    """The loss of one member alone moves nothing of another, nor of the backbone."""
    backbone, tokens = backbones["llama"], tokens_of(8, 0)
    members = [member(backbone, name, 0, tokens) for name in FROZEN]
    with Passes(backbone) as passes:
        for group in passes.groups(members):
            attached = passes.attached([m.adapter for m in group], training=False)
            batch = attached.batch([(tokens, np.arange(4))] * len(group))
            attached.outputs(batch)[0].sum().backward()
            assert any(value.grad is not None and value.grad.any() for value in group[0].adapter.parameters())
            for other in group[1:]:
                assert not any(value.grad is not None and value.grad.any() for value in other.adapter.parameters())
    assert all(value.grad is None for value in backbone.model.parameters())


def test_members_go_together_with_their_like(backbones: dict[str, Backbone]) -> None:
    backbone, tokens = backbones["bert"], tokens_of(8, 0)
    members = {
        name: member(backbone, name, 0, tokens) for name in ("head", "lora", "prompt", "loreft", "ia3", "bitfit")
    }
    kinds = {name: pass_kind(one.adapter) for name, one in members.items()}
    # A head needs no backward pass, a prompt makes texts longer, LoReFT looks at more than the first token.
    assert kinds["lora"] == kinds["ia3"] == kinds["bitfit"]
    assert len({kinds[name] for name in ("head", "lora", "prompt", "loreft")}) == 4
    with Passes(backbone, most=2) as passes:
        assert sorted(len(group) for group in passes.groups(list(members.values()))) == [1, 1, 1, 1, 2]


def test_those_of_a_method_may_go_by_themselves(backbones: dict[str, Backbone]) -> None:
    """Passes are as few as their size allows, and about equally large."""
    backbone, tokens = backbones["bert"], tokens_of(8, 0)
    names = ["lora", "ia3", "lora", "bitfit", "lora", "norms", "lora", "lora"]
    members = [member(backbone, name, seed, tokens) for seed, name in enumerate(names)]

    def groups(**more: Any) -> list[list[str]]:
        with Passes(backbone, **more) as passes:
            return sorted([one.adapter.method.name for one in group] for group in passes.groups(members))

    assert groups(alike=True) == [["bitfit", "ia3", "norms"], ["lora"] * 5]
    assert groups(alike=True, most=4) == [["bitfit", "ia3", "norms"], ["lora"] * 2, ["lora"] * 3]
    assert sorted(map(len, groups(most=7))) == [4, 4]


def test_short_batches_go_apart_from_long_ones(backbones: dict[str, Backbone]) -> None:
    """And more of them at a time."""
    members = [member(backbones["bert"], "lora", seed, tokens_of(8, 0)) for seed in range(8)]
    tokens = {id(own): 100 if place < 4 else 49 for place, own in enumerate(members)}
    with Passes(backbones["bert"], most_tokens=200) as passes:
        groups = passes.groups(members, lambda own: tokens[id(own)])
        assert sorted([tokens[id(own)] for own in group] for group in groups) == [[49] * 4, [100] * 2, [100] * 2]


def test_an_epoch_whose_end_a_kill_kept_back_ends_before_others_go_on(backbones: dict[str, Backbone]) -> None:
    """As it does undisturbed: else those on longer data would share their passes with others than they had."""
    members = [member(backbones["bert"], "lora", 0, tokens_of(rows, rows)) for rows in (8, 20)]
    for own in members:
        own.position = Position(batch=2, step=2)
    seen: list[list[int]] = []
    with Passes(backbones["bert"]) as passes:
        callbacks = Callbacks(lambda: None, lambda ended: seen.append([own.position.step for own in members]))
        train(passes, members, Clock(), callbacks, micro_batch_size=None, steps=1)
    assert seen[0] == [2, 2]


def test_those_behind_catch_up_before_all_go_on(backbones: dict[str, Backbone]) -> None:
    backbone, tokens = backbones["bert"], tokens_of(14, 0)
    members = [member(backbone, name, seed, tokens) for seed, name in enumerate(["lora", "ia3", "lora"])]
    with Passes(backbone) as passes:
        callbacks = Callbacks(lambda: None, lambda ended: None)
        train(passes, members[:1], Clock(), callbacks, micro_batch_size=None, steps=3)
    assert [one.position.step for one in members] == [3, 0, 0]
    seen: list[tuple[int, ...]] = []
    together = trained(backbone, members, lambda: seen.append(tuple(one.position.step for one in members)))
    assert seen == [(3, step, step) for step in (1, 2, 3)] + [(step,) * 3 for step in range(4, 9)]
    for place, name in enumerate(["lora", "ia3", "lora"]):
        (alone,) = trained(backbone, [member(backbone, name, place, tokens)])
        assert_same(alone, together[place], f"{name} {place}")


@pytest.fixture(scope="module")
def rows_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows for 20 steps an epoch."""
    return write_splits(tmp_path_factory.mktemp("rows"), train=120, test=40)


def study_of(family_folder: Loader, rows_folder: Path, **more: Any) -> dict[str, Any]:
    return study_settings(family_folder, rows_folder, methods=["lora", "ia3", "head", "adalora"], seeds=2, **more)


def test_a_study_trains_as_a_cohort_and_gives_each_method_its_own_costs(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    methods = [
        "full",
        "lora",
        "ia3",
        "features",
        {"lora": {"rank": 500}},
        {"ia3": {"learning_rate": 1e30, "gradient_clip": None}},
    ]
    study = study_settings(family_folder, rows_folder, methods=methods, seeds=2, epochs=3, cohort=8)
    seen: list[Any] = []
    made = Study(tmp_path / "out", executor=Processes(), **study)
    results = {(r["method_label"], r["seed"]): r for r in made.run(seen.append)}
    cohort = [results["lora", 0], results["lora", 1], results["ia3", 0], results["ia3", 1]]
    for result in cohort:
        assert (result["status"], result["measured"], result["cohort_size"]) == ("ok", "profile", 6)
        assert len(result["history"]) == 3
        assert result["train_seconds"] == result["history"][-1]["seconds"] > result["history"][0]["seconds"] > 0
        assert result["peak_memory_bytes"] > 0
        assert (tmp_path / "out" / result["adapter"] / "adapter_model.safetensors").exists()
    # Costs are the method's: both seeds of a method have the same, and another method has others.
    assert cohort[0]["step_seconds"] == cohort[1]["step_seconds"] != cohort[2]["step_seconds"]
    assert results["full", 0]["measured"] == results["features", 0]["measured"] == "solo"
    assert "rank 500 is larger" in results["lora(rank=500)", 0]["error"]
    assert "loss became" in results["ia3(gradient_clip=None, learning_rate=1e+30)", 1]["error"]
    (report,) = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cohorts").glob("*/cohort.json")]
    assert report["train_seconds"] > 0
    assert report["together"] >= 1
    assert len(report["runs"]) == 6
    assert {event["run"].label for event in seen if event["kind"] == "profiling"} >= {"lora", "ia3"}
    again: list[Any] = []
    Study(tmp_path / "out", **study).run(again.append)
    assert all(
        "rank=500" in run.label or "1e+30" in run.label for e in again if e["kind"] == "unit" for run in e["runs"]
    )


def assert_as_alone(study: dict[str, Any], tmp_path: Path, **settings: Any) -> list[dict[str, Any]]:
    """In one cohort, with these settings and without dropout, come the adapters of the runs alone; return its results."""
    study["model"] = str(without_dropout(Path(shutil.copytree(study["model"], tmp_path / "model"))))
    settings_by_folder: dict[str, dict[str, Any]] = {"off": {"cohort": "off"}, "on": settings}
    found = {name: Study(tmp_path / name, **study, **own).run() for name, own in settings_by_folder.items()}
    assert {result["cohort_size"] for result in found["off"]} == {1}
    assert {result["cohort_size"] for result in found["on"]} == {len(found["off"])}
    assert {result["status"] for result in found["off"]} == {"ok"}
    for alone, together in zip(*(sorted(own, key=lambda r: r["run"]) for own in found.values()), strict=True):
        first, second = (
            load_file(tmp_path / name / result["adapter"] / "adapter_model.safetensors")
            for name, result in (("off", alone), ("on", together))
        )
        assert_same(first, second, alone["run"])
        for one, other in zip(alone["history"], together["history"], strict=True):
            assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
    return found["on"]


@pytest.mark.always
def test_a_studys_cohort_gives_the_adapters_that_its_runs_give_alone(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    """The steps of the profiles are the first of the training, of one seed of each method."""
    assert_as_alone(study_of(family_folder, rows_folder, epochs=1), tmp_path, cohort=8)
    (folder,) = (tmp_path / "on" / "cohorts").iterdir()
    assert {path.name for path in folder.iterdir()} == {"plan.json", "cohort.json", ".lock"}


def test_data_sets_and_tasks_share_a_cohort_where_they_may(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    """Labels of some texts and numbers of fewer others, which end first."""
    (tmp_path / "scores").mkdir()
    for split, rows in (("train", 70), ("test", 30)):
        write_csv(tmp_path / "scores" / f"{split}.csv", rows, rows, number=True)
    study = study_settings(family_folder, rows_folder, methods=["lora", "head"], epochs=2)
    study["dataset"] = [study["dataset"], str(tmp_path / "scores")]
    results = assert_as_alone(study, tmp_path, cohort=4, mix_datasets=True)
    assert {(r["dataset"], r["task"], r["metric"], r["steps"], r["train_rows"], r["test_rows"]) for r in results} == {
        (rows_folder.name, "classification", "accuracy", 40, 120, 40), ("scores", "regression", "pearson", 24, 70, 30),
    }  # fmt: skip
    (line,) = (
        json.loads(path.read_text())["members"] for path in (tmp_path / "on").glob("cohorts/*-mixed-*/cohort.json")
    )
    until = {own["label"]: own["until"] for own in line}
    names = (rows_folder.name, "scores")
    assert until.keys() == {f"{method}, {name}" for method in ("lora", "head") for name in names}
    assert until["lora, scores"] < until[f"lora, {rows_folder.name}"]
    plan = json.loads(next((tmp_path / "on").glob("cohorts/*/plan.json")).read_text())
    assert len(plan["profiles"]) == 4
    # Each data set is told by its own metric, in its own unit.
    write_report(tmp_path / "on")
    tables = {path.stem: path.read_text() for path in (tmp_path / "on" / "tables").glob("table-4.*.csv")}
    by_name = {(r["dataset"], r["method"]): r["test_metric"] for r in results}
    scores, labels = by_name["scores", "lora"], by_name[rows_folder.name, "lora"]
    assert f"lora,{100 * labels:.1f},{scores:.3f}" in tables["table-4.3"]
    counts = {(r["dataset"], r["method"]): f'"{r["trainable_parameters"]:,}"' if r["trainable_parameters"] > 999 else
              str(r["trainable_parameters"]) for r in results}  # fmt: skip
    head = tables["table-4.7"].splitlines()[-1].split(",", 1)
    assert head[0] == "head"
    assert counts[rows_folder.name, "head"] != counts["scores", "head"]
    assert all(counts[name, "head"] in head[1] for name in names)
    (row,) = (line for line in tables["table-4.4"].splitlines() if line.startswith("scores,lora"))
    assert row.endswith(f",{scores:.3f}")
    assert f"{rows_folder.name}: accuracy (%); scores: pearson" in (tmp_path / "on" / "report.html").read_text()


def test_a_cohort_goes_on_from_the_steps_of_the_profile(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    """Training anew would end the same, only later."""
    study = Study(tmp_path / "out", **study_of(family_folder, rows_folder, epochs=2))
    run = study.runs[0]
    prepared = prepare(study.config, study.config.dataset[0], run.model, study.directory)
    job = Job(run, study.config, study.directory, prepared.tokens, prepared.task, "fp32", "cpu", fingerprint={})
    profile_run(job, lambda event: None, first_steps(tmp_path, run.id))
    backbone, monitor = load_backbone(run.model), MemoryMonitor("cpu")
    training = Training([job], backbone, load_data([job]), monitor, lambda event: None, folder=tmp_path)
    training._resume()
    assert training.runs[0].member.position.step == 19  # of the 20 of an epoch
    assert training.clock.seconds > 0


def test_a_cohort_whose_epoch_is_one_batch(family_folder: Loader, rows_folder: Path, tmp_path: Path) -> None:
    """A profile's first step would be a whole epoch, which nobody evaluated."""
    study = study_settings(family_folder, rows_folder, methods=["lora", "ia3"], epochs=2, cohort=2, train_limit=6)
    for result in Study(tmp_path / "out", **study).run():
        assert (result["status"], result["steps"], len(result["history"])) == ("ok", 2, 2), result["error"]


def test_a_gpu_that_holds_fewer_in_a_pass_is_no_failure(
    family_folder: Loader, rows_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One text of nearly the longest length: beside its batch there is room for several of the usual width.
    rows = Path(shutil.copytree(rows_folder, tmp_path / "rows"))
    with (rows / "train.csv").open("a") as file:
        file.write(f"{'good ' * 50},praise\n")
    study = Study(tmp_path / "out", **study_of(family_folder, rows, max_length=60))
    prepared = prepare(study.config, study.config.dataset[0], study.runs[0].model, study.directory)
    more: dict[str, Any] = {"precision": "fp32", "device": "cpu", "fingerprint": {}}
    jobs = [Job(run, study.config, study.directory, prepared.tokens, prepared.task, **more) for run in study.runs]
    for most in (2, 0):
        refused = []

        def step(passes: Passes, *rest: Any, most: int = most, refused: list[Any] = refused, **named: Any) -> None:
            if passes.most is not None and passes.most > most:
                refused.append(passes.most)
                raise torch.OutOfMemoryError("CUDA out of memory.")
            train(passes, *rest, **named)

        monkeypatch.setattr(sharing, "train", step)
        if most:
            assert choose_together(jobs, lambda event: None).together <= 2
        else:
            with pytest.raises(torch.OutOfMemoryError):
                choose_together(jobs, lambda event: None)
        assert refused == [4 if most else 1]


def test_steps_are_fitted_by_width_and_what_a_first_meeting_adds() -> None:
    widths = np.array([64, 16, 32, 16, 48, 32, 64, 24, 16, 48])
    met = np.array([width not in widths[:place] for place, width in enumerate(widths)])
    seconds = 0.01 + 1e-3 * widths + 1e-6 * widths**2 + 0.1 * met
    seconds[0] += 5  # the threads start
    warm, first = fitted(widths, seconds)
    assert first == pytest.approx(0.1)
    for width in (16, 40, 64, 80):
        assert warm[width] == pytest.approx(0.01 + 1e-3 * width + 1e-6 * width**2)
    # Of one step, of one width and of nothing but first meetings there is less to be told.
    assert fitted(np.array([8]), np.array([0.5]))[0][8] == pytest.approx(0.5)
    assert fitted(np.array([8, 8, 8]), np.array([0.9, 0.2, 0.4]))[0][8] == pytest.approx(0.3)
    warm, first = fitted(np.array([24, 8, 16]), np.array([0.9, 0.2, 0.3]))
    assert (warm[8], warm[16], first) == (pytest.approx(0.2), pytest.approx(0.3), 0.0)


def test_each_epoch_takes_what_its_own_batches_do() -> None:
    epochs = [np.array([32, 8, 16, 8]), np.array([32, 24, 8]), np.array([32, 24, 16])]
    # Of the first epoch two steps were taken, in 50 s; 16 is new in it, 24 in the second.
    until = profile.seconds_until(epochs, 2, 50.0, np.arange(65.0), 100.0)
    assert until == [50 + 16 + 8 + 100, 174 + 64 + 100, 338 + 72]


def test_the_size_of_a_cohort_is_the_studys(family_folder: Loader, rows_folder: Path, tmp_path: Path) -> None:
    """Also none at all: see `assert_as_alone`."""
    study = study_of(family_folder, rows_folder, cohort=3, epochs=1)
    results = Study(tmp_path / "out", **study).run()
    assert {result["status"] for result in results} == {"ok"}
    assert {result["cohort_size"] for result in results} == {3, 2}


@pytest.mark.parametrize(("epochs", "seeds", "sizes"), [(1, 2, []), (10, 2, [4]), (20, 1, [2]), (20, 3, [6])])
def test_auto_makes_cohorts_where_they_pay(epochs: int, seeds: int, sizes: list[int], tmp_path: Path) -> None:
    """At 20 steps an epoch; to find what a method costs alone takes time too."""
    config = StudyConfig.parse(
        {"model": "minilm", "dataset": "tickets", "methods": ["full", "features", "lora", "ia3"], "seeds": seeds,
         "epochs": epochs}, "test",
    )  # fmt: skip
    runs = expand(config)
    cohorts = plan_cohorts(config, tmp_path, runs, runs, {("minilm", 0): 120})
    assert [len(cohort.runs) for cohort in cohorts] == sizes


def test_auto_counts_the_steps_of_all_rates_of_a_method(tmp_path: Path) -> None:
    """What a method costs alone is found once for all its rates: so the trials of a search are a cohort soon."""
    given = {
        "model": "minilm",
        "dataset": "tickets",
        "methods": ["lora", "ia3"],
        "epochs": 5,
        "learning_rate": "search",
    }
    planned = trials(StudyConfig.parse(given, "test"))
    assert planned is not None
    runs = expand(planned[0])
    (cohort,) = plan_cohorts(planned[0], tmp_path, runs, runs, {("minilm", 0): 120})
    assert len(cohort.runs) == 2 * 4


def test_a_cohorts_folder_is_one_folder(tmp_path: Path) -> None:
    """Whatever its data set is called: elsewhere neither a resumption nor the report would look."""
    given = {"model": "minilm", "dataset": {"path": "x", "name": "imdb/short"}, "methods": ["lora", "ia3"], "cohort": 2}
    config = StudyConfig.parse(given, "test")
    runs = expand(config)
    (cohort,) = plan_cohorts(config, tmp_path, runs, runs, {("minilm", 0): 120})
    assert cohort.folder.parent == tmp_path / "cohorts"


def test_a_killed_cohort_goes_on_bit_for_bit(family_folder: Loader, rows_folder: Path, tmp_path: Path) -> None:
    study = study_settings(family_folder, rows_folder, methods=["lora", "adalora"], seeds=2, epochs=2, cohort=8)
    assert len(killed_and_resumed(study, tmp_path, [15])) == 4


@pytest.mark.usefixtures("processes")
def test_a_cohort_whose_process_is_killed_goes_on_from_its_checkpoint(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    def kill(event: Any) -> None:
        if (
            event["kind"] == "epoch"
        ):  # a kill is taken for want of memory: it is tried again with half as many in a pass
            kill_workers()

    study = study_of(family_folder, rows_folder, epochs=3, cohort=8, **AT_EVERY_STEP)
    failed = Study(tmp_path / "out", **study).run(kill)
    assert {result["status"] for result in failed} == {"failed"}
    assert all("ended by SIGKILL" in result["error"] for result in failed)
    again = Study(tmp_path / "out", **study).run()
    assert all(result["status"] == "ok" and result["resumed"] >= 1 for result in again)


@pytest.mark.usefixtures("processes")
def test_one_whose_costs_could_not_be_found_is_tried_when_its_cohort_is_done(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    profiled = ""

    def kill(event: Any) -> None:
        nonlocal profiled
        profiled = event["run"].method.name if event["kind"] == "profiling" else profiled
        if (event["kind"] == "profile" and profiled == "ia3") or event["kind"] == "epoch":
            kill_workers()

    study = study_settings(family_folder, rows_folder, methods=["lora", "ia3"], seeds=2, epochs=4, cohort=4)
    study |= AT_EVERY_STEP
    first, second, third = (
        {(r["method"], r["seed"]): r for r in Study(tmp_path / "out", **study).run(observer)}
        for observer in (kill, lambda event: None, lambda event: None)
    )
    assert {result["status"] for result in first.values()} == {"failed"}
    assert {key: result["status"] for key, result in second.items()} == {
        ("lora", 0): "ok", ("lora", 1): "ok", ("ia3", 0): "failed", ("ia3", 1): "failed",
    }  # fmt: skip
    assert second["lora", 1]["resumed"] >= 1
    assert "it was not in the cohort when that started" in second["ia3", 0]["error"]
    assert {result["status"] for result in third.values()} == {"ok"}


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("trouble", ["stopped while listing", "a finalist's profile killed"])
def test_a_race_that_is_over_is_not_run_again_by_its_losers(
    trouble: str, family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    """Losers that were not listed yet have lost all the same, who failed stays so, and a winner's costs are found later."""

    def observer(event: Any) -> None:
        if trouble == "stopped while listing" and event["kind"] == "finished":
            raise KeyboardInterrupt
        if trouble != "stopped while listing" and event["kind"] == "profile":
            kill_workers()

    race = {"rungs": [0.5], "keep": 0.1, "rate_factors": [1, 1e-3, 1e-5]}
    study = study_settings(family_folder, rows_folder, epochs=2, race=race)
    study["methods"] = [{"lora": {"targets": ["ffn_gate"]}}, "lora"]
    del study["learning_rate"]
    with contextlib.suppress(KeyboardInterrupt):
        assert "ok" not in {result["status"] for result in Study(tmp_path / "out", **study).run(observer)}
    for _ in range(2):
        statuses = sorted(result["status"] for result in Study(tmp_path / "out", **study).run())
        assert statuses == ["failed"] * 3 + ["ok", "skipped", "skipped"]


def test_a_candidate_of_which_a_seed_failed_comes_last() -> None:
    values = {"wild": [0.99], "steady": [0.8, 0.8], "poor": [0.1, 0.3]}
    found = standings("accuracy", values, {"wild"})
    assert {name: own["place"] for name, own in found.items()} == {"steady": 1, "poor": 2, "wild": 3}
    assert found["wild"]["value"] == 0.99


def test_a_race_sends_the_worse_candidates_home(family_folder: Loader, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    write_splits(tmp_path / "rows", train=120, test=40, validation=60)
    study = study_settings(family_folder, tmp_path / "rows", seeds=2, epochs=6)
    del study["learning_rate"], study["rank"]
    # How many share a pass is chosen by the clock, and only without dropout do they learn the same in any company.
    model = without_dropout(Path(shutil.copytree(study["model"], tmp_path / "model")))
    # Its head is taken by the names of its labels: a fresh one, with its small weights, learns too little by the first rung.
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"id2label": {0: "complaint", 1: "praise"}}))
    study["model"] = str(model)
    race = {"rungs": [0.4, 0.7], "keep": 0.5, "ranks": [1, 2], "rate_factors": [2, 1e-6]}
    study |= {"methods": ["lora", {"ia3": {"learning_rate": 1e-9}}], "race": race}
    results = {(r["method_label"], r["seed"]): r for r in Study(tmp_path / "out", **study).run()}
    good = {"lora(rank=1, rate_factor=2.0)", "lora(rank=2, rate_factor=2.0)"}
    assert len(results) == 2 * 5
    stayed = {label for (label, _), result in results.items() if result["status"] == "ok"}
    assert stayed == good
    lost = [result for result in results.values() if result["status"] == "skipped"]
    assert {result["race"]["step"] for result in lost} == {48, 84}
    assert all("left the race after" in result["error"] for result in lost)
    # The rates that learn nothing are the first to go, both seeds of a candidate together.
    first = [result["method_label"] for result in lost if result["race"]["step"] == 48]
    assert len(first) == 4
    assert not set(first) & good
    # Who found the rates is told: the race, or the person.
    assert {result["rate"] for result in results.values() if result["status"] == "ok"} == {"searched"}
    write_report(tmp_path / "out")
    assert "48 / 120" in (tmp_path / "out" / "tables" / "race.md").read_text()
    assert "Runs that trained together" in (tmp_path / "out" / "report.html").read_text()
    (line,) = (json.loads(path.read_text())["members"] for path in (tmp_path / "out").glob("cohorts/*/cohort.json"))
    until = {own["run"]: own["until"] for own in line}
    assert {own["run"]: own["why"] for own in line} == {
        result["run"]: "left the race" if result["status"] == "skipped" else "finished" for result in results.values()
    }
    assert max(until[r["run"]] for r in lost) < min(until[r["run"]] for r in results.values() if r["status"] == "ok")
    assert "seconds of training steps" in (tmp_path / "out" / "report.html").read_text()
    place = lost[0]["race"]
    assert (
        f"{lost[0]['run']}: left the race (place {place['place']} / {place['of']})"
        in (tmp_path / "out" / "report.html").read_text()
    )
    assert "— where a run left or failed" in (tmp_path / "out" / "tables" / "cohorts.md").read_text()
    again: list[Any] = []
    Study(tmp_path / "out", **study).run(again.append)
    assert not [event for event in again if event["kind"] == "unit"]


def test_one_that_stopped_early_is_judged_by_its_best_epoch(family_folder: Loader, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    write_splits(tmp_path / "rows", train=120, test=40, validation=60)
    race = {"rungs": [0.6], "keep": 0.5, "rate_factors": [2.5, 1e-7]}
    study = study_settings(family_folder, tmp_path / "rows", epochs=8, early_stopping=3, race=race)
    del study["learning_rate"], study["rank"]
    study["model"] = str(without_dropout(Path(shutil.copytree(study["model"], tmp_path / "model"))))
    good, poor = Study(tmp_path / "out", **study).run()
    auto = make_method("lora", {}).with_rate(steps=160, width=32).learning_rate
    assert auto is not None
    assert (good["status"], good["method_config"]["learning_rate"]) == ("ok", pytest.approx(2.5 * auto, rel=5e-3))
    # Its accuracy never moved: it stopped after its fourth epoch of twenty steps, before the rung at step 96.
    assert [poor["race"][key] for key in ("step", "steps", "place", "of")] == [80, 160, 2, 2]
    assert poor["race"]["value"] < max(own["validation_accuracy"] for own in good["history"][:4])
    write_report(tmp_path / "out")
    assert "after the best epoch" in (tmp_path / "out" / "tables" / "table-4.3.md").read_text()
    events = (tmp_path / "out" / "runs" / poor["run"] / "events.jsonl").read_text().splitlines()
    assert [event["why"] for event in map(json.loads, events) if event["kind"] == "left"] == [
        "stopped early",
        "left the race",
    ]


def test_candidates_that_cannot_be_do_not_end_a_race(family_folder: Loader, rows_folder: Path, tmp_path: Path) -> None:
    study = study_settings(family_folder, rows_folder, seeds=1, epochs=1, race={"rungs": [0.9], "rate_factors": [1, 2]})
    del study["learning_rate"]
    bad = {"lora": {"targets": ["ffn_gate"]}}
    for name, methods in (("some", [bad, "ia3"]), ("all", [bad])):
        results = Study(tmp_path / name, **{**study, "methods": methods}).run()
        assert [result["status"] for result in results if result["method"] == "lora"] == ["failed"] * 2
        assert all("ffn_gate" in result["error"] for result in results if result["status"] == "failed")
        others = sorted(result["status"] for result in results if result["method"] == "ia3")
        assert others == (["ok", "skipped"] if name == "some" else [])


def test_a_cohort_has_as_many_members_as_memory_has_room_for(
    family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    """By what the estimate says that each trains: value, gradient and two moments in float32."""
    methods = ["lora", {"lora": {"rank": 8}}, {"lora": {"targets": ["ffn_gate"]}}]
    study = Study(tmp_path / "out", **study_settings(family_folder, rows_folder, methods=methods, seeds=2))
    prepared = prepare(study.config, study.config.dataset[0], study.runs[0].model, study.directory)
    more: dict[str, Any] = {"precision": "fp32", "device": "cpu", "fingerprint": {}}
    trained = {entry.run.id: 16 * entry.trainable_parameters for entry in estimate_study(study.config)[0]}
    runs = sorted(study.runs, key=lambda run: trained.get(run.id, np.inf))
    jobs = [Job(run, study.config, study.directory, prepared.tokens, prepared.task, **more) for run in runs]
    small, large = trained[jobs[0].run.id], trained[jobs[2].run.id]
    assert small < large
    fit = partial(members_that_fit, jobs, lambda event: None)
    assert fit() == [6]
    assert fit(2 * small + large) == [3, 3]  # the last two cannot be, and take nothing
    assert fit(2 * small + large - 1) == [2, 1, 3]
    assert fit(0) == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(("candidates", "keep"), [(10, 0.5), (12, 0.34), (3, 0.1), (1, 0.5)])
def test_the_share_of_a_race_is_what_its_candidates_step(candidates: int, keep: float) -> None:
    race, left, steps = RaceSpec(rungs=[0.2, 0.6], keep=keep), candidates, 0
    for step in range(100):
        if step in (20, 60):
            left -= len(who_leaves(race, standings("accuracy", {str(name): [name / 100] for name in range(left)})))
        steps += left
    assert share_of_steps(race, candidates) == pytest.approx(steps / 100 / candidates)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"cohort": "off"}, "cohort cannot be off"), ({"cohort": 4}, "cohort cannot be 4"),
     ({"mix_datasets": True}, "mix_datasets cannot be true"),
     ({"methods": ["full"]}, "full cannot train beside others"),
     ({"race": {"rungs": [0.5, 0.2]}}, "rungs should rise"), ({"learning_rate": "search"}, "it tries rates itself"),
     ({"race": {"rung": [0.5]}}, "unknown key 'rung' of 'race'; did you mean 'rungs'"),
     ({"race": {"keep": 0}}, "'race.keep': should be greater than 0, but got 0"),
     ({"race": {"rungs": []}}, "'race.rungs': should not be empty"),
     ({"race": {"ranks": [2, 2]}}, "'race.ranks': each may stand once"),
     ({"race": 3}, "'race': should be a mapping of its keys to values, but got 3"),
     ({"methods": ["lora"]}, "race: lora has no rival; name more methods, ranks or rate_factors")],
)  # fmt: skip
def test_bad_races_are_one_sentence(
    change: dict[str, Any], said: str, family_folder: Loader, rows_folder: Path, tmp_path: Path
) -> None:
    study = {**study_settings(family_folder, rows_folder, race=True), **change}
    with pytest.raises(UsageError, match=said):
        Study(tmp_path / "out", **study)

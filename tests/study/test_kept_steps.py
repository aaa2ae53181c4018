"""`keep_checkpoints`: what a run kept is what it was at these steps, and `afina inspect` measures it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import afina
from afina.adapters.adapter import read_tensors
from afina.errors import UsageError
from afina.report.moved_page import moved_rows, short_names
from afina.study.study import Study
from afina.words.language import Words
from commands import afina as command
from commands import refused
from studies import settings

Loader = Callable[..., Path]


@pytest.fixture(scope="module")
def study(family_folder: Loader, csv_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "out"
    rank = {"rank": 2, "start_rank": 4, "interval": 1}
    methods = ["lora", {"adalora": rank}, "houlsby", "full", "features"]
    own = settings(family_folder, csv_folder, methods=methods, epochs=2, keep_checkpoints=4, cohort="off")
    results = Study(folder, **own).run()
    assert all(result["status"] == "ok" for result in results), [result["error"] for result in results]
    return folder


def run_of(study: Path, method: str) -> Path:
    return next(path for path in (study / "runs").iterdir() if f"-{method}" in path.name)


def test_the_last_kept_step_is_the_adapter(study: Path) -> None:
    folder = run_of(study, "lora")
    files = sorted((folder / "checkpoints").iterdir())
    assert [int(path.stem[5:]) for path in files] == [0, 5, 10, 15, 20]  # 60 rows of 6 a step, twice
    kept, saved = read_tensors(files[-1]), read_tensors(folder / "adapter" / "adapter_model.safetensors")
    assert sorted(value.sum().item() for value in kept.values()) == pytest.approx(
        sorted(value.sum().item() for value in saved.values())
    )


def test_what_is_measured_is_what_the_tensors_are(study: Path) -> None:
    folder = run_of(study, "lora")
    moved = afina.inspect_run(folder)
    tensors = read_tensors(folder / "checkpoints" / "step-0000020.safetensors")
    place = next(place for place in moved.places if place.role == "query" and place.layer == 1)
    start = f"branches.{place.name.replace('.', '/')}."
    product = tensors[f"{start}b"] @ tensors[f"{start}a"]
    scale = afina.load(folder / "adapter").method
    change = product * (scale.alpha / scale.rank)  # type: ignore[attr-defined]
    last = place.steps[-1]
    assert last.norm == pytest.approx(float(change.norm()), rel=1e-3)
    assert np.allclose(last.singular, torch.linalg.svdvals(change)[:2], rtol=1e-3)
    assert (place.steps[0].norm, place.steps[0].rank, last.rank) == (0, 0, 2)
    assert last.cosine == pytest.approx(1, abs=1e-5)
    assert place.steps[0].cosine is None
    assert place.steps[0].gradient is None
    assert all(at.gradient is not None and 0 < at.gradient <= 1.0001 for at in place.steps[1:])  # gradient_clip


def test_the_ranks_that_were_given(study: Path) -> None:
    """AdaLoRA begins with four each and leaves two each on average: those that are left are seen, place by place."""
    moved = afina.inspect_run(run_of(study, "adalora"))
    ranks = [place.steps[-1].rank for place in moved.places if place.role != "head"]
    assert sum(rank or 0 for rank in ranks) == 2 * len(ranks)
    assert max(rank or 0 for place in moved.places for at in place.steps for rank in [at.rank]) > 2


def test_methods_without_an_equal_layer_and_whole_models(study: Path, tmp_path: Path) -> None:
    for method in ("houlsby", "full"):
        page = tmp_path / f"{method}.html"
        done = command("inspect", run_of(study, method), "--page", page, "--format", "json")
        assert done.returncode == 0, done.stderr
        places = json.loads(done.stdout)["places"]
        assert {"head"} < {place["role"] for place in places}
        for place in places:
            norms = [at["norm"] for at in place["steps"]]
            assert norms[0] == 0
            assert norms[-1] > 0
        text = page.read_text()
        assert "<polyline" in text
        # What a line's hue stands for is said.
        assert all(f"</i>{role}</span>" in text for role in {place["role"] for place in places})
        assert "<script" not in text
        assert "http" not in text


def test_places_are_told_apart_in_a_narrow_terminal(study: Path) -> None:
    names = [f"encoder.layer.{layer}.attention.self.{name}" for layer in (0, 1) for name in ("query", "value")]
    assert short_names([*names, "head"]) == ["0.query", "0.value", "1.query", "1.value", "head"]
    # Of IA3, whose places have names of other lengths: they all read alike where a terminal cut them.
    mixed = [f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in ("self.key", "self.value", "dense")]
    assert short_names([*mixed, "head"]) == ["0.key", "0.value", "0.dense", "1.key", "1.value", "1.dense", "head"]
    assert short_names(["a.b"]) == ["a.b"]
    assert short_names([]) == []
    shown = command("inspect", run_of(study, "lora")).stdout
    assert {"0.query", "1.value"} <= set(shown.split())
    assert (
        moved_rows(afina.inspect_run(run_of(study, "lora")), Words())[0][-1] == "cosine at step 10"
    )  # of 0, 5, 10, 15, 20


def test_folders_without_steps_are_one_sentence(study: Path, family_folder: Loader, tmp_path: Path) -> None:
    refused(command("inspect", tmp_path), "kept no steps", "keep_checkpoints")
    refused(command("inspect", run_of(study, "features")), "features is fitted at once, and takes none")
    with pytest.raises(UsageError, match="kept no steps"):
        afina.inspect_run(study)
    broken = tmp_path / "run" / "checkpoints"
    broken.mkdir(parents=True)
    for name in ("step-0000000.safetensors", "step-0000001.safetensors"):
        (broken / name).write_bytes(b"no tensors")
    refused(command("inspect", tmp_path / "run"), "no adapter yet")


def test_a_cohort_keeps_each_members_steps(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    own = settings(family_folder, csv_folder, methods=["lora", "ia3"], epochs=2, keep_checkpoints=2, cohort=2)
    study = Study(tmp_path / "out", **own)
    assert [result["cohort_size"] for result in study.run()] == [2, 2]
    for method in ("lora", "ia3"):
        moved = afina.inspect_run(run_of(study.directory, method))
        assert moved.steps[0] == 0
        assert moved.steps[-1] == 20

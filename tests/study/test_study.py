"""Studies end to end on a small model: what they leave, how they go on after a kill, what they do when a run fails."""

import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from afina.errors import UsageError
from afina.methods.base import make_method
from afina.methods.rates import RateRule
from afina.results.predictions import read_predictions
from afina.results.results_jsonl import read_results
from afina.study.execute import serve
from afina.study.executors.processes import Processes
from afina.study.study import Study
from commands import afina
from families import TEXT
from kills import AT_EVERY_STEP, kill_workers, killed_and_resumed, sleep, start_study, wait_for_step
from readied import start_clean_server
from studies import settings, write_csv

Loader = Callable[[str], Path]
SOME = ("deberta-v2", "gpt2", "t5")

CONTRACT = """
run status error model dataset task method method_config seed epochs batch_size max_length precision device
trainable_parameters total_parameters trainable_percent train_seconds step_seconds tokens_per_second
peak_memory_bytes mean_memory_bytes energy_joules cohort_size metric test_metric train_metric history adapter
versions started_at measured fingerprint
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def finished(family_folder: Loader, csv_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of every kind of method, two seeds, one method that cannot run."""
    out = tmp_path_factory.mktemp("study") / "out"
    methods = ["full", "head", "features", "lora", "adalora", "ia3", "bitfit", {"lora": {"rank": 500}}]
    study = settings(family_folder, csv_folder, methods=methods, seeds=2)
    Study(out, executor=Processes(), **study).run()
    return out


def test_a_study_leaves_what_the_contract_says(finished: Path) -> None:
    results = read_results(finished)
    good = [result for result in results if result["status"] == "ok"]
    assert len(good) == 14
    for result in good:
        assert not [key for key in CONTRACT if key not in result]
        assert (finished / result["adapter"] / "adapter_config.json").is_file()
        assert (finished / result["adapter"] / "adapter_model.safetensors").is_file()
        predictions = read_predictions(finished, result)
        accuracy = (predictions.prediction == predictions.label).mean()
        assert accuracy == pytest.approx(result["test_metric"])
        assert predictions.scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert result["peak_memory_bytes"] > 0
        assert result["train_seconds"] > 0
        epochs = [entry["epoch"] for entry in result["history"]]
        assert epochs == ([2] if result["method"] == "features" else [1, 2])
        assert result["label_names"] == ["complaint", "praise"]
    resolved = yaml.safe_load((finished / "study.yaml").read_text())["resolved"]
    assert resolved["versions"]["torch"]
    assert resolved["hardware"]["cores"] >= 1
    assert len({result["fingerprint"]["digest"] for result in good}) == 1


def test_training_seconds_are_the_steps_alone(finished: Path) -> None:
    for result in read_results(finished):
        if result["status"] == "ok" and result["step_seconds"]:
            assert result["steps"] == 2 * 10
            assert result["train_seconds"] == pytest.approx(result["history"][-1]["seconds"])


def test_methods_learn_and_differ_by_seed(finished: Path) -> None:
    from safetensors.torch import load_file

    results = {r["run"]: r for r in read_results(finished) if r["status"] == "ok"}
    assert max(r["test_metric"] for r in results.values()) > 0.8
    weights = [
        load_file(finished / r["adapter"] / "adapter_model.safetensors")
        for r in results.values()
        if r["method_label"] == "lora"
    ]
    assert any((weights[0][name] != weights[1][name]).any() for name in weights[0])


def test_a_failing_method_is_recorded_and_the_study_goes_on(finished: Path) -> None:
    failed = [result for result in read_results(finished) if result["status"] == "failed"]
    assert [result["seed"] for result in failed] == [0, 1]
    assert "rank 500 is larger than the layer" in failed[0]["error"]


def test_a_finished_study_is_not_done_again(finished: Path, family_folder: Loader, csv_folder: Path) -> None:
    before = {r["run"]: r["started_at"] for r in read_results(finished) if r["status"] == "ok"}
    seen = []
    methods = ["full", "head", "features", "lora", "adalora", "ia3", "bitfit", {"lora": {"rank": 500}}]
    Study(finished, **settings(family_folder, csv_folder, methods=methods, seeds=2)).run(
        lambda event: seen.append(event)
    )
    assert before == {r["run"]: r["started_at"] for r in read_results(finished) if r["status"] == "ok"}
    assert {run.label for event in seen if event["kind"] == "unit" for run in event["runs"]} == {"lora(rank=500)"}


def test_the_folder_of_another_study_is_refused(finished: Path, family_folder: Loader, csv_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"holds another study .it differs in .*epochs"):
        Study(finished, **settings(family_folder, csv_folder, epochs=5)).run()


def test_a_folder_from_before_a_setting_was_there_goes_on(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["head"], epochs=1)
    Study(tmp_path / "out", **study).run()
    path = tmp_path / "out" / "study.yaml"
    stored = yaml.safe_load(path.read_text())
    del stored["study"]["mix_datasets"]
    path.write_text(yaml.safe_dump(stored))
    seen: list[Any] = []
    Study(tmp_path / "out", **study).run(seen.append)
    assert not [event for event in seen if event["kind"] == "unit"]
    with pytest.raises(UsageError, match=r"it differs in mix_datasets"):
        Study(tmp_path / "out", **study, mix_datasets=True).run()


def test_a_study_refused_before_it_began_leaves_its_folder_free(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["head"], epochs=1)
    with pytest.raises(UsageError, match="does not exist"):
        Study(tmp_path / "out", **study | {"dataset": "gone.csv"}).run()
    (result,) = Study(tmp_path / "out", **study).run()
    assert result["status"] == "ok"
    assert yaml.safe_load((tmp_path / "out" / "study.yaml").read_text())["study"]["dataset"][0]["path"] == str(
        csv_folder
    )
    with pytest.raises(UsageError, match="holds another study"):
        Study(tmp_path / "out", **study | {"dataset": "gone.csv"}).run()


def test_a_folder_with_other_files_is_refused(tmp_path: Path, family_folder: Loader, csv_folder: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(UsageError, match=r"is not empty and holds no study .it has thesis\.doc"):
        Study(tmp_path, **settings(family_folder, csv_folder)).run()
    assert (tmp_path / "thesis.doc").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir() if path.name == ".lock"] == []


def test_a_result_that_a_kill_kept_from_the_list_is_entered(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    out = tmp_path / "out"
    study = settings(family_folder, csv_folder, methods=["head"])
    Study(out, **study).run()
    (out / "results.jsonl").write_text('{"run": "torn')
    seen: list[Any] = []
    (result,) = Study(out, **study).run(lambda event: seen.append(event["kind"]))
    assert result["status"] == "ok"
    assert "run" not in seen


def test_regression_and_pairs(tmp_path: Path, family_folder: Loader) -> None:
    write_csv(tmp_path / "scores.csv", 80, 0, number=True)
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    rows = [f"{line.rsplit(',', 1)[0]},the second text,{line.rsplit(',', 1)[1]}" for line in lines[1:]]
    (tmp_path / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *rows]) + "\n")
    study = settings(
        family_folder, tmp_path, methods=["lora", "features", {"features": {"model": "forest", "trees": 10}}]
    )
    study |= {"dataset": str(tmp_path / "pairs.csv"), "epochs": 15}
    results = Study(tmp_path / "out", **study).run()
    for result in results:
        assert result["status"] == "ok", result["error"]
        assert result["task"] == "regression"
        assert result["metric"] == "pearson"
        assert set(result["test_metrics"]) == {"mse", "r2", "pearson", "spearman"}
    assert results[0]["test_metric"] > 0.5


def test_a_diverging_run_says_so(tmp_path: Path, family_folder: Loader, csv_folder: Path) -> None:
    study = settings(family_folder, csv_folder, methods=[{"lora": {"learning_rate": 1e30}}, "head"], gradient_clip=None)
    left: list[Any] = []
    bad, good = Study(tmp_path / "out", **study).run(lambda e: left.append(e["why"]) if e["kind"] == "left" else None)
    assert left == ["diverged"]
    assert bad["status"] == "failed"
    assert re.search(r"The loss became (nan|inf) by step [1-9];", bad["error"])  # not when the epoch of ten is over
    assert "set a lower learning_rate" in bad["error"]
    assert good["status"] == "ok"


@pytest.mark.usefixtures("processes")
def test_a_killed_run_process_is_recorded(tmp_path: Path, family_folder: Loader, csv_folder: Path) -> None:
    def kill(event: Any) -> None:
        if event["kind"] == "epoch":
            kill_workers()

    study = settings(family_folder, csv_folder, epochs=300)
    (result,) = Study(tmp_path / "out", **study).run(kill)
    assert result["status"] == "failed"
    assert "ended by SIGKILL" in result["error"]


KILLED = [("adalora", (15, 35), False), ("full", (15,), True)]


# The command starts two interpreters; it is interrupted below, and kills do the same to both.
@pytest.mark.always
@pytest.mark.covered(("method", "kills", "command"), KILLED[:1], KILLED)
def test_killed_and_resumed_is_as_if_undisturbed(
    method: str, kills: Sequence[int], command: bool, tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    """kill -9 in the middle, once or twice; the weights at the end are bit for bit those of a run left alone."""
    killed_and_resumed(
        settings(family_folder, csv_folder, methods=[method], epochs=5), tmp_path, kills, command=command
    )


@pytest.mark.covered("families", [SOME], [SOME, TEXT], ids=len)
def test_text_architectures_are_planned_and_studied(
    families: tuple[str, ...], tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    from afina.config import StudyConfig
    from afina.study.estimate import estimate_study

    study = settings(family_folder, csv_folder, epochs=1)
    study["model"] = [str(family_folder(family)) for family in families]
    estimates, failed = estimate_study(StudyConfig.parse(study, "study"))
    assert not failed
    assert len(estimates) == len(families)
    results = Study(tmp_path / "out", **study).run()
    assert not [(result["model"], result["error"]) for result in results if result["status"] != "ok"]
    planned = {(estimate.run.model, estimate.run.label): estimate.trainable_parameters for estimate in estimates}
    assert all(planned[r["model"], r["method_label"]] == r["trainable_parameters"] for r in results)


def test_early_stopping_keeps_the_best_epoch_also_after_a_kill(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["full"], epochs=40, early_stopping=3, learning_rate=3e-3)
    (result,) = killed_and_resumed(study, tmp_path, [10])
    history = [entry["validation_accuracy"] for entry in result["history"]]
    assert len(history) < 40
    assert result["best_epoch"] == history.index(max(history)) + 1 == len(history) - 3
    assert result["test_metric"] == result["history"][result["best_epoch"] - 1]["test_accuracy"]
    predictions = read_predictions(tmp_path / "killed", result)
    assert (predictions.label == predictions.prediction).mean() == pytest.approx(result["test_metric"])
    assert any("held out as development split" in note for note in _notes(tmp_path / "whole"))


def _notes(folder: Path) -> list[str]:
    (entry,) = yaml.safe_load((folder / "study.yaml").read_text())["resolved"]["data"].values()
    return list(entry["notes"])


def test_methods_take_their_own_schedule_and_the_studys_else(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    methods = [{"lora": {"schedule": "constant", "b_rate": 4}}, {"full": {"layer_decay": 0.5}}, "dora"]
    study = settings(
        family_folder, csv_folder, methods=methods, epochs=1, schedule="cosine", warmup=0.1, weight_decay=0.01,
        gradient_clip=None, label_smoothing=0.1, class_weights="balanced", gradient_checkpointing=True,
    )  # fmt: skip
    lora, full, dora = (r["method_config"] for r in Study(tmp_path / "out", **study).run() if r["status"] == "ok")
    assert (lora["schedule"], lora["warmup"], lora["gradient_clip"], lora["b_rate"]) == ("constant", 0.1, None, 4.0)
    assert (dora["schedule"], dora["weight_decay"], full["layer_decay"]) == ("cosine", 0.01, 0.5)
    record = json.loads(next((tmp_path / "out").rglob("afina.json")).read_text())
    assert record["task"]["smoothing"] == 0.1
    assert len(record["task"]["weights"]) == len(record["task"]["label_names"])


@pytest.mark.usefixtures("processes")
def test_interrupted_says_how_to_go_on_and_the_folders_own_file_does(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["full"], epochs=6, **AT_EVERY_STEP)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    process = start_study(tmp_path, stderr=subprocess.PIPE)
    wait_for_step(tmp_path / "killed", 15, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said.decode()
    again = afina("study", tmp_path / "killed" / "study.yaml", "--out", tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    (resumed,) = read_results(tmp_path / "killed")
    assert resumed["resumed"] == 1


def test_a_run_ends_with_its_parent() -> None:
    """Also while it has nothing to say, or a study that goes on at once would find its folder taken."""
    start_clean_server()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(sleep, None, theirs))
    process.start()
    theirs.close()
    assert ours.recv() == ("event", {"kind": "asleep"})
    ours.close()
    process.join(30)
    assert process.exitcode == 1


@pytest.mark.usefixtures("processes")
def test_a_script_without_a_main_guard_runs_once(tmp_path: Path, family_folder: Loader, csv_folder: Path) -> None:
    study = settings(family_folder, csv_folder, methods=["head"], epochs=1)
    script = tmp_path / "script.py"
    script.write_text(f"import afina\nprint('begun')\nafina.Study('out', **{study!r}).run()\n")
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("begun") == 1
    assert read_results(tmp_path / "out")[0]["status"] == "ok"


def test_every_method_gets_the_same_rates_to_choose_from(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    methods = ["lora", {"ia3": {"learning_rate": 0.02}}, "features", "full"]
    study = settings(
        family_folder, csv_folder, methods=methods, seeds=2, learning_rate="search", search_factors=[0.1, 10], epochs=1
    )
    seen: list[Any] = []
    results = {(r["method"], r["seed"]): r for r in Study(tmp_path / "out", **study).run(seen.append)}
    assert all(result["status"] == "ok" for result in results.values())
    trials = {r["method_label"]: r for r in read_results(tmp_path / "out" / "search")}
    assert {(r["method"], r["method_config"]["learning_rate"]) for r in trials.values()} == {
        (name, float(f"{factor * auto_rate(name, steps=9, width=32):.3g}"))
        for name in ("full", "lora")
        for factor in (0.1, 10)
    }
    (note,) = {
        event["notes"]
        for event in seen
        if event["kind"] == "prepared" and any("split has" in n for n in event["notes"])
    }
    assert note[-1] == "the development split has 6 rows: what is chosen on so few is chosen by chance"
    # The trials looked at a tenth of the train rows, and never at the test rows.
    assert {(r["train_rows"], r["test_rows"], r["seed"]) for r in trials.values()} == {(54, 6, 0)}
    assert results["lora", 1]["train_rows"] == 60
    for name in ("lora", "full"):
        best = max((r for r in trials.values() if r["method"] == name), key=lambda r: r["test_metric"])
        for seed in (0, 1):
            result = results[name, seed]
            assert result["method_config"]["learning_rate"] == best["method_config"]["learning_rate"]
            assert result["rate"] == "searched"
    assert (results["ia3", 0]["rate"], results["features", 0]["rate"]) == ("set", "default")
    assert "(searched)" in (tmp_path / "out" / _table(tmp_path / "out")).read_text()
    # What was chosen stays: some runs may be finished at it.
    shutil.rmtree(tmp_path / "out" / "search")
    seen.clear()
    again = {(r["method"], r["seed"]): r for r in Study(tmp_path / "out", **study).run(seen.append)}
    assert not [event for event in seen if event["kind"] in ("unit", "search")]
    assert again == results


def test_auto_goes_by_the_steps_and_stays_what_it_was(
    tmp_path: Path, family_folder: Loader, csv_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["lora", {"head": {"learning_rate": 0.02}}, {"ia3": {"rate_factor": 2}}, "features"]
    study = settings(family_folder, csv_folder, methods=methods, learning_rate="auto", epochs=2)
    results = {r["method"]: r for r in Study(tmp_path / "out", **study).run()}
    rates = {name: (r["method_config"]["learning_rate"], r["rate"]) for name, r in results.items()}
    double = float(f"{2 * auto_rate('ia3', steps=20, width=32):.3g}")
    assert rates == {
        "lora": (auto_rate("lora", steps=20, width=32), "default"), "head": (0.02, "set"), "ia3": (double, "set"),
        "features": (None, "default"),
    }  # fmt: skip
    record = json.loads((tmp_path / "out" / results["lora"]["adapter"] / "afina.json").read_text())
    assert record["settings"]["learning_rate"] == rates["lora"][0]
    # A later Afina may have another rule: what a study began with it ends with.
    monkeypatch.setattr("afina.methods.lora.LoRA.rates", RateRule(1.0))
    shutil.rmtree(tmp_path / "out" / "runs")
    (tmp_path / "out" / "results.jsonl").unlink()
    again = {r["method"]: r["method_config"]["learning_rate"] for r in Study(tmp_path / "out", **study).run()}
    assert again == {name: rate for name, (rate, _) in rates.items()}


def auto_rate(name: str, *, steps: int, width: int) -> float:
    rate = make_method(name, {}).with_rate(steps=steps, width=width).learning_rate
    assert rate is not None
    return rate


def _table(folder: Path) -> str:
    from afina.report.write import write_report

    write_report(folder)
    return str(next((folder / "tables").glob("comparison*.md")).relative_to(folder))

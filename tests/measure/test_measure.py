"""Measuring: memory by phase, energy from counters, metrics as the libraries define them, fingerprints."""

import json
import mmap
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afina.errors import UsageError
from afina.measure import memory
from afina.measure.energy import EnergyMeter
from afina.measure.hardware import _gpus_listed, fingerprint, git_state, hardware, versions
from afina.measure.memory import MemoryMonitor
from afina.measure.metrics.base import METRICS, Answers, higher_is_better, metric_named, metrics_of

LARGE = 120_000_000
NEVER = 1000.0  # an interval in which no background reading falls


def touched(count: int) -> np.ndarray:
    """Return numbers in pages of their own: what malloc has kept of other tests' would be no new memory."""
    numbers = np.frombuffer(mmap.mmap(-1, 8 * count))
    numbers[:] = 1
    return numbers


def peaks_of(monitor: MemoryMonitor) -> dict[str, int]:
    return {name: phase["peak_bytes"] for name, phase in monitor.report()["memory"].items()}


def test_memory_is_counted_in_its_phase() -> None:
    with MemoryMonitor(interval_seconds=0.01) as monitor:
        with monitor.phase("load"):
            kept = touched(LARGE // 8)
        with monitor.phase("train"):
            passing = touched(LARGE // 4)
            del passing
        with monitor.phase("evaluate"):
            pass
    report, peaks = monitor.report(), peaks_of(monitor)
    assert peaks["load"] == pytest.approx(LARGE, rel=0.3)
    assert peaks["train"] == pytest.approx(3 * LARGE, rel=0.3)
    assert peaks["evaluate"] < 2 * LARGE
    assert report["peak_memory_bytes"] == peaks["train"]
    assert 0 < report["mean_memory_bytes"] <= peaks["train"]
    assert kept.sum() > 0


def test_phases_that_alternate_keep_their_own_peaks() -> None:
    with MemoryMonitor(interval_seconds=NEVER) as monitor:
        for epoch in range(2):
            with monitor.phase("train"):
                passing = touched(LARGE // 8)
                del passing
            with monitor.phase("evaluate"):
                passing = touched(LARGE // 4 if epoch == 0 else 8)
                del passing
    peaks = peaks_of(monitor)
    if not memory._CLEAR.exists():
        pytest.skip("this system keeps no peak of its own")
    assert peaks["train"] == pytest.approx(LARGE, rel=0.3)
    assert peaks["evaluate"] == pytest.approx(2 * LARGE, rel=0.3)


def test_without_the_systems_own_peak_readings_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    with MemoryMonitor(interval_seconds=NEVER) as monitor, monitor.phase("train"):
        kept = touched(LARGE // 8)
    assert peaks_of(monitor)["train"] == pytest.approx(LARGE, rel=0.3)
    assert kept.sum() > 0


@pytest.mark.parametrize("exact", [True, False])
def test_a_phases_end_is_a_sample_only_where_there_is_no_other(
    exact: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not exact:
        monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    with MemoryMonitor(interval_seconds=NEVER) as monitor:
        for _ in range(3):
            with monitor.phase("train"):
                pass
            with monitor.phase("evaluate"):
                pass
    assert monitor.report()["memory_samples"] == 1
    assert monitor.report()["mean_memory_bytes"] is not None


def test_a_phase_within_another_is_refused() -> None:
    with (
        MemoryMonitor(interval_seconds=NEVER) as monitor,
        monitor.phase("train"),
        pytest.raises(AssertionError, match="'evaluate' began within 'train'"),
        monitor.phase("evaluate"),
    ):
        pass


def test_a_run_that_has_not_trained_has_no_figures() -> None:
    report = MemoryMonitor().report()
    assert report["peak_memory_bytes"] is None
    assert report["mean_memory_bytes"] is None


def test_a_resumed_monitor_keeps_what_was_measured() -> None:
    with MemoryMonitor(interval_seconds=NEVER) as monitor, monitor.phase("train"):
        assert touched(LARGE // 8).sum() > 0
    state = json.loads(json.dumps(monitor.state()))
    again = MemoryMonitor(baseline_bytes=monitor.baseline, interval_seconds=NEVER)
    again.load_state(state)
    assert again.report() == monitor.report()
    assert again.state() == state
    again.load_state(state)
    assert again.report()["memory_samples"] == 2 * monitor.report()["memory_samples"]
    assert again.report()["mean_memory_bytes"] == monitor.report()["mean_memory_bytes"]
    with again, again.phase("train"):
        pass
    assert again.report()["peak_memory_bytes"] >= monitor.report()["peak_memory_bytes"]


@pytest.mark.gpu
def test_gpu_memory_is_counted_in_its_phase() -> None:
    torch = pytest.importorskip("torch")
    with MemoryMonitor("cuda", interval_seconds=0.01) as monitor:
        with monitor.phase("load"):
            kept = torch.ones(LARGE // 4, device="cuda")
        with monitor.phase("train"):
            passing = torch.ones(LARGE // 2, device="cuda")
            del passing
        torch.cuda.empty_cache()
        with monitor.phase("evaluate"):
            pass
    phases = monitor.report()["memory"]
    allocated = {name: phase["peak_allocated_bytes"] for name, phase in phases.items()}
    assert allocated["load"] == pytest.approx(LARGE, rel=0.05)
    assert allocated["train"] == pytest.approx(3 * LARGE, rel=0.05)
    assert allocated["evaluate"] == pytest.approx(LARGE, rel=0.05)
    for phase in phases.values():
        assert phase["peak_allocated_bytes"] <= phase["peak_reserved_bytes"] <= phase["peak_bytes"]
    assert kept.sum() > 0


class Domains:
    """A tree as /sys/class/powercap is."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, domain: str, joules: float, name: str = "package-0") -> None:
        folder = self.root / domain
        folder.mkdir(exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")


@pytest.fixture
def domains(tmp_path: Path) -> Domains:
    return Domains(tmp_path)


def test_energy_adds_up_over_intervals_and_counters_that_wrap(domains: Domains) -> None:
    domains.set("intel-rapl:0", 9)
    meter = EnergyMeter(rapl=domains.root)
    with meter:
        domains.set("intel-rapl:0", 0.5)
    assert meter.joules == pytest.approx(1.5)
    domains.set("intel-rapl:0", 2)  # between two intervals, so not this run's
    with meter:
        domains.set("intel-rapl:0", 4)
    meter.stop()
    assert meter.joules == pytest.approx(3.5)


def test_energy_counts_each_package_once(domains: Domains) -> None:
    parts = {
        "intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:1": "package-1", "intel-rapl:2": "psys",
    }  # fmt: skip
    for domain, name in parts.items():
        domains.set(domain, 0, name)
    with EnergyMeter(rapl=domains.root) as meter:
        for domain, name in parts.items():
            domains.set(domain, 2, name)
    assert meter.joules == pytest.approx(4)


def test_energy_of_an_interval_longer_than_the_counter_runs(domains: Domains) -> None:
    domains.set("intel-rapl:0", 0)
    with EnergyMeter(rapl=domains.root) as meter:
        for joules in (6, 2, 8, 4):
            domains.set("intel-rapl:0", joules)
            meter.update()
    assert meter.joules == pytest.approx(24)


def test_energy_is_read_in_the_background(domains: Domains, monkeypatch: pytest.MonkeyPatch) -> None:
    domains.set("intel-rapl:0", 0)
    meter, read = EnergyMeter(rapl=domains.root, interval_seconds=0.001), threading.Event()
    monkeypatch.setattr(meter, "update", read.set)
    meter.start()
    assert read.wait(timeout=30)
    meter.stop()
    assert "energy" not in {thread.name for thread in threading.enumerate()}


def test_energy_that_cannot_be_measured_is_none(tmp_path: Path) -> None:
    meter = EnergyMeter(rapl=tmp_path)
    with meter:
        pass
    assert meter.joules is None
    meter.add(5.0)
    assert meter.joules is None


def test_energy_is_none_where_a_part_of_it_is_unknown(domains: Domains) -> None:
    earlier: float | None
    for earlier, total in ((5.0, 6.0), (None, None)):
        domains.set("intel-rapl:0", 0)
        resumed = EnergyMeter(rapl=domains.root)
        resumed.add(earlier)
        with resumed:
            domains.set("intel-rapl:0", 1)
        assert resumed.joules == total

    lost = EnergyMeter(rapl=domains.root)
    with lost:
        (domains.root / "intel-rapl:0" / "energy_uj").unlink()
    assert lost.joules is None

    domains.set("intel-rapl:1", 0, "package-1")
    assert EnergyMeter(rapl=domains.root).joules is None


@pytest.mark.gpu
def test_gpu_energy_grows_with_work() -> None:
    torch = pytest.importorskip("torch")
    meter = EnergyMeter("cuda")
    if meter.joules is None:
        pytest.skip("NVML tells no energy here")
    values = torch.ones(4096, 4096, device="cuda")
    with meter:
        for _ in range(200):
            values = (values @ values).clamp(max=1.0)
        torch.cuda.synchronize()
    assert meter.joules > 0


def measured(kind: str, labels: Any, predictions: Any, outputs: int = 2) -> dict[str, float]:
    """All metrics of a kind that look at labels and predictions alone."""
    answers = Answers(np.array(labels), np.array(predictions), np.empty((len(labels), 0)))
    return {name: own.value(answers) for name, own in metrics_of(kind, outputs).items() if not own.of_scores}


@pytest.mark.parametrize("classes", [2, 4, 7])
def test_classification_metrics_are_scikit_learns(classes: int) -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef

    random = np.random.default_rng(classes)
    labels, predictions = random.integers(0, classes, 301), random.integers(0, classes, 301)
    found = measured("classes", labels, predictions, classes)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, predictions))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predictions))


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([0, 0, 0], [0, 0, 0]), ([0, 1, 2], [1, 1, 1]), ([2, 2, 2], [0, 1, 2]), ([0, 1, 1], [2, 2, 2]), ([1], [1])],
)
def test_classification_metrics_where_classes_are_missing(labels: list[int], predictions: list[int]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    found = measured("classes", labels, predictions, 3)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro", zero_division=0))
    assert found["mcc"] == 0.0


def test_regression_metrics_are_scipys() -> None:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    random = np.random.default_rng(0)
    labels = np.round(random.normal(size=200), 1)
    predictions = labels + random.normal(size=200)
    found = measured("numbers", labels, predictions)
    assert found["mse"] == pytest.approx(mean_squared_error(labels, predictions))
    assert found["r2"] == pytest.approx(r2_score(labels, predictions))
    assert found["pearson"] == pytest.approx(pearsonr(labels, predictions).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(labels, predictions).statistic)


@pytest.mark.parametrize("size", [1, 3, 7, 49, 200])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.7])
def test_undefined_regression_metrics_are_zero(size: int, value: float) -> None:
    # The mean of equal numbers is rounded: what is left must not be taken for a spread.
    constant, varied = np.full(size, value), np.linspace(0, 1, size)
    for labels, predictions in ((constant, varied), (varied, constant), (constant, constant)):
        found = measured("numbers", labels, predictions)
        assert found["pearson"] == found["spearman"] == 0.0
        assert found["r2"] == 0.0 or labels is varied


def test_less_is_better_for_errors_only() -> None:
    assert not higher_is_better("mse")
    assert all(map(higher_is_better, ("accuracy", "macro_f1", "mcc", "r2", "pearson", "spearman")))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name: str) -> None:
    cls = METRICS[name]
    assert cls.of and cls.__doc__
    assert cls.portuguese
    assert type(metric_named(name)) is cls


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Unknown metric 'acuracy'; did you mean 'accuracy'\?"):
        metric_named("acuracy")
    assert metric_named("f1_PER").part == "PER"
    with pytest.raises(UsageError, match="Unknown metric 'mcc_PER'"):
        metric_named("mcc_PER")


def test_fingerprints_differ_where_comparison_would_mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fingerprint(data="a", evaluator="1", protocol={"epochs": 3, "batch_size": 6})
    json.dumps(one)
    assert one["digest"] == fingerprint(data="a", evaluator="1", protocol={"batch_size": 6, "epochs": 3})["digest"]
    for data, evaluator, epochs in (("b", "1", 3), ("a", "2", 3), ("a", "1", 4)):
        protocol = {"epochs": epochs, "batch_size": 6}
        assert fingerprint(data=data, evaluator=evaluator, protocol=protocol)["digest"] != one["digest"]
    changes = (("cpu", "another", True), ("cores", 99, True), ("memory_bytes", 1, False), ("os", "another", False))
    for key, value, matters in changes:
        other = {**hardware(), key: value}
        monkeypatch.setattr("afina.measure.hardware.hardware", lambda other=other: other)
        digest = fingerprint(data="a", evaluator="1", protocol={"epochs": 3, "batch_size": 6})["digest"]
        assert (digest != one["digest"]) is matters, key
        monkeypatch.undo()


def test_a_fingerprint_is_of_plain_values_only() -> None:
    with pytest.raises(TypeError):
        fingerprint(data="a", evaluator="1", protocol={"thing": object()})


def test_hardware_and_versions_tell_what_is_here() -> None:
    found = hardware()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 1e8
    assert {"afina", "numpy", "python", "torch", "transformers"} <= set(versions())


def test_gpus_are_read_from_the_drivers_own_tool() -> None:
    table = "name, memory.total [MiB], driver_version\nTesla T4, 15360 MiB, 550.54.15\nA, B, [N/A], 1.2\n"
    assert _gpus_listed(table) == [
        {"name": "Tesla T4", "memory_bytes": 15360 * 2**20, "driver": "550.54.15"},
        {"name": "A, B", "memory_bytes": None, "driver": "1.2"},
    ]
    assert _gpus_listed("") == []


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_state_tells_changes(tmp_path: Path) -> None:
    assert git_state(tmp_path / "absent") is None

    def git(*arguments: str) -> None:
        own = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *own, "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--message", "one")
    clean = git_state(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "file").write_text("two")
    git_state.cache_clear()
    assert git_state(tmp_path) == {**clean, "dirty": True}


@pytest.mark.parametrize("seed", range(4))
def test_the_calibration_error_is_of_scikit_learns_bins(seed: int) -> None:
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.ones(3), 400)
    scores[0] = [0.6, 0.2, 0.2]  # at the edge of two bins
    predictions = scores.argmax(axis=1)
    labels = np.where(random.random(400) < 0.6, predictions, random.integers(0, 3, 400))
    answers, sure = Answers(labels, predictions, scores), scores.max(axis=1)
    right, said = calibration_curve(labels == predictions, sure, n_bins=15, strategy="uniform")
    bins = np.searchsorted(np.linspace(0, 1, 16)[1:-1], sure)
    counts = np.bincount(bins, minlength=15)
    counts = counts[counts > 0]
    error = metric_named("ece")
    assert error.value(answers) == pytest.approx((counts * np.abs(right - said)).sum() / 400)
    assert not error.higher_is_better and higher_is_better("balanced_accuracy")
    diagram = error.diagram(answers)
    assert diagram is not None
    np.testing.assert_allclose(diagram.points, np.stack([said, right, counts], axis=1))
    some = random.integers(0, 400, 100)
    drawn = Answers(labels[some], predictions[some], scores[some])
    assert error.over(answers)(some) == pytest.approx(error.value(drawn))


def test_sure_and_always_right_is_calibrated() -> None:
    labels = np.array([0, 1, 1])
    assert metric_named("ece").value(Answers(labels, labels, np.eye(2)[labels])) == 0.0
    assert metric_named("ece").value(Answers(1 - labels, labels, np.eye(2)[labels])) == 1.0

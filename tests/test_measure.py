"""Measuring: memory by phase, energy from counters, metrics as the libraries define them, fingerprints."""

from pathlib import Path

import numpy as np
import pytest

from afina.measure.energy import EnergyMeter
from afina.measure.hardware import fingerprint, hardware, versions
from afina.measure.memory import MemoryMonitor
from afina.measure.metrics import classification_metrics, higher_is_better, regression_metrics

LARGE = 120_000_000


def test_memory_is_counted_in_its_phase() -> None:
    with MemoryMonitor(interval_seconds=0.01) as monitor:
        with monitor.phase("load"):
            kept = np.ones(LARGE // 8)
        with monitor.phase("train"):
            passing = np.ones(LARGE // 4)
            del passing
        with monitor.phase("evaluate"):
            pass
    report = monitor.report()
    peaks = {name: phase["peak_bytes"] for name, phase in report["memory"].items()}
    assert peaks["load"] == pytest.approx(LARGE, rel=0.3)
    assert peaks["train"] == pytest.approx(3 * LARGE, rel=0.3)
    assert peaks["evaluate"] < 2 * LARGE
    assert report["peak_memory_bytes"] == peaks["train"]
    assert 0 < report["mean_memory_bytes"] <= peaks["train"]
    assert kept.sum() > 0


def test_a_resumed_monitor_keeps_what_was_measured() -> None:
    with MemoryMonitor() as monitor, monitor.phase("train"):
        assert np.ones(LARGE // 8).sum() > 0
    with MemoryMonitor(baseline_bytes=monitor.baseline) as again:
        again.load_state(monitor.state())
        with again.phase("train"):
            pass
    assert again.report()["peak_memory_bytes"] >= monitor.report()["peak_memory_bytes"]
    assert again.report()["memory_samples"] >= monitor.report()["memory_samples"]


def test_energy_from_counters_that_wrap(tmp_path: Path) -> None:
    package, part = tmp_path / "intel-rapl:0", tmp_path / "intel-rapl:0:0"
    for folder in (package, part):
        folder.mkdir()
        (folder / "energy_uj").write_text("9000000")
        (folder / "max_energy_range_uj").write_text("10000000")
    meter = EnergyMeter(rapl=tmp_path)
    meter.start()
    (package / "energy_uj").write_text("500000")
    meter.stop()
    assert meter.joules == pytest.approx(1.5)
    meter.start()
    (package / "energy_uj").write_text("2500000")
    meter.stop()
    assert meter.joules == pytest.approx(3.5)


def test_energy_that_cannot_be_measured_is_none(tmp_path: Path) -> None:
    meter = EnergyMeter(rapl=tmp_path)
    meter.start()
    meter.stop()
    assert meter.joules is None


def test_classification_metrics_are_scikit_learns() -> None:
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 4, 300), random.integers(0, 4, 300)
    found = classification_metrics(labels, predictions, 5)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, predictions))
    assert classification_metrics(np.zeros(3, int), np.zeros(3, int), 2)["mcc"] == 0.0


def test_regression_metrics_are_scipys() -> None:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_squared_error, r2_score

    random = np.random.default_rng(0)
    labels = np.round(random.normal(size=200), 1)
    predictions = labels + random.normal(size=200)
    found = regression_metrics(labels, predictions)
    assert found["mse"] == pytest.approx(mean_squared_error(labels, predictions))
    assert found["r2"] == pytest.approx(r2_score(labels, predictions))
    assert found["pearson"] == pytest.approx(pearsonr(labels, predictions).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(labels, predictions).statistic)
    assert regression_metrics(labels, np.ones(200))["pearson"] == 0.0


def test_less_is_better_for_errors_only() -> None:
    assert not higher_is_better("mse")
    assert higher_is_better("accuracy")


def test_fingerprints_differ_where_comparison_would_mislead() -> None:
    one = fingerprint(data="a", evaluator="1", protocol={"epochs": 3})
    assert one["digest"] == fingerprint(data="a", evaluator="1", protocol={"epochs": 3})["digest"]
    for other in (("b", "1", 3), ("a", "2", 3), ("a", "1", 4)):
        changed = fingerprint(data=other[0], evaluator=other[1], protocol={"epochs": other[2]})
        assert changed["digest"] != one["digest"]
    assert hardware()["cores"] >= 1
    assert versions()["torch"]

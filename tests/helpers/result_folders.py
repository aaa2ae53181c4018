"""Folders of finished studies, written rather than trained."""

from pathlib import Path
from zlib import crc32

import numpy as np

from afina.results.predictions import Predictions
from afina.results.results_jsonl import append_result


def answers(accuracy: float, *, seed: int, items: int = 400, like: np.ndarray | None = None) -> Predictions:
    """Answers that are right with a probability, or where `like` is right."""
    random = np.random.default_rng(seed)
    label = np.arange(items) % 3
    right = random.random(items) < accuracy if like is None else like
    prediction = np.where(right, label, (label + 1) % 3)
    return Predictions(np.arange(items), label, prediction, np.zeros((items, 3)))


def write_study(folder: Path, skills: dict[str, tuple[float, float, float]], seeds: int = 3) -> Path:
    """A folder of results: method -> (accuracy, gigabytes, minutes)."""
    from afina.results.predictions import write_predictions

    (folder / "study.yaml").write_text("study: {}\n")
    for name, (skill, memory, minutes) in skills.items():
        for seed in range(seeds):
            run = f"m-d-{name}-{seed}"
            (folder / "runs" / run).mkdir(parents=True)
            own = answers(skill, seed=crc32(f"{name} {seed}".encode()), items=800)
            write_predictions(folder / "runs" / run / "predictions.parquet", own.label, own.prediction, own.scores)
            value = float((own.label == own.prediction).mean())
            metrics = {"accuracy": value, "macro_f1": value - 0.01, "mcc": value - 0.1}
            history = [
                {"epoch": e, "train_loss": 1.0, "train_accuracy": value, "test_accuracy": value - 0.01 * (2 - e)}
                for e in (1, 2)
            ]
            append_result(folder, {
                "run": run, "status": "ok", "error": None, "model": "m", "dataset": "d", "task": "classification",
                "method": name, "method_label": name, "method_config": {"learning_rate": 1e-3}, "seed": seed,
                "metric": "accuracy", "test_metric": value, "train_metric": value, "test_metrics": metrics,
                "train_metrics": metrics, "peak_memory_bytes": memory * 1e9, "mean_memory_bytes": memory * 9e8,
                "train_seconds": minutes * 60, "step_seconds": 0.1, "tokens_per_second": 1000.0, "epochs": 2,
                "trainable_parameters": 1000, "trainable_percent": 1.0, "history": history, "energy_joules": None,
                "predictions": f"runs/{run}/predictions.parquet", "fingerprint": {"digest": "x" * 64, "git": None},
            })  # fmt: skip
    return folder

"""predictions.parquet: what is written is what is read, whatever the labels are, and writing it is quick."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from afina.results.predictions import read_predictions, write_predictions
from afina.results.result import Result


def _sets(*rows: tuple[str, ...]) -> np.ndarray:
    return np.fromiter(rows, dtype=object, count=len(rows))


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        (np.array([2, 0, 1]), np.array([2, 1, 1])),
        (np.array([0.5, -1.25, 3.0]), np.array([0.4, -1.0, 2.5], dtype=np.float32)),
        (_sets(("a", "b"), (), ("b",)), _sets(("a",), ("b",), ())),
    ],
    ids=["classes", "numbers", "sets"],
)
def test_what_is_written_is_what_is_read(labels: np.ndarray, predictions: np.ndarray, tmp_path: Path) -> None:
    scores = np.arange(12, dtype=np.float64).reshape(3, 4)[:, ::2]  # neither float32 nor one piece of memory
    write_predictions(tmp_path / "runs" / "predictions.parquet", labels, predictions, scores)
    found = read_predictions(tmp_path, Result({"run": "x", "predictions": "runs/predictions.parquet"}))
    assert found.item.tolist() == [0, 1, 2]
    assert found.label.tolist() == labels.tolist()
    assert found.prediction.tolist() == predictions.astype(labels.dtype).tolist()
    assert found.scores.dtype == np.float32
    assert found.scores.tolist() == scores.tolist()


def test_writing_does_not_import_pandas(tmp_path: Path) -> None:
    """Which a run, in a process of its own, has no other need of."""
    script = (
        "import sys, numpy as np; from pathlib import Path; from afina.results.predictions import write_predictions\n"
        "write_predictions(Path(sys.argv[1]), np.arange(3), np.arange(3), np.ones((3, 2)))\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "predictions.parquet")], check=True)

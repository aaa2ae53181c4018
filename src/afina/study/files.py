"""Files of a study's folder, written whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.whole_file import whole_file

__all__ = ["CHECKPOINT", "first_steps", "write_json", "write_predictions", "write_text"]

CHECKPOINT = "checkpoint.safetensors"
"""In the folder of a run, or of a cohort, while it trains."""


def first_steps(cohort: Path, run: str) -> Path:
    """Where in a cohort's folder a run's state lies after the steps that it took alone, for its method's profile."""
    return cohort / f"{run}.safetensors"


def write_text(path: Path, text: str) -> None:
    """Write a text file; after a kill at any moment it is the old one or the new one, whole."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object, as `write_text` does."""
    write_text(path, json.dumps(value, ensure_ascii=False) + "\n")


def write_predictions(
    path: Path, labels: np.ndarray, predictions: np.ndarray, scores: np.ndarray, names: Sequence[str] | None = None
) -> None:
    """Write each test item's label, prediction and scores (N, K) as predictions.parquet.

    Of tags (N, W), below 0 behind a row's words, lists of their `names` are written.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    flat = arrow.array(np.ascontiguousarray(scores, dtype=np.float32).reshape(-1))
    offsets = arrow.array(np.arange(0, scores.size + 1, scores.shape[1], dtype=np.int32))
    table = arrow.table({
        "item": np.arange(len(labels)),
        "label": _column(labels, names),
        "prediction": _column(predictions.astype(labels.dtype), names),
        "scores": arrow.ListArray.from_arrays(offsets, flat),
    })  # fmt: skip
    with whole_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")


def _column(values: np.ndarray, names: Sequence[str] | None) -> Any:
    if values.ndim == 1:
        return values
    assert names is not None
    return [[names[tag] for tag in row[row >= 0]] for row in values]

"""predictions.parquet: a run's answer on each test item beside its label, so that methods are compared item by item."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError
from afina.results.result import Result
from afina.whole_file import whole_file

__all__ = ["Predictions", "read_predictions", "write_predictions"]


@dataclass(frozen=True)
class Predictions:
    """A run's answers on the test items: `item`, `label` and `prediction` (N,), `scores` (N, K).

    Where a row has several labels, or a tag for each word, its label is a tuple of their names.
    """

    item: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray


def write_predictions(path: Path, labels: np.ndarray, predictions: np.ndarray, scores: np.ndarray) -> None:
    """Write each test item's label, prediction and scores (N, K) as predictions.parquet; tuples of names as lists."""
    import pyarrow as arrow
    from pyarrow import parquet

    # A list a row, which is one layout for any number of classes.
    flat = _column(scores.astype(np.float32).reshape(-1))
    offsets = _column(np.arange(0, scores.size + 1, scores.shape[1], dtype=np.int32))
    columns = {
        "item": _column(np.arange(len(labels))),
        "label": _column(labels),
        "prediction": _column(predictions.astype(labels.dtype)),
        "scores": arrow.ListArray.from_arrays(offsets, flat),
    }
    table = arrow.Table.from_arrays(list(columns.values()), names=list(columns))
    with whole_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")


def _column(values: np.ndarray) -> Any:
    import pyarrow as arrow

    if values.dtype == object:
        # Several labels a row, or a tag for each word, are tuples of names.
        return arrow.array(map(list, values), arrow.list_(arrow.string()))
    # `arrow.array` asks whether it is given a series of pandas, and imports that to ask: half a second of every run.
    buffer = arrow.py_buffer(np.ascontiguousarray(values))
    return arrow.Array.from_buffers(arrow.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def read_predictions(directory: Path, result: Result) -> Predictions:
    """Return a finished run's predictions; raises `AfinaError` when its file is gone or damaged."""
    import pyarrow
    from pyarrow import parquet

    path = directory / str(result.predictions)
    try:
        table = parquet.read_table(path)
        scores = table["scores"].combine_chunks()
        predictions = Predictions(
            item=table["item"].to_numpy(),
            label=_values(table["label"]),
            prediction=_values(table["prediction"]),
            scores=scores.flatten().to_numpy().reshape(len(table), -1),
        )
        if (
            # A file that was written by another program may have lost or moved rows, and then no two methods are
            # compared row by row.
            not len(table)
            or (predictions.item != np.arange(len(table))).any()
            or predictions.label.dtype != predictions.prediction.dtype
        ):
            raise ValueError
    except (OSError, KeyError, ValueError, TypeError, AttributeError, pyarrow.ArrowException):
        raise AfinaError(f"{path} is missing or damaged; delete runs/{result.run} and run the study again.") from None
    return predictions


def _values(column: Any) -> np.ndarray:
    values: np.ndarray = column.to_numpy()
    if values.dtype == object:
        values = np.fromiter(map(tuple, column.to_pylist()), dtype=object, count=len(column))
    return values

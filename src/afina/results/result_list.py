"""A study's results as Python has them: a list that shows itself and becomes a DataFrame."""

from typing import TYPE_CHECKING, Any

from afina.measure.shown import html_of
from afina.results.result import Result

if TYPE_CHECKING:
    import pandas

__all__ = ["Results"]

_FIRST = (
    "model", "dataset", "method_label", "seed", "status", "metric", "test_metric", "train_metric", "train_seconds",
    "peak_memory_bytes", "trainable_parameters", "trainable_percent", "error",
)  # fmt: skip
"""Columns that a person looks at first, in this order; the other keys follow."""
_NESTED = ("history", "versions", "fingerprint")
"""Keys that hold no figure of a run: left out of a DataFrame unless all is asked for."""


class Results(list[Result]):
    """The results of a study's runs: each a dict as in results.jsonl, its keys also as attributes."""

    def to_pandas(self, *, everything: bool = False) -> "pandas.DataFrame":
        """Return a DataFrame with a row a run, its test and train metrics as columns `test_accuracy` and so on.

        With `everything` the history, versions and fingerprint of each run are there too, as objects.
        """
        import pandas

        rows = [_flat(result, everything) for result in self]
        # Runs of different tasks have different metrics: columns are those that any of them has.
        names = list(dict.fromkeys(name for row in rows for name in row))
        # What a person looks at first stands first; the rest keeps the file's order.
        order = [name for name in _FIRST if name in names] + [name for name in names if name not in _FIRST]
        return pandas.DataFrame(rows, columns=["run", *(name for name in order if name != "run")])

    def __repr__(self) -> str:
        lines = [_line(result) for result in self]
        return "\n".join([f"Results of {len(self)} runs" + (":" if lines else ""), *lines])

    def _repr_html_(self) -> str:
        columns = ("run", "metric", "test", "train", "seconds", "memory (MB)", "trainable")
        rows: list[list[object]] = []
        for result in self:
            if not result.is_finished:
                rows.append([result.run, result.status, result.error, None, None, None, None])
                continue
            peak = result.peak_memory_bytes
            rows.append([
                result.run, result.metric, result.test_metric, result.train_metric, result.train_seconds,
                None if peak is None else round(peak / 1e6), result.trainable_parameters,
            ])  # fmt: skip
        return html_of(f"{len(self)} runs", columns, rows)


def _flat(result: Result, everything: bool) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in result.items():
        if key in ("test_metrics", "train_metrics"):
            row |= {f"{key.removesuffix('_metrics')}_{name}": own for name, own in (value or {}).items()}
        elif everything or key not in _NESTED:
            row[key] = value
    return row


def _line(result: Result) -> str:
    if not result.is_finished:
        return f"  {result.run}: {result.status}. {result.error or ''}".rstrip()
    return f"  {result.run}: {result.metric} {result.test_metric:.4f}"

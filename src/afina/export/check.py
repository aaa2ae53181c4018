"""Look again at an exported folder at any later time, on any machine: is it whole, does it answer as it did, how well."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from afina.dataset_spec import DatasetSpec
from afina.errors import AfinaError, UsageError, nearest
from afina.export.held import probe_again
from afina.export.manifest import MANIFEST, read_manifest
from afina.export.opened import OpenedExport, open_export
from afina.export.parity import TOLERANCE
from afina.measure.shown import html_of
from afina.tasks.reading import load_text_dataset
from afina.words.language import Words

__all__ = ["CheckedExport", "check_export"]

_ENGLISH = Words()


@dataclass(frozen=True)
class CheckedExport:
    """Holds what was found of an exported folder whose files are all as they were written."""

    folder: Path
    runtime: str
    """The runtime, with its version."""
    batches: int
    """Number of batches that were asked again of those stored when it was written."""
    difference: float
    """Largest difference from what it gave then."""
    from_adapter: float
    """Largest difference from what the adapter gave then."""
    measured: int
    """Rows."""
    metrics: Mapping[str, float]
    """The metrics' values by name, on those rows."""

    def rows(self, words: Words = _ENGLISH) -> list[tuple[str, str]]:
        """Return what was found, as a table has it."""
        rows = [
            (words("runs in"), self.runtime),
            (words("difference from what it gave when it was written"), words.written(f"{self.difference:.2g}")),
            (words("difference from what the adapter gave then"), words.written(f"{self.from_adapter:.2g}")),
        ]
        return [*rows, *((words(name), words.number(value, 4)) for name, value in self.metrics.items())]

    def __repr__(self) -> str:
        return f"Checked('{self.folder}': {'; '.join(f'{name}: {value}' for name, value in self.rows())})"

    def _repr_html_(self) -> str:
        return html_of(str(self.folder), ("", ""), self.rows())


def check_export(folder: str | Path, data: str | None = None, *, base: str | None = None) -> CheckedExport:
    """Open an exported folder, ask it what it was asked when it was written, and measure it on the rows of `data`.

    An adapter alone is asked on its `base`, a file of the runtime, or on its base model, written anew for that.

    Raises `AfinaError` where it is damaged or incomplete, cannot be opened, or gives something else than it did.
    """
    several = list(read_manifest(Path(folder)).adapters) if (Path(folder) / MANIFEST).is_file() else []
    if several:
        if data is not None:
            raise UsageError(f"{folder} holds {', '.join(several)}: predict --data by each of them, and compare.")
        # One after another: each is held to what it gave then, and the farthest off speaks for the folder.
        results = [_checked(open_export(folder, adapter=name), None) for name in several]
        worst = max(results, key=lambda own: own.difference)
        return replace(
            worst, batches=sum(own.batches for own in results), from_adapter=max(own.from_adapter for own in results)
        )
    return _checked(open_export(folder, base=base), data, base)


def _checked(opened: OpenedExport, data: str | None, base: str | None = None) -> CheckedExport:
    then, adapter, batches = probe_again(opened)
    manifest = opened.manifest
    # By the scale of what it gave, as logits may be large.
    if then > TOLERANCE * max(1.0, float(manifest.parity.get("largest_output", 1.0))):
        raise AfinaError(
            f"{opened.folder} gives other outputs than when it was exported, by up to {then:.2g}, in {opened.runs_in} "
            f"(then {manifest.runtime_version}): "
            + (
                "export the adapter again for this version, or go back to that one."
                if base is None
                else f"{base} is another base than it was tried on, or in another type."
            )
        )
    count, metrics = (0, {}) if data is None else measure(opened, data)
    return CheckedExport(opened.folder, opened.runs_in, batches, then, adapter, count, metrics)


def measure(opened: OpenedExport, data: str) -> tuple[int, Mapping[str, float]]:
    """Return how many test rows there are in a data set, and the task's metrics of an export's answers to them.

    Raises `UsageError` for rows that are not this task's, or have a label that it does not know.
    """
    task = opened.task
    if task.embeds or task.writes:
        more = f"; `afina evaluate {opened.folder}` measures what it writes" if task.writes else ""
        raise UsageError(
            f"{opened.folder} gives no labels (task: {task.name}), and there is nothing to measure on --data{more}."
        )
    dataset = load_text_dataset(DatasetSpec(path=data), task=task.name)
    rows, names = dataset.test, opened.manifest.labels
    # Labels may stand in another order, or be only some of the adapter's.
    if names is not None and dataset.label_names is not None and list(dataset.label_names) != names:
        if strange := [name for name in dataset.label_names if name not in names]:
            raise UsageError(f"{data}: the label '{strange[0]}' is none of the export's{nearest(strange[0], names)}")
        places = np.array([names.index(name) for name in dataset.label_names])
        label = rows.label
        if task.several:
            label = np.zeros((len(rows), len(names)), dtype=label.dtype)
            label[:, places] = rows.label
        else:
            label = np.where(label >= 0, places[np.maximum(label, 0)], label).astype(label.dtype)
        rows = replace(rows, label=label)
    # Images are read at the model's size; all else as the adapter reads it.
    tokens = opened.images(rows) if rows.pixels is not None else opened.tokens(rows)
    return len(rows), task.measure(tokens.labels, task.decode_rows(tokens, opened.logits(tokens)))

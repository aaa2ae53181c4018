"""The published study's tables 4.1 to 4.7 in their layout, with its own figures beside ours where they cover a cell."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.report.tables import Table, at_epoch
from afina.results.material import Group, Material
from afina.results.result import Result
from afina.results.shown import metric_digits, scaled
from afina.results.statistics import Cell
from afina.words.language import Words
from afina.yaml_file import read_yaml

__all__ = ["Reference", "published_tables"]


class Reference:
    """Published figures; models match by key, hub name or the last part of a path, data sets by their key."""

    def __init__(self, path: Path | None) -> None:
        self.methods: Mapping[str, str] = {}
        """The publication's names of methods that a study labels otherwise."""
        self.values: Mapping[str, Any] = {} if path is None else read_yaml(path)
        if path is not None and (not isinstance(self.values, Mapping) or "columns" not in self.values):
            raise UsageError(
                f"{path} is no reference file: it has no 'columns'; see docs/reference/report.md for the form."
            )

    def beside(self, labels: Sequence[str]) -> "Reference":
        """Return it for a study of these methods: one with settings of its own is the published one if it is there once."""
        names = [label.partition("(")[0] for label in labels]
        # The settings of the one who asks are not changed: another study may be laid beside the same file.
        other = copy.copy(self)
        other.methods = {label: name for label, name in zip(labels, names, strict=True) if names.count(name) == 1}
        return other

    def _model(self, model: str) -> str | None:
        name = Path(model).name.lower()
        for key, facts in (self.values.get("models") or {}).items():
            hub = str(facts.get("hub", "")).lower()
            # A person names a model as he keeps it: by key, by its name on the hub, by a folder that is called after
            # it.
            if name in (key, hub) or model.lower() == hub or name.startswith(f"{key}-"):
                return str(key)
        return None

    def cell(self, table: str, model: str, dataset: str, method: str) -> float | None:
        """Return a figure of tables 4.1 to 4.3, or None."""
        column = f"{self._model(model)}/{dataset}"
        row = (self.values.get(table) or {}).get(self.methods.get(method, method))
        columns = list(self.values.get("columns") or [])
        return float(row[columns.index(column)]) if row and column in columns else None

    def epoch(self, model: str, dataset: str, method: str, epoch: int) -> list[float] | None:
        """Return [train, test] percent after an epoch (from 1), or None."""
        by_model = (self.values.get("accuracy_by_epoch_percent") or {}).get(self._model(model) or "") or {}
        rows = (by_model.get(dataset) or {}).get(self.methods.get(method, method)) or []
        return list(rows[epoch - 1]) if len(rows) >= epoch else None

    def parameters(self, model: str, method: str) -> list[float] | None:
        """Return [count, percent], or None."""
        # A row of another model, or none, leaves the cell without a bracket.
        counts = (self.values.get("trainable_parameters") or {}).get(self.methods.get(method, method)) or {}
        return counts.get(self._model(model) or "")


def published_tables(material: Material, words: Words, reference: Reference) -> list[Table]:
    """Return tables 4.1 to 4.3 (methods by model and data set), 4.4 and on (by epoch, a model each), 4.7 (parameters)."""
    groups = [group for group in material.groups if any(cell.runs for cell in group.cells)]
    if not groups:
        return []
    reference = reference.beside(material.methods)
    metric = _metric(words, groups)

    # Early stopping takes back the weights of the best one.
    last = all(run.best_epoch is None for run in material.results)
    test = words("Test {metric} after the last epoch" if last else "Test {metric} after the best epoch", metric=metric)
    grids: list[tuple[str, str, str, Callable[[Cell], float | None], Callable[[Cell], int]]] = [
        ("4.1", words("Mean memory while training, GB"), "gpu_memory_gb",
         lambda c: _over(c, lambda run: run.mean_memory_bytes, 1e-9), lambda c: 2),
        ("4.2", words("Training time, minutes"), "train_minutes",
         lambda c: _over(c, lambda run: run.train_seconds, 1 / 60), lambda c: 1),
        ("4.3", test, "test_accuracy_percent",
         lambda c: _over(c, lambda run: run.test_metric, scaled(c.metric)), lambda c: metric_digits(c.metric)),
    ]  # fmt: skip
    tables = [_grid(material, words, reference, *grid) for grid in grids]
    for place, model in enumerate(material.models):
        # The publication has three models, whose tables are 4.4 to 4.6; a larger study gets letters, so that 4.7 stays
        # what it is.
        number = f"4.{4 + place}" if len(material.models) <= 3 else f"4.4{chr(ord('a') + place)}"
        tables.append(_by_epoch(material, words, reference, number, model))
    return [*tables, _parameters(material, words, reference)]


def _metric(words: Words, groups: Sequence[Group]) -> str:
    """Name the one metric of all these groups with its unit, or each data set's."""
    metrics = {group.dataset: group.metric for group in groups}
    named = {data: words(metric) + (" (%)" if scaled(metric) == 100 else "") for data, metric in metrics.items()}
    if len(set(named.values())) == 1:
        return next(iter(named.values()))
    return f"{words('metric')} [{'; '.join(f'{data}: {metric}' for data, metric in named.items())}]"


def _over(cell: Cell, key: Callable[[Result], float | None], scale: float) -> float | None:
    # Over the seeds that have it: what a machine cannot measure, energy say, is missing of all.
    known = [value for run in cell.runs if (value := key(run)) is not None]
    return scale * sum(known) / len(known) if known else None


def _beside(ours: str, published: float | None, words: Words, digits: int) -> str:
    return ours if published is None else f"{ours} [{words.number(published, digits)}]"


def _table(number: str, title: str, columns: list[str], rows: list[list[str]], words: Words, count: int = 1) -> Table:
    bracketed = any("[" in value for row in rows for value in row[count:])
    note = words("In brackets: published.") if bracketed else ""
    return Table(f"table-{number}", f"{number} {title}", columns, rows, note, words=count)


def _grid(
    material: Material, words: Words, reference: Reference, number: str, title: str, key: str,
    value: Callable[[Cell], float | None], digits: Callable[[Cell], int],
) -> Table:  # fmt: skip
    places = [(group.model, group.dataset) for group in material.groups]
    columns = [words("method"), *(f"{Path(model).name}/{dataset}" for model, dataset in places)]
    rows = []
    for method in material.methods:
        row = [method]
        for model, dataset in places:
            cell = material.find(model, dataset, method)
            ours = words.number(value(cell), digits(cell)) if cell else words.number(None)
            row.append(_beside(ours, reference.cell(key, model, dataset, method), words, 1))
        rows.append(row)
    return _table(number, title, columns, rows, words)


def _by_epoch(material: Material, words: Words, reference: Reference, number: str, model: str) -> Table:
    rows: list[list[str]] = []
    # The longest of the model's runs; those that stopped early have empty cells behind their end.
    last = max((run.epochs or 1 for run in material.results if run.model == model and run.is_finished), default=1)
    groups = [group for group in material.groups if group.model == model]
    # The metrics of data sets without a finished run are not known.
    with_runs = [group for group in groups if any(cell.runs for cell in group.cells)] or groups
    for dataset in material.datasets:
        for method in material.methods:
            cell = material.find(model, dataset, method)
            if cell is None:
                continue
            row = [dataset, method]
            for epoch in range(1, last + 1):
                published = reference.epoch(model, dataset, method, epoch)
                for place, split in enumerate(("train", "test")):
                    value = at_epoch(cell, epoch, split)
                    ours = words.number(value, metric_digits(cell.metric))
                    row.append(_beside(ours, published[place] if published else None, words, 1))
            rows.append(row)
    heads = [f"{words('epoch')} {e} {words(s)}" for e in range(1, last + 1) for s in ("train", "test")]
    title = words("{metric} by epoch, {model}", metric=_metric(words, with_runs), model=Path(model).name)
    return _table(number, title, [words("data set"), words("method"), *heads], rows, words, count=2)


def _parameters(material: Material, words: Words, reference: Reference) -> Table:
    def cells(model: str, method: str) -> dict[str, Cell]:
        by_dataset = {dataset: material.find(model, dataset, method) for dataset in material.datasets}
        return {dataset: cell for dataset, cell in by_dataset.items() if cell is not None}

    # A head has as many rows as a data set has classes: where these differ, each data set has columns of its own.
    alike = all(
        len({cell.trainable_parameters for cell in cells(model, method).values()}) <= 1
        for model in material.models for method in material.methods
    )  # fmt: skip
    places = [(model, data) for model in material.models for data in ([None] if alike else material.datasets)]
    columns = [words("method")]
    for model, dataset in places:
        name = Path(model).name if dataset is None else f"{Path(model).name}/{dataset}"
        columns += [name, f"{name} %"]
    rows = []
    for method in material.methods:
        row = [method]
        for model, dataset in places:
            by_dataset = cells(model, method)
            cell = next(iter(by_dataset.values()), None) if dataset is None else by_dataset.get(dataset)
            published: Sequence[float | None] = reference.parameters(model, method) or (None, None)
            percent = cell.runs[0].trainable_percent if cell else None
            row.append(_beside(words.number(cell.trainable_parameters if cell else None), published[0], words, 0))
            row.append(_beside(words.compact(percent), published[1], words, 2))
        rows.append(row)
    return _table("4.7", words("Trainable parameters"), columns, rows, words)

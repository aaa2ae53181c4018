"""Gather what a report is made of: a study's results by model and data set, with their differences tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from afina.errors import AfinaError
from afina.measure.diagram import Diagram
from afina.measure.metrics.base import diagrams_of
from afina.results.certainty import row_interval
from afina.results.cohort_report import CohortReport, read_cohort
from afina.results.findings.audited import FOLDER, ReadAudit, read_audit
from afina.results.findings.finding import Finding
from afina.results.mistakes import Mistakes, mistakes_or_none
from afina.results.predictions import Predictions, read_predictions
from afina.results.recommend import comparable
from afina.results.result import Race, Result
from afina.results.results_jsonl import lacks_adapter, read_results
from afina.results.statistics import Cell, Comparison, Interval, Verdict, cells, compare, verdict
from afina.results.study_file import Resolved, StudyFile, read_study_file

__all__ = ["Group", "Material", "gather"]


@dataclass(frozen=True)
class Group:
    """All cells of one model and data set, compared where they may be."""

    model: str
    dataset: str
    cells: Sequence[Cell]
    comparisons: Sequence[Comparison]
    verdict: Verdict | None
    comparable: bool
    test_rows: int = 0
    by_rows: Interval | None = None
    """The interval that the test rows alone give, for the first run of the best method."""
    mistakes: Mistakes | None = None
    """The answers that this run got wrong."""
    diagrams: Sequence[Diagram] = ()
    """Diagrams of its metrics."""

    audits: Mapping[str, Mapping[str, Sequence[Finding]]] = field(default_factory=dict)
    """Findings of its runs, by audit and run; of an audit that looked at none of them none."""

    called: str = ""
    """The model as texts call it, where another has its folder's name too."""
    number: int = 1
    """Place among the groups whose files would have one name."""

    # Only the folder's name: whole paths of models would fill every heading.
    @property
    def title(self) -> str:
        return f"{self.called or Path(self.model).name} · {self.dataset}"

    @property
    def metric(self) -> str:
        return next((cell for cell in self.cells if cell.runs), self.cells[0]).metric

    @property
    def slug(self) -> str:
        """Return what the names of its tables' files end in."""
        whole = f"{Path(self.model).name}-{self.dataset}".lower()
        # Names of files have to be the same on every system, and in a link.
        plain = "".join(c if c.isalnum() else "-" for c in whole).strip("-")
        return plain if self.number == 1 else f"{plain}-{self.number}"


@dataclass(frozen=True)
class Material:
    """Everything that a report is made of."""

    directory: Path
    groups: Sequence[Group]
    failed: Sequence[Result]
    settings: StudyFile
    """Empty where results came without a study.yaml."""
    results: Sequence[Result] = field(default_factory=list)
    cohorts: Sequence[CohortReport] = field(default_factory=list)
    audits: Mapping[str, ReadAudit] = field(default_factory=dict)
    """The audits that lie in the study's folder, by name."""

    @property
    def resolved(self) -> Resolved:
        """Return what was settled when the study ran."""
        return self.settings.resolved or Resolved()

    @property
    # What a run itself says is enough here; why it left is in its `race`.
    def left(self) -> list[tuple[Result, Race]]:
        """Return the candidates that left a race, and when."""
        skipped = [result for result in self.results if result.status == "skipped"]
        return [(result, lost) for result in skipped if (lost := result.race) is not None]

    @property
    def missing(self) -> list[Result]:
        """Return the finished runs whose adapter is gone."""
        return [result for result in self.results if lacks_adapter(self.directory, result)]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(group.model for group in self.groups))

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(group.dataset for group in self.groups))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(cell.method for group in self.groups for cell in group.cells))

    def find(self, model: str, dataset: str, method: str) -> Cell | None:
        """Return the cell, or None when it is not in the study or did not finish."""
        for group in self.groups:
            if (group.model, group.dataset) == (model, dataset):
                return next((cell for cell in group.cells if cell.method == method and cell.runs), None)
        return None


def gather(directory: Path) -> Material:
    """Read a study's folder and test its differences; raises `UsageError` when it is none."""
    results = read_results(directory)
    settings = read_study_file(directory) if (directory / "study.yaml").exists() else StudyFile()

    # Cohorts finish before runs that stand before them in the study.
    settled = {} if settings.resolved is None else settings.resolved.runs
    order = {run: place for place, run in enumerate(settled)}
    results = sorted(results, key=lambda result: order.get(result.run, len(order)))
    by_group: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells([result for result in results if result.status != "skipped"]):
        by_group.setdefault((cell.model, cell.dataset), []).append(cell)
    audits = {path.stem: read_audit(path) for path in sorted((directory / FOLDER).glob("*.json"))}
    every = [_group(directory, *key, members) for key, members in by_group.items()]
    groups = _told_apart([replace(group, audits=_of_runs(audits, group)) for group in every])
    failed = [result for result in results if result.status == "failed"]
    paths = sorted((directory / "cohorts").glob("*/cohort.json"))
    cohorts = [read_cohort(path) for path in paths]
    return Material(directory, groups, failed, settings, results, cohorts, audits)


def _of_runs(audits: Mapping[str, ReadAudit], group: Group) -> dict[str, dict[str, list[Finding]]]:
    """Return the findings of a group's runs by audit and run; audits that look at no run of a study are no part of it."""
    runs = {run.run for cell in group.cells for run in cell.runs}
    of_group: dict[str, dict[str, list[Finding]]] = {}
    for name, audited in audits.items():
        for each in audited.findings:
            if each.subject.name in runs:
                of_group.setdefault(name, {}).setdefault(each.subject.name, []).append(each)
    return of_group


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """Return groups of which no two have a title or a file's name in common."""
    models: dict[str, set[str]] = {}
    for group in groups:
        models.setdefault(Path(group.model).name, set()).add(group.model)
    taken: set[str] = set()
    apart = []
    for group in groups:
        # Two folders of one name are told apart by their whole paths.
        if len(models[Path(group.model).name]) > 1:
            group = replace(group, called=group.model)
        number = 1
        # Different names may become one when all that is no letter or figure is a hyphen.
        while replace(group, number=number).slug in taken:
            number += 1
        apart.append(replace(group, number=number))
        taken.add(apart[-1].slug)
    return apart


def _group(directory: Path, model: str, dataset: str, members: list[Cell]) -> Group:
    same = comparable(members)
    done = [cell for cell in members if cell.runs]
    loaded: dict[str, dict[int, Predictions]] = {}
    for cell in done:
        try:
            loaded[cell.method] = {run.seed: read_predictions(directory, run) for run in cell.runs}
        # Whose predictions are gone can still be shown with their figures, as long as nothing needs to be tested on
        # them.
        except AfinaError:
            if same and len(done) > 1:  # nothing could be compared
                raise
    comparisons = compare(loaded, done[0].metric) if same and len(done) > 1 else []
    members = [_by_rows(cell, loaded.get(cell.method, {})) for cell in members]
    judged = verdict(members, comparisons)
    best = next((cell for cell in members if judged and cell.method == judged.best), None)
    # The first seed stands for the others: mistakes are read row by row, and rows have no mean.
    if best is None or best.method not in loaded:
        return Group(model, dataset, members, comparisons, judged, same)
    first = best.runs[0]
    predicted = loaded[best.method][first.seed]
    return Group(
        model, dataset, members, comparisons, judged, same, test_rows=len(predicted.item),
        by_rows=_around(best.test, row_interval(predicted, best.metric)),
        mistakes=mistakes_or_none(directory, first), diagrams=diagrams_of(list(first.test_metrics), predicted),
    )  # fmt: skip


def _around(mean: Interval | None, rows: Interval) -> Interval:
    """Return the interval that the test rows of one seed give, about the mean over all seeds."""
    assert mean is not None and rows.low is not None and rows.high is not None
    # Moved, not drawn anew: the width is that of one seed's rows, and the centre is what the table shows.
    apart = mean.mean - rows.mean
    return replace(rows, mean=mean.mean, low=rows.low + apart, high=rows.high + apart)


def _by_rows(cell: Cell, loaded: Mapping[int, Predictions]) -> Cell:
    """Give a cell whose metric has no spread over seeds, as there is one or they all agree, its test rows' interval."""
    if cell.test is None or not loaded or not (len(cell.runs) == 1 or cell.test.low == cell.test.high):
        return cell
    return replace(cell, test=_around(cell.test, row_interval(next(iter(loaded.values())), cell.metric)))

"""Measure models one beside another on the same items, and say of each whether it is worth taking in the first's place.

Each is loaded and measured in a process of its own, so that its memory is its own. Differences are paired: the same items are
drawn again for all models (`measure/bootstrap.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from afina.config import StudyConfig
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.evaluation.answers import Answering, Questions, read_questions
from afina.evaluation.measured_alone import MeasuredModel, MeasureJob, measure_alone
from afina.evaluation.perplexity import loss_measures, read_documents
from afina.measure.bootstrap import Estimate, Figure, Measure, interval_of, redrawn
from afina.measure.metrics.base import higher_is_better, metric_named
from afina.measure.text import text_measures
from afina.methods.base import method_names
from afina.results.predictions import Predictions
from afina.study.answerer import Answerer, answerer_of, check_answers, check_speaks
from afina.study.executors.base import make_executor
from afina.tasks.base import Task
from afina.tasks.reading import load_text_dataset

__all__ = ["AT_MOST", "BesideCompared", "BesideItems", "BesideRow", "BesideVerdict", "compare_models", "judged_of"]

AT_MOST = 0.02
"""Share of the first model's value that may be lost, unless somebody says another."""
_RESAMPLES = 2000
_OF_ANSWERS = ("token_f1",)
"""Measures of written answers, unless somebody says others."""


@dataclass(frozen=True, kw_only=True)
class BesideItems:
    """Says what models are measured on; raises `UsageError` where that is nothing."""

    data: Sequence[str] = ()
    """Data sets with labels: names, files or folders."""
    text: Sequence[str] = ()
    """Files of texts whose perplexity is measured."""
    answers: Sequence[str] = ()
    """Files of prompts with references, which models write to."""
    task: str = "auto"
    column: str | None = None
    """The column of texts, where it has no usual name."""
    answering: Answering = field(default_factory=Answering)
    limit: int | None = None
    """Rows of each, of labelled ones stratified."""
    max_length: int = 256
    batch_size: int = 32

    def __post_init__(self) -> None:
        if not (self.data or self.text or self.answers):
            raise UsageError("Nothing to compare on: give data sets with labels, texts, or prompts with references.")
        if self.limit is not None and self.limit < 2:
            raise UsageError(f"A limit is at least 2, not {self.limit}.")


@dataclass(frozen=True)
class BesideRow:
    """Holds one measure on one source, of every model."""

    source: str
    measure: str
    items: int
    higher_is_better: bool
    values: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]
    """Each model's value minus the first's, paired; the first's own is 0."""
    losses: tuple[Estimate, ...]
    """Share of the first's value that each has lost; below 0 where it is better."""

    def verdict(self, place: int) -> str:
        """Return whether a model is "better", "worse" or "unclear" beside the first."""
        low, high = self.differences[place].low, self.differences[place].high
        if low is None or high is None or low <= 0 <= high:
            return "unclear"
        return "better" if (low > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class BesideVerdict:
    """Says of a model whether it is worth taking in the first's place."""

    name: str
    verdict: Literal["worth it", "not worth it", "unclear"]
    worst: BesideRow
    """The source and measure of which it may lose most."""
    place: int
    """Its place among the models."""
    smaller: float
    """Share of the first's bytes that it saves."""
    faster: float
    """Its speed by the first's."""


@dataclass(frozen=True)
class BesideCompared:
    """Holds what was measured of some models, the first of which the others stand beside."""

    models: tuple[MeasuredModel, ...]
    rows: tuple[BesideRow, ...]
    at_most: float
    judged: tuple[BesideVerdict, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        models = [{"name": own.name, **own.costs()} for own in self.models]
        verdicts = [
            {"name": own.name, "verdict": own.verdict, "worst_on": own.worst.source, "smaller": own.smaller,
             "faster": own.faster, "loss": asdict(own.worst.losses[own.place])}
            for own in self.judged
        ]  # fmt: skip
        return {"models": models, "rows": list(map(asdict, self.rows)), "at_most": self.at_most, "verdicts": verdicts}


@dataclass(frozen=True)
class _Sources:
    tasks: Mapping[str, tuple[DatasetSpec, Task]]
    documents: Mapping[str, list[str]]
    questions: Mapping[str, Questions]


def compare_models(
    names: Sequence[str], items: BesideItems, *, at_most: float = AT_MOST, device: str = "cpu",
    trust_remote_code: bool = False, tell: Callable[[str], None] = lambda what: None,
) -> BesideCompared:  # fmt: skip
    """Measure models or adapters on the same items, and weigh each but the first against the first.

    Raises `UsageError` for one that is not there, or that does not answer what the items ask, before any is measured.
    """
    if len(names) < 2:
        raise UsageError("Give two models at least: the one that was, and what it became.")
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise UsageError(f"{twice[0]} stands twice; give each model once.")
    if not 0 <= at_most < 1:
        raise UsageError(f"--at-most is a share from 0 to below 1 (0.02 for two percent), not {at_most:g}.")
    tell("reading what to measure on")
    config = _config(names, items, trust_remote_code)
    answerers = [answerer_of(name, config, role="compare") for name in names]
    sources = _read(items, config, answerers)

    def jobs() -> Iterator[MeasureJob]:
        for place, name in enumerate(names):
            tell(f"measuring {name} ({place + 1}/{len(names)})")
            yield MeasureJob(
                config, name, {key: task.state() for key, (_, task) in sources.tasks.items()}, sources.documents,
                {key: asked.prompts for key, asked in sources.questions.items()}, items.answering, items.batch_size, device,
            )  # fmt: skip

    executor = make_executor()
    with TemporaryDirectory(prefix="afina-compare-") as folder:
        executor.prepare(Path(folder))
        # One after another, so that none has the other's load beside it.
        measured = [executor.submit(measure_alone, job) for job in jobs()]
    rows = [*_labelled_rows(measured, sources), *_text_rows(measured, sources), *_answer_rows(measured, sources, items)]
    judged = [judged_of(measured, rows, place, at_most) for place in range(1, len(measured))]
    return BesideCompared(tuple(measured), tuple(rows), at_most, tuple(judged))


def _config(names: Sequence[str], items: BesideItems, trusted: bool) -> StudyConfig:
    """Return what a study of these items would say, so that rows are read as a study reads them."""
    # Of the keys that are required what is trained means nothing here.
    given = {
        "model": names[0], "dataset": [{"path": path} for path in items.data] or [{"path": "."}],
        "methods": method_names()[:1], "task": items.task, "max_length": items.max_length, "test_limit": items.limit,
        "trust_remote_code": trusted,
    }  # fmt: skip
    config: StudyConfig = StudyConfig.parse(given, "compare")
    return config


def _read(items: BesideItems, config: StudyConfig, answerers: Sequence[Answerer]) -> _Sources:
    """Read all items; raises `UsageError` where a model does not answer what a data set asks."""
    tasks: dict[str, tuple[DatasetSpec, Task]] = {}
    for spec in config.dataset[: len(items.data)]:
        data = load_text_dataset(
            spec, task=config.task, test_limit=config.test_limit, trust_remote_code=config.trust_remote_code
        )
        tokenizer, _ = answerers[0].tokenizer(config)
        task = Task.of_study(data, config, spec, tokenizer)
        if task.writes or task.embeds:
            raise UsageError(f"{spec.label_name} has no labels to compare by; give it as --text, or --answers.")
        for who in answerers:
            check_answers(who, task, config)
        tasks[spec.label_name] = spec, task
    if items.text or items.answers:
        for who in answerers:
            check_speaks(who, config)
    documents = {str(path): read_documents(Path(path), items.column)[: items.limit] for path in items.text}
    questions = {str(path): read_questions(Path(path), items.answering).first(items.limit) for path in items.answers}
    return _Sources(tasks, documents, questions)


def _labelled_rows(measured: Sequence[MeasuredModel], sources: _Sources) -> list[BesideRow]:
    rows = []
    for name, (_, task) in sources.tasks.items():
        metric = metric_named(task.metric)
        predictions: list[Predictions] = [own.predictions[name] for own in measured]
        figures = [metric.over(own) for own in predictions]
        values = [metric.value(own) for own in predictions]
        rows.append(_row(name, task.metric, len(predictions[0].item), higher_is_better(task.metric), figures, values))
    return rows


def _text_rows(measured: Sequence[MeasuredModel], sources: _Sources) -> list[BesideRow]:
    return _measure_rows({name: [loss_measures(*own.losses[name]) for own in measured] for name in sources.documents})


def _answer_rows(measured: Sequence[MeasuredModel], sources: _Sources, items: BesideItems) -> list[BesideRow]:
    names = items.answering.metrics or _OF_ANSWERS
    by_source: dict[str, Sequence[Sequence[Measure]]] = {}
    for name, asked in sources.questions.items():
        references = [text.strip() for text in asked.references]
        by_source[name] = [text_measures(own.written[name], references, names) for own in measured]
    return _measure_rows(by_source)


def _measure_rows(by_source: Mapping[str, Sequence[Sequence[Measure]]]) -> list[BesideRow]:
    rows = []
    for name, each in by_source.items():
        for measures in zip(*each, strict=True):
            first = measures[0]
            values = [own.overall for own in measures]
            rows.append(_row(name, first.name, len(first.parts), first.higher_is_better, list(measures), values))
    return rows


def _row(
    source: str, measure: str, items: int, higher: bool, figures: Sequence[Measure | Figure], values: Sequence[float]
) -> BesideRow:
    """Return a measure of all models with paired intervals, by drawing the same items again for each."""
    first, sign = values[0], 1.0 if higher else -1.0
    losses = [sign * (first - own) / abs(first) if first else 0.0 for own in values]
    gaps = [own - first for own in values]
    if items < 2:
        plain = [tuple(map(Estimate, each)) for each in (values, gaps, losses)]
        return BesideRow(source, measure, items, higher, *plain)
    drawn = redrawn(figures, items, resamples=_RESAMPLES, random=np.random.default_rng(0))
    lost = sign * (drawn[0] - drawn) / np.where(drawn[0] == 0, np.inf, np.abs(drawn[0]))
    made = [
        tuple(Estimate(float(value), *interval_of(own)) for value, own in zip(each, draws, strict=True))
        for each, draws in ((values, drawn), (gaps, drawn - drawn[0]), (losses, lost))
    ]
    return BesideRow(source, measure, items, higher, *made)


def judged_of(
    measured: Sequence[MeasuredModel], rows: Sequence[BesideRow], place: int, at_most: float
) -> BesideVerdict:
    """Compare what a model loses with what it saves; of each source the first measure decides."""
    deciding = list({row.source: row for row in reversed(rows)}.values())
    first, became = measured[0], measured[place]
    smaller = 1 - became.bytes_on_disk / max(1, first.bytes_on_disk)
    faster = became.speed / first.speed if first.speed else 1.0

    def end(row: BesideRow) -> float:
        high = row.losses[place].high
        return row.losses[place].value if high is None else high

    over = [row for row in deciding if row.losses[place].value > at_most]
    worst = max(over, key=lambda row: row.losses[place].value) if over else max(deciding, key=end)
    if over or not (smaller > 0.01 or faster > 1.05):
        verdict: Literal["worth it", "not worth it", "unclear"] = "not worth it"
    else:
        verdict = "worth it" if end(worst) <= at_most else "unclear"
    return BesideVerdict(became.name, verdict, worst, place, smaller, faster)

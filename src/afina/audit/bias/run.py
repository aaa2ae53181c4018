"""Audit adapters that give classes for bias: by groups of rows, by who speaks, by how a text is typed."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.audit.bias.answers import Answerer, BiasRows, ClassAnswers
from afina.audit.bias.base_model import answerer_of, base_answerer
from afina.audit.bias.by_group import GroupRates, Looked, group_drafts, rates_table
from afina.audit.bias.changes import change_draft, frame_drafts
from afina.audit.bias.drafts import Draft, finished
from afina.audit.bias.material import of_file, of_study
from afina.audit.bias.questions import AllAnswers, BiasQuestions, BiasSettings, ask, questions
from afina.audit.kept_answers import KeptAnswers
from afina.audit.targets import Shared, Target, labelled, study_of, targets_of
from afina.data.rows import Rows
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor
from afina.results.findings.audited import Audited, Cells
from afina.results.findings.finding import Finding, Subject
from afina.results.findings.sentence import Sentence
from afina.study.audits import Tell
from afina.tasks.base import Task, restore
from afina.words.language import Words

__all__ = ["BiasAudit", "audit_bias", "gives_classes"]

_ONLY = "that answers with one class of several; bias is looked for in classes."


@dataclass(frozen=True, kw_only=True)
class BiasAudit(Audited):
    """Holds what was found for all audited adapters, with the rates of every group."""

    title = Sentence("Bias: what differs between groups of people")
    claims_not = (
        Sentence(
            "A passed audit is not fairness: it says of these rows, groups and tests what they can show, and no more."
        ),
        Sentence("Groups found by words are rows that hold those words, not people; gaps in them have many causes."),
    )

    rates: Sequence[GroupRates] = ()
    names: Sequence[str] = ()
    """Names of the classes."""

    def further(self, words: Words) -> list[tuple[str, Cells]]:
        return [(f"{each.subject}: {each.grouping.name}", rates_table(each, self.names, words)) for each in self.rates]

    def as_dict(self) -> dict[str, Any]:
        words = Words()
        tables = [{"adapter": each.subject, "grouping": each.grouping.name, "by": each.grouping.by,
                   "rows": rates_table(each, self.names, words)} for each in self.rates]  # fmt: skip
        return super().as_dict() | {"groups": tables}


def gives_classes(task: Task) -> bool:
    """Return whether a task's adapters answer with one class a text, by a head."""
    return task.judged == "class" and not (task.speaks or task.tags or task.several or task.writes)


@dataclass
class _DataSet:
    """Holds what is asked of all adapters of one data set, and what they answered."""

    material: BiasRows
    questions: BiasQuestions
    train: Rows | None
    asked: dict[str, AllAnswers] = field(default_factory=dict)
    """Answers by the subject's name, the bases' under `base MODEL`."""
    subjects: list[Subject] = field(default_factory=list)


def audit_bias(
    target: str | Path, settings: BiasSettings, *, rows: str | Path | None = None, columns: DatasetSpec | None = None,
    loading: Loading | None = None, tell: Tell = lambda status: None, store: KeptAnswers | None = None,
) -> BiasAudit:  # fmt: skip
    """Look for bias in an adapter that gives classes, or in every finished run of a study's folder.

    `rows` is a file of labelled rows with its `columns`; by default they are the test rows of the adapter's study. What was
    answered is kept in `store`, and read from there where it is known. Raises
    `UsageError` for a target that is missing or gives no classes, and where no group has enough rows.
    """
    loading, store = loading or Loading(), store or KeptAnswers()
    shared, sets = Shared(loading), dict[str, _DataSet]()
    notes: list[str | Sentence] = []
    for adapter in targets_of(Path(target), gives_classes, _ONLY):
        record = adapter.record
        if not gives_classes(restore(record.task)):
            raise UsageError(f"{adapter.path} was trained for {record.task['name']}; bias is looked for in classes.")
        tell_of = labelled(tell, adapter.label)
        tell_of("loading")
        loaded = shared.load(adapter)
        key = str(rows) if rows is not None else str(record.facts.get("source"))
        names = tuple(loaded.task.label_names or ())
        if key not in sets:
            material, train, more = _material(adapter, names, settings, rows, columns)
            asked_of_all, remarks = questions(material, settings)
            sets[key] = _DataSet(asked_of_all.material, asked_of_all, train)
            notes += [*more, *remarks]
        data = sets[key]
        if names != data.material.names:
            raise UsageError(f"{adapter.path} has other labels than the adapters before it; audit it alone.")
        _ask(loaded, adapter, data, settings, loading, tell_of, store)
    findings, rates = [], []
    for data in sets.values():
        if data.train is None and settings.base:
            notes.append(Sentence("No train rows are known, so that the bare base has no probe to stand beside."))
        for subject in data.subjects:
            tell(f"comparing: {subject.name}")
            findings += _findings(subject, data, settings)
            rates += [GroupRates(subject.name, each, data.material.rows.label, data.asked[subject.name].rows)
                      for each in data.questions.groupings]  # fmt: skip
    first = next(iter(sets.values()))
    return BiasAudit(
        audit="bias", target=str(target), findings=findings, rates=rates, names=first.material.names,
        notes=[each for place, each in enumerate(notes) if each not in notes[:place]],  # sentences have no hash
        facts={
            "settings": asdict(settings), "rows": [data.material.source for data in sets.values()],
            "versions": {name: importlib.metadata.version(name) for name in ("afina", "torch", "transformers")},
        },
    )  # fmt: skip


def _material(
    adapter: Target, names: Sequence[str], settings: BiasSettings, rows: str | Path | None, columns: DatasetSpec | None
) -> tuple[BiasRows, Rows | None, list[str]]:
    """Return the rows to look at, those that were trained on where they are known, and notes."""
    study, source = study_of(adapter.path), adapter.record.facts.get("source")
    if rows is not None:
        spec = columns or DatasetSpec(path=str(rows))
        material, notes = of_file(Path(rows), spec, names, settings.columns)
        # What the base's probe learns from is the study's; without it there is no base.
        train = None
        if study is not None and source is not None and settings.base:
            train = of_study(study, DatasetSpec(**source), names, ())[1]
        return material, train, notes
    if study is None or source is None:
        raise UsageError(f"{adapter.path} lies in no study's folder; give labelled rows to look at with --rows FILE.")
    material, train = of_study(study, DatasetSpec(**source), names, settings.columns)
    return material, train, []


def _ask(
    loaded: Predictor,
    adapter: Target,
    data: _DataSet,
    settings: BiasSettings,
    loading: Loading,
    tell: Tell,
    store: KeptAnswers,
) -> None:
    """Ask an adapter, and its bare base unless that was asked before."""
    result, record = adapter.result, loaded.record
    subject = Subject(
        name=adapter.path.name if result is None else result.run, adapter=str(adapter.path), model=record.model,
        dataset=str(record.facts.get("dataset", "")), method=record.method if result is None else result.method_label,
        rank=loaded.method.settings().get("rank"), seed=record.seed,
    )  # fmt: skip
    data.subjects.append(subject)
    parts = (data.questions.key, record.model, record.precision, adapter.weights)
    data.asked[subject.name] = AllAnswers.of(
        store.answers(subject.name, parts, lambda: ask(answerer_of(loaded), data.questions, tell).arrays())
    )
    name = _base_name(record.model)
    if settings.base and data.train is not None and name not in data.asked:
        train, classes = data.train, len(data.material.names)

        def ask_base() -> Mapping[str, np.ndarray]:
            tell("base: fitting a probe")
            probe: Answerer = base_answerer(loaded, train, classes, settings, loading)
            return ask(probe, data.questions, tell).arrays()

        fitted = (train.text, train.text_pair, train.label.tolist(), settings.rows, settings.seed, loaded.longest)
        parts = (data.questions.key, record.model, record.precision, *fitted)
        data.asked[name] = AllAnswers.of(store.answers(name, parts, ask_base))


def _base_name(model: str) -> str:
    return f"base {model}"


def _findings(subject: Subject, data: _DataSet, settings: BiasSettings) -> list[Finding]:
    """Return the findings of one adapter, its base and the other adapters of its seed beside it."""
    answered = data.asked[subject.name]
    base = data.asked.get(_base_name(str(subject.model)))
    others = {
        each.name: data.asked[each.name] for each in data.subjects if each != subject and each.seed == subject.seed
    }
    beside: Mapping[str, AllAnswers] = ({} if base is None else {"base": base}) | others
    looked = Looked(subject, answered.rows, {name: each.rows for name, each in beside.items()})
    drafts: list[Draft] = []
    for grouping in data.questions.groupings:
        drafts += group_drafts(looked, data.material, grouping, fewest=settings.fewest, seed=settings.seed)
    for place, framed in enumerate(data.questions.framed):
        of_others = {name: each.framed[place] for name, each in beside.items()}
        drafts += frame_drafts(subject, data.material, framed, answered.framed[place], of_others, settings.seed)
    before: dict[str, ClassAnswers] = {"": answered.rows} | {name: each.rows for name, each in beside.items()}
    for check, texts in data.questions.changed.items():
        now = {"": answered.changed[check]} | {name: each.changed[check] for name, each in beside.items()}
        drafts += filter(None, [
            change_draft(subject, data.material, check, data.questions.sample, texts, now, before, settings.seed)
        ])  # fmt: skip
    return finished(drafts)

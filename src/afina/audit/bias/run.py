"""Audit adapters for bias: classes by groups of rows, by who speaks, by how a text is typed; what writes by sets of texts.

Where sets are named, an encoder with a masked-language head is asked about sentences too.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.audit.bias.answers import Answerer, BiasRows, ClassAnswers
from afina.audit.bias.asked_sets import ask_sets, base_name, read_sets, set_drafts
from afina.audit.bias.base_model import answerer_of, base_answerer
from afina.audit.bias.bias_set import BIAS_SETS
from afina.audit.bias.by_group import GroupRates, Looked, group_drafts, rates_table
from afina.audit.bias.changes import change_draft, frame_drafts
from afina.audit.bias.drafts import Draft, finished
from afina.audit.bias.material import of_file, of_study
from afina.audit.bias.perturb import CHANGES
from afina.audit.bias.questions import AllAnswers, BiasQuestions, BiasSettings, ask, questions
from afina.audit.bias.word_swaps import swap_drafts
from afina.audit.kept_answers import KeptAnswers
from afina.audit.targets import Shared, Target, labelled, study_of, targets_of
from afina.data.rows import Rows
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.measure.gaps import RATES
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor
from afina.results.findings.audited import Audited, Cells
from afina.results.findings.finding import Subject
from afina.results.findings.sentence import Sentence
from afina.study.audits import Tell
from afina.tasks.base import Task, restore
from afina.words.language import Words

__all__ = ["BiasAudit", "audit_bias", "looks_for_bias"]

_OF_WORDS = Sentence("Groups found by words are rows that hold those words, not people; gaps in them have many causes.")
_OF_SETS = Sentence("No lean in these sentences and questions does not say that there is none in others.")
_ONLY = "that answers with one class of several, or writes; bias is looked for in these."


@dataclass(frozen=True, kw_only=True)
class BiasAudit(Audited):
    """Holds what was found for all audited adapters, with the rates of every group."""

    title = Sentence("Bias: what differs between groups of people")
    claims_not = (
        Sentence(
            "A passed audit is not fairness: it says of these rows, groups and tests what they can show, and no more."
        ),
    )

    checks = (
        *RATES, "swaps", "swap_direction", "word_swaps", "word_swap_direction", *CHANGES,
        *(check for each in BIAS_SETS.values() for check in each.checks),
    )  # fmt: skip
    untested = ("word_swaps",)

    rates: Sequence[GroupRates] = ()
    names: Sequence[str] = ()
    """Names of the classes."""

    def unclaimed(self) -> list[Sentence]:
        groups = any(each.grouping.by == "words" for each in self.rates)
        sets = any(finding.check in own.checks for finding in self.findings for own in BIAS_SETS.values())
        return [*self.claims_not, *[_OF_WORDS] * groups, *[_OF_SETS] * sets]

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


def looks_for_bias(task: Task) -> bool:
    """Return whether adapters of a task are looked at: by what they answer, or by what they find likely."""
    return gives_classes(task) or task.speaks


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
    """Look for bias in an adapter that gives classes or writes, or in every finished run of a study's folder.

    `rows` is a file of labelled rows with its `columns`; by default they are the test rows of the adapter's study. What was
    answered is kept in `store`, and read from there where it is known. Raises `UsageError` for a target that is missing or
    does neither, and where no group has enough rows.
    """
    loading, store = loading or Loading(), store or KeptAnswers()
    shared, sets, subjects = Shared(loading), dict[str, _DataSet](), list[Subject]()
    targets = targets_of(Path(target), looks_for_bias, _ONLY)
    tasks = [restore(adapter.record.task) for adapter in targets]
    decisive = sorted({task.group_column for task in tasks if task.group_column is not None})
    # Read before anything is loaded: what is wrong with a file is cheaper to find than a model is to load.
    asked, notes = read_sets(settings, writes=any(task.speaks for task in tasks))
    for adapter, task in zip(targets, tasks, strict=True):
        record = adapter.record
        if not looks_for_bias(task):
            raise UsageError(
                f"{adapter.path} was trained for {record.task['name']}; bias is looked for in what gives classes or writes."
            )
        tell_of = labelled(tell, adapter.label)
        tell_of("loading")
        loaded = shared.load(adapter)
        subject = _subject(loaded, adapter)
        subjects.append(subject)
        notes += ask_sets(asked, loaded, subject, adapter.weights, loading, store, tell_of, base=settings.base)
        if not gives_classes(task):
            continue
        data, more = _data_of(sets, loaded, adapter, settings, rows, columns, decisive)
        notes += more
        _ask(loaded, adapter, subject, data, settings, loading, tell_of, store)
    if settings.base and any(data.train is None for data in sets.values()):
        notes.append(Sentence("No train rows are known, so that the bare base has no probe to stand beside."))
    findings, rates = [], []
    for subject in subjects:
        tell(f"comparing: {subject.name}")
        drafts = set_drafts(asked, subject, subjects, settings)
        for data in (each for each in sets.values() if subject in each.subjects):
            drafts = [*_drafts(subject, data, settings), *drafts]
            rates += [GroupRates(subject.name, each, data.material.rows.label, data.asked[subject.name].rows)
                      for each in data.questions.groupings]  # fmt: skip
        findings += finished(drafts)
    return BiasAudit(
        audit="bias", target=str(target), findings=findings, rates=rates,
        names=next((data.material.names for data in sets.values()), ()),
        notes=[each for place, each in enumerate(notes) if each not in notes[:place]],  # sentences have no hash
        facts={
            "settings": asdict(settings), "rows": [data.material.source for data in sets.values()],
            "versions": {name: importlib.metadata.version(name) for name in ("afina", "torch", "transformers")},
        },
    )  # fmt: skip


def _data_of(
    sets: dict[str, _DataSet], loaded: Predictor, adapter: Target, settings: BiasSettings, rows: str | Path | None,
    columns: DatasetSpec | None, decisive: Sequence[str],
) -> tuple[_DataSet, list[str | Sentence]]:  # fmt: skip
    """Return what is asked of the adapters of one data set, prepared for the first of them, and notes on it."""
    key = str(rows) if rows is not None else str(adapter.record.facts.get("source"))
    names, notes = tuple(loaded.task.label_names or ()), list[str | Sentence]()
    if key not in sets:
        material, train, more = _material(adapter, names, settings, rows, columns, decisive)
        asked_of_all, remarks = questions(material, settings)
        sets[key] = _DataSet(asked_of_all.material, asked_of_all, train)
        notes += [*more, *remarks]
    if names != sets[key].material.names:
        raise UsageError(f"{adapter.path} has other labels than the adapters before it; audit it alone.")
    return sets[key], notes


def _material(
    adapter: Target, names: Sequence[str], settings: BiasSettings, rows: str | Path | None, columns: DatasetSpec | None,
    decisive: Sequence[str],
) -> tuple[BiasRows, Rows | None, list[str]]:  # fmt: skip
    """Return the rows to look at, those that were trained on where they are known, and notes."""
    study, source = study_of(adapter.path), adapter.record.facts.get("source")
    if rows is not None:
        spec = columns or DatasetSpec(path=str(rows))
        material, notes = of_file(Path(rows), spec, names, settings.columns, decisive)
        # What the base's probe learns from is the study's; without it there is no base.
        train = None
        if study is not None and source is not None and settings.base:
            train = of_study(study, DatasetSpec(**source), names, ())[1]
        return material, train, notes
    if study is None or source is None:
        raise UsageError(f"{adapter.path} lies in no study's folder; give labelled rows to look at with --rows FILE.")
    material, train = of_study(study, DatasetSpec(**source), names, settings.columns, decisive)
    return material, train, []


def _subject(loaded: Predictor, adapter: Target) -> Subject:
    result, record = adapter.result, loaded.record
    return Subject(
        name=adapter.path.name if result is None else result.run, adapter=str(adapter.path), model=record.model,
        dataset=str(record.facts.get("dataset", "")), method=record.method if result is None else result.method_label,
        rank=loaded.method.settings().get("rank"), seed=record.seed,
    )  # fmt: skip


def _ask(
    loaded: Predictor,
    adapter: Target,
    subject: Subject,
    data: _DataSet,
    settings: BiasSettings,
    loading: Loading,
    tell: Tell,
    store: KeptAnswers,
) -> None:
    """Ask an adapter, and its bare base unless that was asked before."""
    record = loaded.record
    data.subjects.append(subject)
    parts = (data.questions.key, record.model, record.precision, adapter.weights)
    data.asked[subject.name] = AllAnswers.of(
        store.answers(
            subject.name,
            parts,
            lambda: ask(answerer_of(loaded, data.questions.material), data.questions, tell).arrays(),
        )
    )
    name = base_name(record.model)
    if settings.base and data.train is not None and name not in data.asked:
        train, classes = data.train, len(data.material.names)

        def ask_base() -> Mapping[str, np.ndarray]:
            tell("base: fitting a probe")
            probe: Answerer = base_answerer(loaded, train, classes, settings, loading)
            return ask(probe, data.questions, tell).arrays()

        fitted = (train.text, train.text_pair, train.label.tolist(), settings.rows, settings.seed, loaded.longest)
        of_base = (data.questions.key, record.model, record.precision, *fitted)
        data.asked[name] = AllAnswers.of(store.answers(name, of_base, ask_base))


def _drafts(subject: Subject, data: _DataSet, settings: BiasSettings) -> list[Draft]:
    """Return what one adapter's classes show, its base and the other adapters of its seed beside it."""
    answered = data.asked[subject.name]
    base = data.asked.get(base_name(str(subject.model)))
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
    for place, swaps in enumerate(data.questions.swapped):
        swaps_of_others = {name: each.swapped[place] for name, each in beside.items()}
        drafts += swap_drafts(subject, data.material, swaps, answered.swapped[place], swaps_of_others, settings.seed)
    before: dict[str, ClassAnswers] = {"": answered.rows} | {name: each.rows for name, each in beside.items()}
    for check, texts in data.questions.changed.items():
        now = {"": answered.changed[check]} | {name: each.changed[check] for name, each in beside.items()}
        drafts += filter(None, [
            change_draft(subject, data.material, check, data.questions.sample, texts, now, before, settings.seed)
        ])  # fmt: skip
    return drafts

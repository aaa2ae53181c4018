"""Tell what a study's classifiers go by: decisive words, errors in groups, the surest mistakes, and what taught them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from afina.adapters.record import AdapterRecord, read_record
from afina.config import StudyConfig
from afina.data.plain_words import folded
from afina.data.rows import Rows, TextDataset, stratified_rows
from afina.dataset_spec import DatasetSpec
from afina.errors import AfinaError, UsageError, nearest
from afina.explanation.explained import ExplainedText, of_questions
from afina.explanation.faithful import Faithfulness
from afina.explanation.influence import can_be_asked, cosines
from afina.explanation.kinds.base import WantedAnswer, kind_of
from afina.explanation.ways.base import WAYS, AttributionWay
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor
from afina.results.predictions import read_predictions
from afina.results.result import Result
from afina.results.results_jsonl import read_results
from afina.study.data import study_data
from afina.tasks.base import restore

__all__ = ["DecisiveWord", "ErrorGroup", "SureMistake", "Teacher", "Whole", "WholeSettings", "explain_runs"]

_DECISIVE = 3
"""Words of a text that count as decisive, at most: those of largest value, above 0."""
_SHOWN = 12
"""Words of a class that are shown."""
_TEACHERS = 3
_LEAST = 2
"""Texts that a word is decisive in before it is shown: once is chance."""


@dataclass(frozen=True, kw_only=True)
class WholeSettings:
    """Says how much is looked at."""

    run: str | None = None
    """The one run that is looked at; left out, the first seed's of each model, data set and method."""
    rows: int = 100
    train_rows: int = 300
    wrong: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.train_rows < 0 or self.wrong < 0:
            raise UsageError("--rows should be at least 1, --train-rows and --wrong at least 0.")


@dataclass(frozen=True)
class DecisiveWord:
    """Holds a word that is often decisive for a class: how often it was, in how many texts, and its mean value there."""

    word: str
    decisive: int
    texts: int
    value: float


@dataclass(frozen=True)
class ErrorGroup:
    """Holds the rows of one label that were taken for another, and the words that decided most often there."""

    label: str
    taken_for: str
    rows: int
    of: int
    """Rows of the label."""
    words: tuple[str, ...]


@dataclass(frozen=True)
class Teacher:
    """Holds a train row that pulls towards an answer, with its label and the cosine of both gradients."""

    text: str
    label: str
    cosine: float


@dataclass(frozen=True)
class SureMistake:
    """Holds a test row that a run is sure of, and wrong."""

    row: int
    text: str
    label: str
    prediction: str
    probability: float
    agree: int
    """Other runs on these rows that say the same; where all do, the label itself may be wrong."""
    others: int
    teachers: tuple[Teacher, ...]


@dataclass(frozen=True)
class Whole:
    """Holds what was found for one run."""

    run: str
    model: str
    dataset: str
    method: str
    way: str
    rows: int
    """Test rows that were explained."""
    accuracy: float
    words: dict[str, list[DecisiveWord]]
    """Words that are most often decisive, by the class that was predicted."""
    errors: list[ErrorGroup]
    mistakes: list[SureMistake]
    faithfulness: Faithfulness | None
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        return asdict(self)


def explain_runs(
    folder: Path, way: AttributionWay, settings: WholeSettings, loading: Loading, tell: Callable[[str], None]
) -> list[Whole]:
    """Explain the runs of a study's classifiers; raises `UsageError` where there are none."""
    if not (folder / "study.yaml").is_file():
        raise UsageError(f"{folder} is no study's folder (it has no study.yaml); for one adapter leave --global out.")
    done = [result for result in read_results(folder) if result.is_finished and result.adapter]
    if settings.run is not None and settings.run not in (names := [str(result.run) for result in done]):
        raise UsageError(f"{folder} has no finished run '{settings.run}'{nearest(settings.run, names)}")
    records = {str(result.run): read_record(folder / str(result.adapter)) for result in done}
    classes = [result for result in done if restore(records[str(result.run)].task).judged == "class"]
    texts = [result for result in classes if restore(records[str(result.run)].task).predictor == "classifier"]
    chosen = [result for result in texts if settings.run in (None, result.run)]
    if settings.run is None:
        first: dict[tuple[str, str, str], Result] = {}
        # Results stand in the order in which runs ended, which a cohort's or several machines' may be any.
        for result in sorted(chosen, key=lambda each: each.seed):
            first.setdefault((result.model, result.dataset, result.method_label), result)
        chosen = [result for result in chosen if result in first.values()]
    if not chosen:
        raise UsageError(f"{folder} has no finished run of a classifier; --global tells what decides classes.")
    data: dict[str, TextDataset] = {}
    looked_at = []
    for number, result in enumerate(chosen, start=1):
        record, label = records[str(result.run)], f"{number} of {len(chosen)}: {result.run}"
        if result.dataset not in data:
            data[result.dataset] = _data_of(folder, record)
        same = [other for other in texts if other.dataset == result.dataset and other.run != result.run]
        predictor = loading.load(folder / str(result.adapter))
        looked = _Looked(predictor, data[result.dataset], settings)
        tell(f"{label}: answering the test rows")
        looked_at.append(looked.at(result, way, _said(folder, same), _labelled(tell, label)))
    return looked_at


def _labelled(tell: Callable[[str], None], label: str) -> Callable[[str], None]:
    return lambda status: tell(f"{label}: {status}")


def _data_of(folder: Path, record: AdapterRecord) -> TextDataset:
    # Read again with the study's own settings, so that the split is the one of then.
    data = study_data(StudyConfig.read(folder / "study.yaml"), DatasetSpec(**record.facts["source"]))
    if data.train.pixels is not None:
        raise UsageError(f"{folder} learned images, which have no words.")
    return data


def _said(folder: Path, runs: Sequence[Result]) -> list[np.ndarray]:
    """Return what other runs predicted of the same rows; one whose file is gone is left out."""
    predictions = []
    for run in runs:
        try:
            predictions.append(np.asarray(read_predictions(folder, run).prediction))
        except AfinaError:
            continue
    return predictions


class _Looked:
    """Looks at one run."""

    def __init__(self, predictor: Predictor, data: TextDataset, settings: WholeSettings) -> None:
        self.predictor, self.data, self.settings = predictor, data, settings
        self.names = list(predictor.task.label_names or ())
        tokens = predictor.tokens(data.test)
        decoded = predictor.task.decode_rows(tokens, predictor.outputs(tokens, 64))
        self.predicted, self.sure = np.asarray(decoded.predictions), decoded.scores.max(axis=1)
        self.wrong = np.flatnonzero(self.predicted != data.test.label)
        self.wrong = self.wrong[np.argsort(-self.sure[self.wrong], kind="stable")]

    def at(
        self, result: Result, way: AttributionWay, others: Sequence[np.ndarray], tell: Callable[[str], None]
    ) -> Whole:
        notes: list[str] = []
        if way.gradients and self.predictor.method.gradient_free:
            way = WAYS["occlusion"]()
            notes.append(f"{self.predictor.method.name} has no gradients: its words were taken away one by one")
        drawn = stratified_rows(self.data.test.label, min(self.settings.rows, len(self.data.test)), classes=True)
        # Wrong rows too, however few were drawn: errors are told with their words.
        rows = np.unique(np.concatenate([drawn, self.wrong[: self.settings.rows // 2]])).astype(np.int64)
        taken = self.data.test.take(rows)
        kind = kind_of(self.predictor, WantedAnswer())
        explained = of_questions(
            self.predictor, kind, kind.questions(taken.text, taken.text_pair), way, seed=self.settings.seed, tell=tell
        )
        texts = dict(zip(rows.tolist(), explained.texts, strict=True))
        mistakes = self._mistakes(others, tell, notes)
        return Whole(
            str(result.run), result.model, result.dataset, result.method_label, way.name, len(rows),
            float((self.predicted == self.data.test.label).mean()),
            self._words({row: text for row, text in texts.items() if row in set(drawn.tolist())}),
            self._errors(texts), mistakes, explained.faithfulness, [*explained.notes, *notes],
        )  # fmt: skip

    def _words(self, texts: dict[int, ExplainedText]) -> dict[str, list[DecisiveWord]]:
        decisive: dict[str, Counter[str]] = defaultdict(Counter)
        there: dict[str, Counter[str]] = defaultdict(Counter)
        values: dict[tuple[str, str], float] = defaultdict(float)
        for text in texts.values():
            each = _by_word(text)
            there[text.answer].update(each.keys())  # a count of texts: of a mapping it would add the values
            for word in _most(each):
                decisive[text.answer][word] += 1
                values[text.answer, word] += each[word]
        looked_at = {}
        for name in self.names:
            ranked = sorted(decisive[name].items(), key=lambda entry: (-entry[1], -values[name, entry[0]], entry[0]))
            looked_at[name] = [
                DecisiveWord(word, count, there[name][word], values[name, word] / count)
                for word, count in ranked
                if count >= _LEAST
            ][:_SHOWN]
        return looked_at

    def _errors(self, texts: dict[int, ExplainedText]) -> list[ErrorGroup]:
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row in self.wrong.tolist():
            groups[int(self.data.test.label[row]), int(self.predicted[row])].append(row)
        made = []
        for (label, taken), rows in sorted(groups.items(), key=lambda entry: (-len(entry[1]), entry[0])):
            words = Counter(word for row in rows if row in texts for word in _most(_by_word(texts[row])))
            common = tuple(word for word, count in words.most_common(6) if count >= min(_LEAST, len(rows)))
            of = int((self.data.test.label == label).sum())
            made.append(ErrorGroup(self.names[label], self.names[taken], len(rows), of, common))
        return made

    def _mistakes(
        self, others: Sequence[np.ndarray], tell: Callable[[str], None], notes: list[str]
    ) -> list[SureMistake]:
        rows = self.wrong[: self.settings.wrong]
        if not len(rows):
            return []
        teachers: list[tuple[Teacher, ...]] = [()] * len(rows)
        if not can_be_asked(self.predictor):
            notes.append(
                f"{self.predictor.method.name} has no few parameters of its own whose gradients could be compared"
            )
        elif self.settings.train_rows:
            tell("looking for the train rows that taught it")
            teachers = self._teachers(rows)
        comparable = [predictions for predictions in others if len(predictions) == len(self.data.test)]
        return [
            SureMistake(
                int(row), _shown(self.data.test, int(row)), self.names[int(self.data.test.label[row])],
                self.names[int(self.predicted[row])], float(self.sure[row]),
                sum(int(predictions[row]) == int(self.predicted[row]) for predictions in comparable), len(comparable), own,
            )
            for row, own in zip(rows, teachers, strict=True)
        ]  # fmt: skip

    def _teachers(self, rows: np.ndarray) -> list[tuple[Teacher, ...]]:
        train, asked = self.data.train, self.data.test.take(rows)
        drawn = stratified_rows(train.label, min(self.settings.train_rows, len(train)), classes=True)
        near = cosines(self.predictor, asked, self.predicted[rows].astype(asked.label.dtype), train.take(drawn))
        return [
            tuple(
                Teacher(_shown(train, int(drawn[place])), self.names[int(train.label[drawn[place]])], float(own[place]))
                for place in np.argsort(-own, kind="stable")[:_TEACHERS]
            )
            for own in near
        ]


def _by_word(text: ExplainedText) -> dict[str, float]:
    """Return the value of each word that has a letter or a figure, added up where it comes again."""
    values: dict[str, float] = defaultdict(float)
    for word, value in zip(text.words, text.values, strict=True):
        if any(letter.isalnum() for letter in word.text):
            values[folded(word.text)] += value
    return dict(values)


def _most(values: dict[str, float]) -> list[str]:
    ranked = sorted(values.items(), key=lambda entry: (-entry[1], entry[0]))
    return [word for word, value in ranked[:_DECISIVE] if value > 0]


def _shown(rows: Rows, row: int) -> str:
    text = rows.text[row] if rows.text_pair is None else f"{rows.text[row]} | {rows.text_pair[row]}"
    return text if len(text) <= 400 else f"{text[:400]}…"

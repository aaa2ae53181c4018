"""Presets on stand-ins of the hub's form: the columns and features that each set has there, with rows of our own."""

# ruff: noqa: E501 (tables of inputs)

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value

from afina.config import StudyConfig
from afina.data.sources.presets import PARQUET, PRESETS
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.study.prepare import task_of
from afina.tasks.base import restore
from afina.tasks.reading import load_text_dataset

TEXT, NUMBER, TRUTH = Value("string"), Value("float32"), Value("bool")
INTEGER = Value("int64")
ENTAILS = ["entailment", "neutral", "contradiction"]
CONLL = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
LETTERED = {"text": Sequence(TEXT), "label": Sequence(TEXT)}
ANSWERS = Sequence({"text": TEXT, "answer_start": INTEGER})


def classes(*names: str) -> ClassLabel:
    return ClassLabel(names=list(names))


def glue(first: str, second: str | None, *names: str) -> dict[str, Any]:
    return {first: TEXT, **({second: TEXT} if second else {}), "label": classes(*names), "idx": INTEGER}


TRUE = ("False", "True")
HUB: dict[str, dict[str, Any]] = {
    "imdb": {"text": TEXT, "label": classes("neg", "pos")},
    "ag_news": {"text": TEXT, "label": classes("World", "Sports", "Business", "Sci/Tech")},
    "snli": {"premise": TEXT, "hypothesis": TEXT, "label": classes(*ENTAILS)},
    "cola": glue("sentence", None, "unacceptable", "acceptable"),
    "sst2": glue("sentence", None, "negative", "positive"),
    "mrpc": glue("sentence1", "sentence2", "not_equivalent", "equivalent"),
    "qqp": glue("question1", "question2", "not_duplicate", "duplicate"),
    "stsb": {"sentence1": TEXT, "sentence2": TEXT, "label": NUMBER, "idx": INTEGER},
    "mnli": glue("premise", "hypothesis", *ENTAILS),
    "qnli": glue("question", "sentence", "entailment", "not_entailment"),
    "rte": glue("sentence1", "sentence2", "entailment", "not_entailment"),
    "wnli": glue("sentence1", "sentence2", "not_entailment", "entailment"),
    "boolq": glue("question", "passage", *TRUE),
    "cb": glue("premise", "hypothesis", "entailment", "contradiction", "neutral"),
    "copa": {"premise": TEXT, "choice1": TEXT, "choice2": TEXT, "question": TEXT, "idx": INTEGER,
             "label": classes("choice1", "choice2")},
    "multirc": {"paragraph": TEXT, "question": TEXT, "answer": TEXT, "idx": {"paragraph": INTEGER}, "label": classes(*TRUE)},
    "wic": {"word": TEXT, "sentence1": TEXT, "sentence2": TEXT, "start1": INTEGER, "label": classes(*TRUE)},
    "wsc": {"text": TEXT, "span1_index": INTEGER, "span1_text": TEXT, "span2_text": TEXT, "label": classes(*TRUE)},
    "hellaswag": {"ind": INTEGER, "activity_label": TEXT, "ctx_a": TEXT, "ctx_b": TEXT, "ctx": TEXT, "endings": Sequence(TEXT),
                  "label": TEXT},
    "piqa": {"goal": TEXT, "sol1": TEXT, "sol2": TEXT, "label": classes("0", "1")},
    "arc_challenge": {"id": TEXT, "question": TEXT, "choices": Sequence({"text": TEXT, "label": TEXT}), "answerKey": TEXT},
    "arc_easy": {"id": TEXT, "question": TEXT, "choices": LETTERED, "answerKey": TEXT},
    "openbookqa": {"id": TEXT, "question_stem": TEXT, "choices": LETTERED, "answerKey": TEXT},
    "winogrande": {"sentence": TEXT, "option1": TEXT, "option2": TEXT, "answer": TEXT},
    "mmlu": {"question": TEXT, "subject": TEXT, "choices": Sequence(TEXT), "answer": classes("A", "B", "C", "D")},
    "conll2003": {"id": TEXT, "tokens": Sequence(TEXT), "pos_tags": Sequence(classes("NN")),
                  "ner_tags": Sequence(classes(*CONLL, "B-MISC", "I-MISC"))},
    "wikiann": {"tokens": Sequence(TEXT), "ner_tags": Sequence(classes(*CONLL)), "langs": Sequence(TEXT), "spans": Sequence(TEXT)},
    "squad": {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": ANSWERS},
    "drop": {"section_id": TEXT, "passage": TEXT, "question": TEXT,
             "answers_spans": {"spans": Sequence(TEXT), "types": Sequence(TEXT)}},
    "record": {"passage": TEXT, "query": TEXT, "entities": Sequence(TEXT), "answers": Sequence(TEXT),
               "idx": {"passage": INTEGER, "query": INTEGER}},
    "xsum": {"document": TEXT, "summary": TEXT, "id": TEXT},
    "cnn_dailymail": {"article": TEXT, "highlights": TEXT, "id": TEXT},
    "gsm8k": {"question": TEXT, "answer": TEXT},
    "svamp": {"ID": TEXT, "Body": TEXT, "Question": TEXT, "Equation": TEXT, "Answer": TEXT, "Type": TEXT},
    "assin2": {"sentence_pair_id": INTEGER, "premise": TEXT, "hypothesis": TEXT, "relatedness_score": NUMBER,
               "entailment_judgment": classes("NONE", "ENTAILMENT")},
    "faquad": {"id": TEXT, "title": TEXT, "context": TEXT, "question": TEXT, "answers": ANSWERS},
    "lener_br": {"id": TEXT, "tokens": Sequence(TEXT), "ner_tags": Sequence(classes(*PRESETS["lener_br"].label_names))},
    "told_br": {"text": TEXT, "label": classes("not-toxic", "toxic")},
    "hatebr": {"instagram_comments": TEXT, "offensive_language": TRUTH, "offensiveness_levels": INTEGER},
    "tweetsentbr": {"id": TEXT, "sentence": TEXT, "label": TEXT},
}  # fmt: skip
HUB["assin2_similarity"] = HUB["assin2"]
LABELS = {"hellaswag": "1", "arc_challenge": "B", "arc_easy": "2", "openbookqa": "B", "winogrande": "2"}
"""What the second answer's place is called in the sets whose labels are texts."""
FIRST: dict[str, tuple[str, str | None]] = {
    "copa": ("premise 1 What is the question 1?", None), "multirc": ("paragraph 1", "question 1 answer 1"),
    "wic": ("word 1: sentence1 1", "sentence2 1"), "wsc": ("text 1", "span2_text 1 is span1_text 1"),
    "hellaswag": ("ctx 1", None), "winogrande": ("sentence 1", None), "boolq": ("question 1", "passage 1"),
    "squad": ("question: question 1 context: context 1", "text 1"), "drop": ("question: question 1 context: passage 1", "spans 1"),
    "record": ("query: query 1 passage: passage 1", "answers 1"),
    "xsum": ("document 1", "summary 1"), "faquad": ("question: question 1 context: context 1", "text 1"),
    "assin2_similarity": ("premise 1", "hypothesis 1"), "hatebr": ("instagram_comments 1", None),
}  # fmt: skip


def value(name: str, feature: Any, row: int, letters: list[str]) -> Any:
    if isinstance(feature, ClassLabel):
        return row % len(feature.names)
    if isinstance(feature, dict):
        return {key: value(key, inner, row, letters) for key, inner in feature.items()}
    if hasattr(feature, "feature"):
        if isinstance(feature.feature, dict):
            return {key: value(key, Sequence(inner), row, letters) for key, inner in feature.feature.items()}
        if name == "label":
            return letters
        return [value(name, feature.feature, row + place, letters) for place in range(4)]
    made = {"bool": row % 2 == 0, "float32": row / 4, "int64": row}
    return made.get(feature.dtype, f"{name} {row}")


def stand_in(name: str, rows: int = 6) -> Dataset:
    columns: dict[str, list[Any]] = {}
    letters = list("1234" if name == "arc_easy" else "ABCD")
    for column, feature in HUB[name].items():
        columns[column] = [value(column, feature, row, letters) for row in range(1, rows + 1)]
    preset = PRESETS[name]
    if name in LABELS:
        columns[preset.label] = [LABELS[name]] * rows
    if name == "tweetsentbr":
        columns["label"] = [("Positive", "Neutral", "Negative")[row % 3] for row in range(rows)]
    return Dataset.from_dict(columns, features=Features(HUB[name]))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[Any, ...]]]:
    """Answers for a preset as the hub would, and keeps what was asked for."""

    def serve(name: str) -> list[tuple[Any, ...]]:
        asked: list[tuple[Any, ...]] = []

        def load_dataset(path: str, config: str | None = None, *, split: str, **more: Any) -> Dataset:
            asked.append((path, config, split, more))
            return stand_in(name)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return serve


def test_every_preset_has_a_stand_in() -> None:
    assert set(HUB) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_read_the_hubs_form(name: str, hub: Any) -> None:
    preset, asked = PRESETS[name], hub(name)
    data = load_text_dataset(DatasetSpec(path=name))
    config, more = preset.config, {}
    if preset.revision:  # the hub's conversion has a folder for each config, and no name of one
        config, more = None, {"revision": PARQUET} | ({"data_dir": config} if config else {})
    assert asked == [(preset.hub, config, split, more) for split in (preset.train_split, preset.test_split)]
    assert (data.name, data.task, data.metric) == (name, preset.task, preset.metric)
    assert len(data.train) == len(data.test) == 6
    first = (data.train.text[0], data.train.text_pair[0] if data.train.text_pair else None)
    if name in FIRST:
        assert first == FIRST[name]
    if data.task in ("classification", "tagging"):
        assert data.label_names == preset.label_names
    if data.task == "choices":
        assert data.train.choices is not None
        assert len(data.train.choices[0]) in (2, 4)
        assert len(data.train.choices[0]) <= preset.answers
    if name in LABELS:
        assert data.train.label.tolist() == [1] * 6
    if name == "mmlu":
        assert data.train.label.tolist() == [1, 2, 3, 0, 1, 2]
    if data.task == "chat":
        asked_and_said = {"gsm8k": ("question 1", "answer 1"), "svamp": ("Body 1 Question 1", "Answer 1")}[name]
        assert json.loads(data.train.text[0]) == [["user", asked_and_said[0]], ["assistant", asked_and_said[1]]]
    study = {"model": "minilm", "dataset": name, "methods": ["head"], "template": "plain"}
    parsed = StudyConfig.parse(study, "test")
    if data.task not in ("chat", "seq2seq"):
        task = task_of(parsed, parsed.dataset[0], data, None)
        # A run's worker makes the task again from what was written down of it.
        for made in (task, restore(json.loads(json.dumps(task.state())))):
            assert made.metric == (preset.metric or type(task).metric)


def preset_table() -> str:
    """The table of docs/reference/presets.md."""
    lines = ["| name | on the hub | task | metric | train / test rows |", "|---|---|---|---|---|"]
    for name, preset in PRESETS.items():
        hub = f"{preset.hub}, {preset.config}" if preset.config else preset.hub
        rows = f"{preset.rows['train']:,} / {preset.rows['test']:,}" if preset.rows else ""
        split = "" if preset.test_split == "test" else f" ({preset.test_split})"
        lines.append(f"| `{name}` | {hub} | {preset.task} | {preset.metric or ''} | {rows}{split} |")
    return "\n".join(lines)


def test_the_docs_have_every_preset() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "reference" / "presets.md").read_text(encoding="utf-8")
    assert preset_table() in docs
    checked = docs.partition("## What was checked")[2]
    assert [name for name in PRESETS if f"`{name}`" not in checked] == []
    for name, preset in PRESETS.items():
        if preset.label_names and preset.task != "tagging":
            assert ", ".join(preset.label_names) in checked, name


def test_a_study_may_ask_a_preset_for_something_else(hub: Any) -> None:
    hub("squad")
    data = load_text_dataset(DatasetSpec(path="squad"), task="chat")
    assert json.loads(data.train.text[0]) == [
        ["user", "question: question 1 context: context 1"],
        ["assistant", "text 1"],
    ]
    hub("mnli")
    data = load_text_dataset(DatasetSpec(path="mnli", split={"test": "validation_mismatched"}, metric="macro_f1"))
    assert data.metric == "macro_f1"
    config = StudyConfig.parse({"model": "minilm", "dataset": "mnli", "methods": ["head"]}, "test")
    with pytest.raises(UsageError, match="metric: task classification has no 'binary_f1' here"):
        task_of(config, config.dataset[0], load_text_dataset(DatasetSpec(path="mnli", metric="binary_f1")), None)


def test_a_set_that_has_changed_on_the_hub_is_said(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub("squad")
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: Dataset.from_dict({"text": ["a"] * 6, "label": [0, 1] * 3})
    )
    with pytest.raises(UsageError, match="has no column 'question' now, but text, label; name its columns yourself"):
        load_text_dataset(DatasetSpec(path="squad"))


def test_a_preset_through_files_of_the_hubs_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by `to_parquet` and read by the real `load_dataset`: nested answers and class names come through."""
    real = datasets.load_dataset
    for name in ("openbookqa", "conll2003", "squad"):
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        for split in ("train", PRESETS[name].test_split):
            stand_in(name).to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
        monkeypatch.setattr(
            datasets, "load_dataset",
            lambda path, config, split, folder=folder: real(str(folder), split=split, cache_dir=str(tmp_path / "cache")),
        )  # fmt: skip
        data = load_text_dataset(DatasetSpec(path=name))
        assert (data.task, len(data.test)) == (PRESETS[name].task, 6)


def test_the_hubs_order_of_labels_goes_before_the_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = Features({**HUB["rte"], "label": classes("not_entailment", "entailment")})
    table = stand_in("rte").cast(turned)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    data = load_text_dataset(DatasetSpec(path="rte"))
    assert data.label_names == ("not_entailment", "entailment")
    assert any("the hub names the labels not_entailment, entailment, where the preset 'rte'" in n for n in data.notes)
    tags = Features({**HUB["wikiann"], "ner_tags": Sequence(classes("O", "B-LOC", "I-LOC", *CONLL[1:5]))})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: stand_in("wikiann").cast(tags))
    data = load_text_dataset(DatasetSpec(path="wikiann"))
    assert (data.label_names or ())[:3] == ("O", "B-LOC", "I-LOC")


def test_a_set_that_is_kept_as_a_script_is_read_from_the_hubs_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for each config, as the hub's conversion has them; the other config has other columns."""
    real, asked = datasets.load_dataset, []
    for split in ("train", "test"):
        for config, table in (("binary", stand_in("told_br")), ("multilabel", stand_in("imdb"))):
            folder = tmp_path / "hub" / config / split
            folder.mkdir(parents=True)
            table.to_parquet(folder / "0000.parquet")

    def load_dataset(path: str, config: str | None = None, *, split: str, revision: str = "main", **more: Any) -> Any:
        asked.append(revision)
        if revision == "main":
            raise RuntimeError("Dataset scripts are no longer supported, but found told-br.py")
        return real(str(tmp_path / "hub"), config, split=split, cache_dir=str(tmp_path / "cache"), **more)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_text_dataset(DatasetSpec(path="told_br")).label_names == ("not-toxic", "toxic")
    assert set(asked) == {PARQUET}
    data = load_text_dataset(DatasetSpec(path="someone/toxic", config="binary"))
    assert (data.label_names, asked.count("main")) == (("not-toxic", "toxic"), 1)


def test_presets_whose_lengths_nobody_counted_are_planned_at_their_most(monkeypatch: pytest.MonkeyPatch) -> None:
    from afina.study.sizes import sizes_of

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.setitem(PRESETS, "drop", replace(PRESETS["drop"], rows={}))
    config = StudyConfig.parse(
        {"model": "minilm", "dataset": ["rte", "drop"], "methods": ["head"], "max_length": 77}, "test"
    )
    sizes = sizes_of(config, config.dataset[0], "minilm")
    assert (sizes.train_rows, sizes.test_rows, sizes.tokens, sizes.longest, sizes.classes) == (2_490, 277, 77, 77, 2)
    assert sizes.source == "published rows; its lengths are not known, and taken to fill max_length"
    with pytest.raises(UsageError, match="preset 'drop' is read from the hub"):
        sizes_of(config, config.dataset[1], "minilm")


# -- translations and questions --------------------------------------------------------------------------------------


def load(path: Path, rows: list[Any], task: str = "seq2seq", **spec: Any) -> Any:
    path.write_text("\n".join(map(json.dumps, rows)))
    return load_text_dataset(DatasetSpec(path=str(path), **spec), task=task)


@pytest.mark.parametrize(
    ("row", "spec", "first", "note"),
    [
        ({"translation": {"en": "a b", "pt": "c d"}}, {}, ("a b", "c d"), "translated from 'en' to 'pt'; text: and target: say"),
        ({"translation": {"en": "a b", "pt": "c d"}}, {"text": "pt", "target": "en"}, ("c d", "a b"), "translated from 'pt' to"),
        ({"question": "q", "context": "c", "answers": {"text": ["x", "y"], "answer_start": [0, 1]}}, {},
         ("question: q context: c", "x"), "read as 'question: ... context: ...', and the first of its answers written (6 rows"),
        ({"title": "t", "paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{"text": "x"}]}]}]}, {},
         ("question: q context: c", "x"), "read as 'question"),
    ],
)  # fmt: skip
def test_what_is_read_and_written_may_stand_inside_other_columns(
    row: dict[str, Any], spec: dict[str, Any], first: tuple[str, str], note: str, tmp_path: Path
) -> None:
    data = load(tmp_path / "a.jsonl", [row] * 6, **spec)
    assert (data.train.text[0], data.train.text_pair[0]) == first
    assert any(told.startswith(note) for told in data.notes), data.notes
    talk = load(tmp_path / "a.jsonl", [row] * 6, "chat", **spec)
    assert json.loads(talk.train.text[0]) == [["user", first[0]], ["assistant", first[1]]]


def test_a_translation_that_could_go_anywhere_is_asked_about(tmp_path: Path) -> None:
    row = {"translation": {"en": "a", "pt": "b", "es": "c"}}
    with pytest.raises(UsageError, match="translation of en, pt, es; say from which to which with text: and target:"):
        load(tmp_path / "a.jsonl", [row] * 6)
    with pytest.raises(UsageError, match=r"no language 'fr' in its translations \(en, pt, es\)"):
        load(tmp_path / "a.jsonl", [row] * 6, text="en", target="fr")

"""Several labels a row: read from lists, marks and columns of 0 and 1; learned, measured and given back as sets."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

import afina
from afina.data.rows import TextDataset
from afina.data.tokens.tokens import LabelledTokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.measure.metrics.base import Answers, metric_named
from afina.results.predictions import read_predictions
from afina.tasks.multilabel import MultiLabel, SeveralLabels
from afina.tasks.reading import load_text_dataset

NAMES = ("food", "late", "price")
SETS = [["food"], [], ["late", "price"], ["food", "late"], ["price"], ["late"], ["food", "price"], []] * 3
TEXTS = [f"row {place} of {' and '.join(own) or 'nothing'}" for place, own in enumerate(SETS)]


def read(path: Path, **more: Any) -> TextDataset:
    return load_text_dataset(DatasetSpec.parse({"path": str(path), **more}, "data"), task="multilabel")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sets_of(data: TextDataset) -> dict[str, tuple[str, ...]]:
    assert data.label_names is not None
    shown = MultiLabel(data.label_names).shown
    return {t: own for rows in (data.train, data.test) for t, own in zip(rows.text, shown(rows.label), strict=True)}


FORMS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "lists": lambda own: {"labels": own},
    "lists as text": lambda own: {"labels": str(own)},
    "columns": lambda own: {name: int(name in own) for name in NAMES},
    "columns of true": lambda own: {name: name in own for name in NAMES},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_labels_is_read_alike(tmp_path: Path, form: str) -> None:
    rows = [{"text": text} | FORMS[form](own) for text, own in zip(TEXTS, SETS, strict=True)]
    data = read(written(tmp_path / "rows.jsonl", rows))
    assert (data.task, data.label_names) == ("multilabel", NAMES)
    assert sets_of(data) == {text: tuple(own) for text, own in zip(TEXTS, SETS, strict=True)}
    assert data.columns["label"] == (list(NAMES) if "columns" in form else "labels")


@pytest.mark.parametrize("mark", [";", " | ", ", "])
def test_labels_may_stand_in_one_text(tmp_path: Path, mark: str) -> None:
    rows = [{"text": text, "label": mark.join(own)} for text, own in zip(TEXTS, SETS, strict=True)]
    data = read(written(tmp_path / "rows.jsonl", rows))
    assert sets_of(data) == {text: tuple(own) for text, own in zip(TEXTS, SETS, strict=True) if own}
    assert any(f"with '{mark.strip()}' between them" in note for note in data.notes)
    assert any("6 rows with no label left out" in note for note in data.notes)


def test_columns_of_flags_may_be_named_and_then_need_no_task(tmp_path: Path) -> None:
    rows = [{"text": text} | FORMS["columns"](own) | {"seen": 1} for text, own in zip(TEXTS, SETS, strict=True)]
    path = written(tmp_path / "rows.jsonl", rows)
    spec = DatasetSpec.parse({"path": str(path), "label": ["late", "price"]}, "data")
    assert DatasetSpec.parse(spec.model_dump(), "data") == spec, "as a study's folder keeps it"
    data = load_text_dataset(spec)
    assert (data.task, data.label_names) == ("multilabel", ("late", "price"))
    with pytest.raises(
        UsageError, match="late, price are several columns, and task: classification learns one label a row"
    ):
        load_text_dataset(spec, task="classification")
    with pytest.raises(UsageError, match="'late' is 'perhaps', neither 0 nor 1"):
        read(written(path, [*rows, {"text": "x", "late": "perhaps", "price": 0}]), label=["late", "price"])
    with pytest.raises(UsageError, match="no column 'prise' for label; did you mean 'price'"):
        read(written(path, rows), label=["late", "prise"])


def test_numbers_without_names_are_said(tmp_path: Path) -> None:
    rows = [{"text": t, "label": [int(n in own) for n in NAMES]} for t, own in zip(TEXTS, SETS, strict=True)]
    data = read(written(tmp_path / "rows.jsonl", rows))
    assert data.label_names == ("0", "1", "2")
    assert any("have no names: they are numbered from 0" in note for note in data.notes)


def test_labels_of_which_nothing_can_be_learned_are_said(tmp_path: Path) -> None:
    rows = [{"text": t, "labels": [*own, "every"]} for t, own in zip(TEXTS, SETS, strict=True)]
    data = read(written(tmp_path / "rows.jsonl", rows))
    assert any("of every nothing can be learned" in note for note in data.notes)
    for labels, sentence in ((["a"], "no two labels"), (["a", "b"], "every train row has the same labels")):
        with pytest.raises(UsageError, match=sentence):
            read(written(tmp_path / "same.jsonl", [{"text": t, "labels": labels} for t in TEXTS]))


def tokens_of(labels: np.ndarray) -> LabelledTokens:
    return LabelledTokens(np.zeros(len(labels), np.int32), np.arange(len(labels) + 1), labels)


def test_the_loss_is_that_of_transformers() -> None:
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.randint(0, 2, (5, 3), dtype=torch.int8)
    mean = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double())
    torch.testing.assert_close(MultiLabel(NAMES).loss(logits, labels), 5 * mean)
    weighted = MultiLabel(NAMES, weights=[1.0, 3.0, 0.5], smoothing=0.1).loss(logits, labels)
    soft = labels.double() * 0.9 + 0.05
    positive = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)
    by_hand = -(positive * soft * logits.sigmoid().log() + (1 - soft) * (-logits).sigmoid().log()).sum() / 3
    torch.testing.assert_close(weighted, by_hand)


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_are_the_best_on_the_development_split(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = np.round(random.normal(size=(60, 3)), 1)  # with ties
    labels = (logits + random.normal(size=logits.shape) > 0.8).astype(np.int8)
    labels[:, 2] = 0
    task = MultiLabel(NAMES).developed(tokens_of(labels), logits)
    assert isinstance(task, MultiLabel) and task.thresholds is not None
    scores = 1 / (1 + np.exp(-logits))
    found = task.decode(logits).predictions
    for place in range(2):
        # At any other threshold the rows are parted as at one of these.
        tried = [f1_score(labels[:, place], scores[:, place] >= cut) for cut in np.unique(scores[:, place])]
        assert f1_score(labels[:, place], found[:, place]) == pytest.approx(max(tried))
    assert task.thresholds[2] == 0.5, "of a label that no row has nothing is chosen"


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels, predictions = random.integers(0, 2, (40, 3)), random.integers(0, 2, (40, 3))
    labels[:, 2] = predictions[:, 2] = 0  # a label that nobody has counts for nothing
    shown = MultiLabel(NAMES).shown
    answers = Answers(shown(labels), shown(predictions), np.zeros((40, 3)))
    expected = {
        "micro_f1": f1_score(labels, predictions, average="micro"),
        "macro_f1": f1_score(labels, predictions, average="macro", zero_division=np.nan),
        "exact_match": accuracy_score(labels, predictions),
    }
    for name, value in expected.items():
        assert metric_named(name).value(answers) == pytest.approx(value), name
        some = np.array([0, 0, 3, 7])  # rows of a bootstrap's draw
        drawn = Answers(answers.label[some], answers.prediction[some], answers.scores[some])
        assert metric_named(name).over(answers)(some) == pytest.approx(metric_named(name).value(drawn))


def test_no_labels_at_all_are_a_figure_of_zero() -> None:
    shown = MultiLabel(NAMES).shown(np.zeros((4, 3), dtype=np.int8))
    answers = Answers(shown, shown, np.zeros((4, 3)))
    assert [metric_named(name).value(answers) for name in ("micro_f1", "macro_f1", "exact_match")] == [0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def study(family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> afina.Study:
    folder = tmp_path_factory.mktemp("multilabel")
    random = np.random.default_rng(0)
    sets = [[name for name in NAMES if random.random() < 0.4] for _ in range(240)]
    words = {"food": "great", "late": "late", "price": "kettle"}
    rows = [{"text": " ".join(["app", *(words[n] for n in own)]), "labels": own} for own in sets]
    made = afina.Study(
        folder / "out", model=str(family_folder("bert")), dataset=str(written(folder / "rows.jsonl", rows)),
        task="multilabel", methods=["lora", "head", "features"], seeds=1, epochs=8, batch_size=8, learning_rate=3e-2,
        precision="fp32", max_length=16,
    )  # fmt: skip
    made.run()
    return made


def test_a_study_learns_several_labels(study: afina.Study) -> None:
    results = {result["method"]: result for result in study.results}
    lora = results["lora"]
    assert (lora["status"], lora["task"], lora["metric"]) == ("ok", "multilabel", "micro_f1")
    assert list(lora["test_metrics"]) == ["exact_match", "macro_f1", "micro_f1"]
    assert lora["test_metric"] > 0.8  # all labels for every row: 0.6
    assert results["features"]["status"] == "failed"
    assert "fits one label or number a text" in results["features"]["error"]
    kept = read_predictions(study.directory, lora)
    assert metric_named("micro_f1").value(kept) == lora["test_metric"]
    assert kept.scores.shape == (len(kept.item), 3)


def test_its_adapter_gives_sets_by_the_thresholds_it_chose(study: afina.Study, tmp_path: Path) -> None:
    loaded = afina.load(
        study.directory / "runs" / next(r["run"] for r in study.results if r["method"] == "lora") / "adapter"
    )
    assert isinstance(loaded.task, MultiLabel) and loaded.task.thresholds is not None
    found = loaded.predict(["app great late", "app"])
    assert all(isinstance(one, SeveralLabels) for one in found)
    assert found[0].as_dict()["labels"] == ["food", "late"]
    cuts = dict(zip(NAMES, loaded.task.thresholds, strict=True))
    for one in found:
        assert isinstance(one, SeveralLabels) and one.probabilities is not None
        assert one.labels == tuple(name for name in NAMES if one.probabilities[name] >= cuts[name])
    (tmp_path / "ask.csv").write_text("text\napp great late\n\n")
    counts = afina.predict_file(loaded, tmp_path / "ask.csv", tmp_path / "out.csv")
    assert counts.answered == 1
    row, empty = csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines())
    assert empty["prediction"] == ""
    assert (row["text"], row["prediction"]) == ("app great late", "food; late")
    assert [f"{p:.4f}" for p in (found[0].probabilities or {}).values()] == [
        f"{float(row[f'p({name})']):.4f}" for name in NAMES
    ]
    with pytest.raises(UsageError, match="this adapter answers with none or several labels"):
        afina.predict_file(loaded, tmp_path / "ask.csv", tmp_path / "sure.csv", at_least=0.9)


@pytest.mark.parametrize("to", ["merged", "peft"])
def test_its_export_says_yes_or_no_to_each_label(study: afina.Study, tmp_path: Path, to: str) -> None:
    folder = study.directory / "runs" / next(r["run"] for r in study.results if r["method"] == "lora") / "adapter"
    found = afina.export_adapter(folder, to, out=tmp_path / "out")
    assert found.parity.equal and found.parity.agreeing == found.parity.rows
    assert found.parity.metrics["micro_f1"][0] == pytest.approx(found.parity.metrics["micro_f1"][1])
    if to == "merged":
        assert (
            json.loads((tmp_path / "out" / "config.json").read_text())["problem_type"] == "multi_label_classification"
        )

"""What a run got wrong: by class, row by row and by how sure it was, and how sure a figure is by its test rows."""

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from afina.data.rows import Rows, TextDataset
from afina.errors import UsageError
from afina.report.write import write_report
from afina.results.certainty import row_interval, wilson
from afina.results.mistakes import Mistakes, read_mistakes
from afina.results.predictions import Predictions, read_predictions, write_predictions
from afina.results.results_jsonl import read_results
from afina.results.test_rows import read_test_rows, write_test_rows
from commands import afina, refused
from result_folders import write_study

NAMES = ["Cobrança", "Entrega", "=Troca", "nunca"]
TEXTS = [f"carta {row}\ncom duas linhas" for row in range(800)]
TEXTS[7] = "=HYPERLINK(1)"
NUMBERS = np.arange(800) * 3 + 2
"""Of the rows in their file, where others stand between."""
DIGEST = "d" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four classes, one of which no row has; `lora` is best, one seed."""
    folder = write_study(tmp_path_factory.mktemp("mistakes"), {"lora": (0.9, 1, 5), "head": (0.6, 0.5, 1)}, seeds=1)
    random = np.random.default_rng(3)
    results = read_results(folder)
    for result in results:
        own = read_predictions(folder, result)
        logits = random.normal(size=(800, 4))
        logits[np.arange(800), own.prediction] = logits.max(axis=1) + random.exponential(size=800)
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        write_predictions(folder / result["predictions"], own.label, own.prediction, scores)
        result |= {"label_names": NAMES, "fingerprint": {"digest": "x" * 64, "git": None, "data": DIGEST}}
    (folder / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    rows = Rows(TEXTS, None, np.zeros(800, dtype=np.int64), number=NUMBERS)
    write_test_rows(folder, TextDataset("d", "classification", tuple(NAMES), rows, rows, None, (), DIGEST))
    return folder


def of(folder: Path) -> tuple[Mistakes, Predictions]:
    (result,) = (result for result in read_results(folder) if result["method"] == "lora")
    return read_mistakes(folder, result["run"]), read_predictions(folder, result)


def test_scores_by_class_are_scikit_learns(folder: Path) -> None:
    mistakes, own = of(folder)
    theirs = precision_recall_fscore_support(own.label, own.prediction, labels=range(4), zero_division=0)
    for place, score in enumerate(mistakes.by_class()):
        assert (score.precision or 0, score.recall or 0, score.f1 or 0, score.rows) == pytest.approx(
            [values[place] for values in theirs]
        )
    assert (mistakes.confusion == confusion_matrix(own.label, own.prediction, labels=range(4))).all()
    first, *_, none = mistakes.by_class()
    assert first.taken_for == (("Entrega", int(mistakes.confusion[0, 1])),)
    assert (none.rows, none.precision, none.recall, none.f1) == (0, None, None, None)


def test_coverage_counts_the_rows_that_are_sure_enough(folder: Path) -> None:
    mistakes, own = of(folder)
    for found in mistakes.coverage([0.0, 0.6, 0.9, 1.1]):
        sure = own.scores.max(axis=1) >= found.at_least
        right = own.label == own.prediction
        assert (found.rows, found.answered, found.right) == (800, sure.sum(), right[sure].sum())
        assert found.accuracy == (pytest.approx(right[sure].mean()) if sure.any() else None)
    assert found.interval == (0.0, 1.0)


def test_wrong_rows_come_with_their_texts_the_surest_first(folder: Path) -> None:
    mistakes, own = of(folder)
    wrong = mistakes.wrong()
    assert set(wrong) == set(np.flatnonzero(own.label != own.prediction))
    assert (np.diff(own.scores.max(axis=1)[wrong]) <= 0).all()
    write_report(folder)
    with (folder / "tables" / f"errors-{mistakes.run}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == NUMBERS[wrong].tolist()
    frame = mistakes.to_pandas()
    assert frame["row"].tolist() == NUMBERS.tolist()
    assert frame["text"].tolist() == TEXTS
    for row, item in zip(rows, wrong, strict=True):
        assert row["text"].removeprefix("'") == TEXTS[item]
        assert row["label"].removeprefix("'") == NAMES[own.label[item]]
        assert float(row["probability"]) == pytest.approx(own.scores[item].max(), abs=6e-4)
    assert not any(value.startswith("=") for row in rows for value in row.values())


class _Tables(HTMLParser):
    """The tables of a page, and which of its parts are folded."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.folds: dict[str, bool] = {}
        self.inside, self.open = "", False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "details":
            self.open = ("open", None) in attrs

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif self.inside == "summary":
            self.folds[data] = self.open


def test_the_page_shows_what_went_wrong_and_folds_what_few_ask_for(folder: Path, tmp_path: Path) -> None:
    mistakes, own = of(folder)
    page = _Tables()
    page.feed(write_report(folder).html.read_text(encoding="utf-8"))
    heads = [table[0] for table in page.tables]
    confusion = page.tables[heads.index(["label \\ prediction", *NAMES])]
    assert confusion[1][1] == str(int(((own.label == 0) & (own.prediction == 0)).sum()))
    shown = page.tables[heads.index(["row", "label", "prediction", "text", "probability"])]
    assert len(shown) == 1 + min(100, len(mistakes.wrong()))
    assert page.folds["Tables in the published layout"] is False
    assert page.folds["Every setting, version and machine"] is False
    reference = tmp_path / "reference.yaml"
    reference.write_text("columns: []\n")
    page = _Tables()
    page.feed(write_report(folder, reference=reference, language="pt").html.read_text(encoding="utf-8"))
    assert page.folds["Tabelas no formato publicado"] is True
    assert ["classe", "confundida com", "linhas de teste", "precisão (%)", "revocação (%)", "F1 (%)"] in [
        table[0] for table in page.tables
    ]


def test_the_command_says_what_a_run_got_wrong(folder: Path) -> None:
    mistakes, _ = of(folder)
    best = afina("report", folder, "--errors", "best")
    assert best.returncode == 0, best.stderr
    assert best.stdout == afina("report", folder, "--errors", mistakes.run).stdout
    assert f"Wrong answers: {mistakes.run}" in best.stdout
    assert "Cobrança" in best.stdout
    refused(afina("report", folder, "--errors", "lora"), f"no finished run 'lora'; there are {mistakes.run}")


def test_texts_that_are_gone_or_of_other_rows_are_not_shown(folder: Path) -> None:
    assert read_test_rows(folder, DIGEST, 799) is None
    assert read_test_rows(folder, "e" * 64, 800) is None
    assert (kept := read_test_rows(folder, DIGEST, 800)) is not None
    assert kept.shown(3) == TEXTS[3]


@pytest.mark.parametrize(("right", "rows"), [(0, 9), (51, 60), (60, 60), (1, 1)])
def test_the_interval_of_a_share_is_wilsons(right: int, rows: int) -> None:
    theirs = binomtest(right, rows).proportion_ci(method="wilson")
    assert wilson(right, rows) == pytest.approx((theirs.low, theirs.high))


def test_a_single_seed_has_the_interval_of_its_test_rows(folder: Path) -> None:
    _, own = of(folder)
    right = int((own.label == own.prediction).sum())
    low, high = (f"{100 * bound:.1f}" for bound in wilson(right, 800))
    write_report(folder)
    table = (folder / "tables" / "comparison-m-d.md").read_text(encoding="utf-8")
    assert f"{right / 8:.1f} [{low}, {high}]" in table
    assert "95% interval by the 800 test rows" in table
    assert f"could lie anywhere from {low} to {high}%" in (folder / "report.html").read_text(encoding="utf-8")


def test_seeds_that_agree_have_the_interval_of_their_test_rows(folder: Path, tmp_path: Path) -> None:
    """What no seed changes is no surer for it: features on embeddings are the same whatever the seed."""
    results = read_results(folder)
    (lora,) = (result for result in results if result["method"] == "lora")
    again = lora | {"run": "again", "seed": 1}
    shutil.copytree(folder, tmp_path / "twice")
    (tmp_path / "twice" / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*results, again]))
    write_report(tmp_path / "twice")
    table = (tmp_path / "twice" / "tables" / "comparison-m-d.md").read_text(encoding="utf-8")
    low, high = (f"{100 * bound:.1f}" for bound in wilson(round(800 * lora["test_metric"]), 800))
    assert f"{100 * lora['test_metric']:.1f} [{low}, {high}]" in table
    assert "over seeds" not in table and "by the 800 test rows" in table


def test_seeds_that_differ_say_that_their_interval_is_not_the_test_rows(folder: Path, tmp_path: Path) -> None:
    results = read_results(folder)
    (lora,) = (result for result in results if result["method"] == "lora")
    again = lora | {"run": "again", "seed": 1, "test_metric": lora["test_metric"] - 0.05}
    shutil.copytree(folder, tmp_path / "twice")
    (tmp_path / "twice" / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*results, again]))
    write_report(tmp_path / "twice")
    table = (tmp_path / "twice" / "tables" / "comparison-m-d.md").read_text(encoding="utf-8")
    assert "mean and 95% interval over seeds" in table
    assert "The 800 test rows have a chance of their own, which the tested differences count." in table
    write_report(folder)
    alone = (folder / "tables" / "comparison-m-d.md").read_text(encoding="utf-8")
    assert "a chance of their own" not in alone


def test_other_metrics_have_the_interval_of_redrawn_rows() -> None:
    random = np.random.default_rng(0)
    label = random.normal(size=500)
    own = Predictions(np.arange(500), label, label + random.normal(size=500), np.zeros((500, 1)))
    found = row_interval(own, "mse")
    errors = np.square(own.label - own.prediction)
    half = 1.96 * errors.std() / np.sqrt(500)
    assert found.mean == pytest.approx(errors.mean())
    assert (found.low, found.high) == (
        pytest.approx(errors.mean() - half, rel=0.05), pytest.approx(errors.mean() + half, rel=0.05),
    )  # fmt: skip


def test_runs_without_answers_that_are_right_or_wrong_are_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"lora": (0.9, 1, 5)}, seeds=1)
    (result,) = read_results(folder)
    (folder / "results.jsonl").write_text(json.dumps(result | {"task": "chat"}) + "\n")
    with pytest.raises(UsageError, match="task chat, whose rows have no single answer"):
        read_mistakes(folder, result["run"])
    refused(afina("report", folder, "--errors", "best"), "no finished run whose rows have a single answer")

"""The report: true to the results, offline, in two languages, safe with hostile names."""

import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from afina.report.figures import pareto_front
from afina.report.formats import csv_table, latex_table, markdown_table
from afina.report.tables import Table, race_table
from afina.report.write import _readable, terminal_report, write_report
from afina.results.material import Material
from afina.results.result import Race, Result
from afina.results.results_jsonl import append_result, read_results
from afina.results.shown import with_interval
from afina.results.statistics import mean_interval
from afina.results.study_file import StudyFile
from afina.words.language import Words, phrases
from result_folders import write_study

SKILLS = {"full": (0.92, 2, 9), "lora": (0.91, 1, 5), "head": (0.7, 0.5, 1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("report"), SKILLS)


class _Balance(HTMLParser):
    """Every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br", "line", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_a_metric_has_to_show_is_drawn(folder: Path, tmp_path: Path) -> None:
    """The study's metrics are those of a version that knew no calibration error; one that has it shows its bins."""
    plain = write_report(folder).html.read_text(encoding="utf-8")
    assert "How far its probabilities can be trusted" not in plain
    shutil.copytree(folder, tmp_path / "calibrated")
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for line in lines:
        line.setdefault("test_metrics", {})["ece"] = 0.1
    (tmp_path / "calibrated" / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for language, said in (("en", "mean probability of the answers"), ("pt", "probabilidade média das respostas")):
        page = write_report(tmp_path / "calibrated", language=language).html.read_text(encoding="utf-8")
        assert page.count(said) >= 1
        assert re.search(r'<circle [^>]*class="c0"><title>0[.,]\d+, [01][.,]\d+ \(\d+\)</title>', page)


def test_the_page_is_whole_and_needs_no_network(folder: Path) -> None:
    html = write_report(folder).html.read_text()
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://""", html)
    balance = _Balance()
    balance.feed(html)
    assert balance.open == []
    assert html.count("<svg") >= 4


def test_figures_in_tables_are_those_of_the_results(folder: Path) -> None:
    write_report(folder)
    text = (folder / "tables" / "comparison-m-d.csv").read_text().splitlines()
    values = [r["test_metric"] for r in read_results(folder) if r["method_label"] == "full"]
    row = next(line for line in text if line.startswith("full"))
    assert f"{100 * sum(values) / 3:.1f} [" in row
    assert ",2,000," in row.replace('"', "")
    tied = next(line for line in text if line.startswith("lora"))
    assert " =" in tied


def test_a_terminal_of_80_shows_long_labels_and_wide_figures(tmp_path: Path) -> None:
    """A metric without bounds, as perplexity, and settings in a label, which may be folded but never left out."""
    folder = write_study(tmp_path, SKILLS)
    labels = {"full": "full(learning_rate=0.001)", "lora": "lora(alpha=32, learning_rate=0.003, targets=['all'])"}
    results = read_results(folder)
    for place, result in enumerate(results):
        result |= {"metric": "perplexity", "test_metric": 17_000 + 100.5 * place, "train_metric": 5_000.25}
        result["method_label"] = labels.get(result["method_label"], result["method_label"])
    (folder / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_report(folder))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    table = [[cell.strip() for cell in line.split("│")] for line in lines if line.startswith("│")]
    assert {len(cells) for cells in table} == {8}
    folded = "".join(cells[1] for cells in table)
    for label in (*labels.values(), "head"):
        assert label.replace(" ", "") in folded.replace(" ", "")
    means = [cells for cells in table if re.fullmatch(r"17,\d{3}( =)?", cells[2])]
    assert len(means) == 3
    assert all(re.fullmatch(r"[\d,.]+", figure) for cells in means for figure in cells[3:7])
    assert not any("…" in line for line in lines)


def test_what_a_share_cannot_be_is_not_shown(tmp_path: Path) -> None:
    """An interval of accuracies ends at 0 and 100%, one of errors anywhere; a method that failed names no metric."""
    folder = write_study(tmp_path, SKILLS)
    results = [result for result in read_results(folder) if result["seed"] < 2 or result["method_label"] != "lora"]
    for result in results:
        if result["method_label"] == "lora":
            result["test_metric"] = 0.2 + 0.7 * result["seed"]
        result["metric"] = "macro_f1"
        result["history"] = [{**own, "train_macro_f1": 0.5, "test_macro_f1": 0.5} for own in result["history"]]
        if result["method_label"] == "full":
            result |= {"status": "failed", "error": "no"}
            del result["metric"], result["test_metric"]
    (folder / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    write_report(folder)
    text = (folder / "tables" / "comparison-m-d.md").read_text()
    assert "| method | macro_f1, test (%)" in text
    assert "| full | failed |" in text
    assert "55.0 [0.0, 100.0]" in text
    wide = mean_interval([0.2, 0.9])
    assert with_interval(wide, "mse", Words("en")) == "0.550 [-3.897, 4.997]"


def test_what_was_assumed_of_a_model_stands_below_its_table(tmp_path: Path) -> None:
    folder = write_study(tmp_path, SKILLS)
    results = [result | {"assumed": ["the model's files hold no pooler"]} for result in read_results(folder)]
    (folder / "results.jsonl").write_text("".join(json.dumps(result) + "\n" for result in results))
    write_report(folder)
    table = (folder / "tables" / "comparison-m-d.md").read_text()
    assert table.count("The model's files hold no pooler.") == 1


def test_a_tie_is_said_in_those_words(folder: Path) -> None:
    assert "by a difference that could be chance" in write_report(folder).html.read_text()
    assert "por uma diferença que pode ser acaso" in write_report(folder, language="pt").html.read_text()


def test_equals_are_called_so(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"lora": (0.9, 1, 5)}, seeds=1)
    (result,) = read_results(folder)
    append_result(folder, result | {"run": "m-d-ia3-0", "method": "ia3", "method_label": "ia3"})
    assert "lora and ia3 have the same value (accuracy" in write_report(folder).html.read_text()


def test_portuguese_has_no_english_left(folder: Path) -> None:
    html = write_report(folder, language="pt").html.read_text()
    assert 'lang="pt-BR"' in html
    for english, portuguese in phrases().items():
        if "{" not in english and len(english) > 12 and portuguese != english:
            assert english not in html
    assert re.search(r"\d,\d \[\d+,\d; \d+,\d\]", html)


def test_published_layout_with_reference(folder: Path, tmp_path: Path) -> None:
    reference = tmp_path / "reference.yaml"
    reference.write_text(
        "models: {m: {hub: some/m}}\ncolumns: [m/d]\ntest_accuracy_percent: {full: [91.5]}\n"
        "accuracy_by_epoch_percent: {m: {d: {full: [[94.7, 90.5], [98.4, 91.4]]}}}\n"
        "trainable_parameters: {full: {m: [66448900, 100.0]}}\n"
    )
    write_report(folder, reference=reference)
    names = {path.stem for path in (folder / "tables").glob("table-4*")}
    assert names == {"table-4.1", "table-4.2", "table-4.3", "table-4.4", "table-4.7"}
    assert "[91.5]" in (folder / "tables" / "table-4.3.md").read_text()
    assert "[98.4]" in (folder / "tables" / "table-4.4.md").read_text()
    assert "[66,448,900]" in (folder / "tables" / "table-4.7.md").read_text()


def test_the_published_study_itself_is_a_reference(folder: Path, shared: Path) -> None:
    write_report(folder, reference=shared / "reference" / "peft_comparison_2024.yaml")


def test_seeds_that_stopped_at_unlike_epochs_are_drawn(tmp_path: Path) -> None:
    folder = write_study(tmp_path, SKILLS)
    results = read_results(folder)
    (folder / "results.jsonl").unlink()
    for result in results:
        last = {**result["history"][-1], "epoch": 3, "test_accuracy": 0.5}
        append_result(folder, {**result, "history": result["history"] + ([last] if result["seed"] == 0 else [])})
    write_report(folder)
    assert "learning curves" in (folder / "report.html").read_text()


def test_other_fingerprints_are_not_compared(tmp_path: Path) -> None:
    folder = write_study(tmp_path, SKILLS)
    other = next(r for r in read_results(folder) if r["method_label"] == "lora")
    append_result(folder, other | {"fingerprint": {"digest": "y" * 64, "git": None}})
    html = write_report(folder).html.read_text()
    assert "do not share one fingerprint" in html
    assert not list((folder / "tables").glob("differences-*"))


def test_hostile_names_do_no_harm(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"full": (0.9, 1, 1)}, seeds=1)
    evil = "<script>alert(1)</script>&|_%$"
    (result,) = read_results(folder)
    append_result(folder, result | {"run": "evil", "method_label": evil, "dataset": "d"})
    html = write_report(folder).html.read_text()
    assert "<script>alert" not in html
    table = Table("t", "a_b & c", ["x", evil], [["=1+1", evil]])
    assert r"a\_b \& c" in latex_table(table)
    assert "'=1+1" in csv_table(table)
    assert "\\|" in markdown_table(table)


def test_failed_runs_alone_make_a_report(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("study: {}\n")
    append_result(tmp_path, {
        "run": "r", "status": "failed", "error": "Out of memory; set a smaller batch_size.", "model": "m", "dataset": "d",
        "task": "classification", "method": "full", "method_label": "full", "seed": 0,
    })  # fmt: skip
    html = write_report(tmp_path).html.read_text()
    assert "Out of memory; set a smaller batch_size." in html
    assert "Nothing finished here." in html


def test_the_pareto_front() -> None:
    points = [(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (4.0, 0.95), (1.0, 0.4)]
    assert pareto_front(points) == [0, 1, 3]


def test_reports_open_without_torch() -> None:
    code = "import sys, afina.report.write; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_browser_draws_the_page_without_complaint(folder: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    html = write_report(folder).html
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
               "--no-first-run", "--disable-component-update", f"--user-data-dir={tmp_path}", "--enable-logging=stderr",
               "--dump-dom"]  # fmt: skip
    result = subprocess.run([browser, *options, html.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in result.stdout
    assert "CONSOLE" not in result.stderr
    assert json.dumps("Comparison")[1:-1] in result.stdout


def test_counts_of_a_race_and_of_a_long_table_are_written_as_a_person_does(tmp_path: Path) -> None:
    race = Race(step=1_500, steps=12_000, place=2, of=3, metric="accuracy", value=0.5)
    material = Material(tmp_path, [], [], StudyFile(), [Result(run="a", status="skipped", race=race)])
    assert race_table(material, Words("pt")).rows[0][1] == "1.500 / 12.000"
    assert race_table(material, Words("en")).rows[0][1] == "1,500 / 12,000"
    long = Table("errors-a", "a", ["row"], [[str(row)] for row in range(1_500)])
    assert _readable(long, Words("pt")).note == "(+1.300: errors-a.csv)"

"""A study's own audits: made beside its results, shown beside accuracy and cost, and made once."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina.audit.bias.run as bias_run
from afina import api
from afina.errors import UsageError
from afina.measure.bootstrap import Estimate
from afina.results.findings.audited import Audited, read_audit
from afina.results.findings.finding import Finding, Subject
from afina.results.findings.page import page
from afina.results.findings.sentence import Sentence
from afina.results.statistics import holm
from afina.study.audits import make_audits
from afina.study.events import Event
from afina.study.executors.slurm import Slurm
from afina.study.planned import Ahead
from afina.study.study import Study
from browser import browsing, chromium
from commands import afina as run_afina
from commands import refused
from families import WORDS, save_family

BIAS = {"groups": ["gender"], "fewest": 5, "swap_rows": 6}


def keys(folder: Path) -> dict[str, Any]:
    return {
        "model": str(folder / "model"), "dataset": str(folder / "data.jsonl"), "epochs": 1, "methods": ["lora", "bitfit"],
        "precision": "fp32", "cohort": "off", "batch_size": 16, "max_length": 16,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose labels say who a row is about, with an audit of it and one that looks at nothing of the kind."""
    folder = tmp_path_factory.mktemp("audited")
    random = np.random.default_rng(0)
    rows = [{"text": f"{'she' if row % 2 else 'he'} {' '.join(random.choice(WORDS, 5))}", "label": "yes" if row % 4 else "no"}
            for row in range(120)]  # fmt: skip
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    save_family("bert", folder / "model")
    done = api.study(out=folder / "out", **keys(folder), audits=[{"bias": BIAS}, "leak"])
    assert not done.failed and not done.unaudited
    return folder


def findings(folder: Path) -> list[Finding]:
    return list(read_audit(folder / "out/audits/bias.json").findings)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def again(folder: Path, **changed: Any) -> list[Event]:
    """Start the study once more, and return what its observer was told."""
    told: list[Event] = []
    Study(folder / "out", **(keys(folder) | {"audits": [{"bias": BIAS}, "leak"]} | changed)).run(told.append)
    return told


def test_what_was_trained_is_audited_with_base_and_method_beside(folder: Path) -> None:
    made = findings(folder)
    runs = {path.name for path in (folder / "out/runs").iterdir()}
    assert {each.subject.name for each in made} == runs and len(runs) == 2
    rates = [each for each in made if each.check == "accuracy"]
    assert all({beside.name for beside in each.beside} == {"base", *(runs - {each.subject.name})} for each in rates)
    leak = read_audit(folder / "out/audits/leak.json")
    assert not leak.findings
    assert "only what writes" in str(leak.notes[0])


def test_tables_count_what_was_found_and_correct_all_differences_together(folder: Path) -> None:
    made, tables = findings(folder), folder / "out/tables"
    rows = {row["method"]: row for row in table(next(tables.glob("audits-*.csv")))}
    for method in ("lora", "bitfit"):
        own = [each for each in made if each.subject.method == method]
        tests = [each for each in own if each.check != "word_swaps"]  # which is told, and no test
        assert len(tests) == len(own) - 1
        assert rows[method]["bias: found"] == f"{sum(each.found for each in tests)} of {len(tests)}"
        pairs = [(each, b) for each in own for b in each.beside if b.name == "base"]
        p_values = holm([beside.p_value or 0.0 for _, beside in pairs])
        worse = sum(p < 0.05 and beside.difference.value > 0 for (_, beside), p in zip(pairs, p_values, strict=True))
        assert rows[method]["bias: worse than base"] == f"{worse} of {len(pairs)}"
        assert float(rows[method]["accuracy, test"].split()[0]) > 0
    values = table(next(tables.glob("audit-bias-*.csv")))
    assert {"base", "lora", "bitfit"} <= set(values[0])
    differences = table(next(tables.glob("audit-differences-*.csv")))
    pairs_of = {(row["first"], row["second"]) for row in differences}
    assert {("lora", "base"), ("bitfit", "base"), ("lora", "bitfit")} == pairs_of


def test_the_report_and_the_audits_page_are_in_its_readers_language(folder: Path) -> None:
    shown = run_afina("report", folder / "out", "--language", "pt")
    assert shown.returncode == 0, shown.stderr
    assert "Auditorias" in shown.stdout and "não é ser justo" in shown.stdout
    html = (folder / "out/report.html").read_text(encoding="utf-8")
    assert '<a href="audits/bias.html">' in html
    page = (folder / "out/audits/bias.html").read_text(encoding="utf-8")
    assert "Viés" in page and "grupo" in page and "Passar na auditoria" in page


def test_a_page_begins_with_what_was_found_and_folds_the_rest() -> None:
    """Figures stay on one line, also where a column is narrow; nothing is said to be less than nothing."""
    zero, far = Estimate(-0.0001, -0.0002, 0.1), Estimate(0.25, 0.1, 0.4)
    made = [
        Finding(
            audit="bias", check=name, measured=Sentence(name), on=Sentence("rows"), subject=Subject(name="run"), rows=1200,
            value=value, found=found, verdict=Sentence(f"{name} it is."), p_value=0.5, p_corrected=0.0001 if found else 1.0,
        )
        for name, value, found in (("quiet", zero, False), ("loud", far, True))
    ]  # fmt: skip
    html = page(Audited(audit="bias", target="study", findings=made))
    assert html.index("loud it is.") < html.index("1 more, in which nothing was found") < html.index("quiet it is.")
    assert '<td data-of="value">0.250 <span class=n>[0.100, 0.400]</span></td>' in html
    assert "-0.000" not in html and "<span class=n>&lt; 0.001</span>" in html


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [360, 1200])
def test_a_page_is_as_wide_as_what_shows_it(folder: Path, width: int, tmp_path: Path) -> None:
    with browsing(tmp_path) as browser:
        browser("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        browser("Page.navigate", url=(folder / "out/audits/bias.html").as_uri())
        browser.until("document.readyState == 'complete'")
        browser.run("document.querySelectorAll('details').forEach(each => { each.open = true })")
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert not browser.complaints


def test_an_audit_is_made_once_and_anew_where_something_is_other(folder: Path) -> None:
    before = (folder / "out/audits/bias.json").read_bytes()
    assert not [event for event in again(folder) if event.kind in ("audit", "unit")]
    assert (folder / "out/audits/bias.json").read_bytes() == before
    told = again(folder, audits=[{"bias": BIAS | {"fewest": 6}}])
    assert [event for event in told if event.kind == "audit"] and not [event for event in told if event.kind == "unit"]
    assert read_audit(folder / "out/audits/bias.json").facts["settings"]["fewest"] == 6


def test_one_that_is_broken_off_asks_only_who_has_not_answered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = bias_run.ask

    def counted(limit: int) -> Callable[..., Any]:
        def counting(answer: Any, questions: Any, tell: Any) -> Any:
            if len(asked) == limit:
                raise KeyboardInterrupt
            asked.append("")
            return ask(answer, questions, tell)

        return counting

    changed = [{"bias": BIAS | {"swap_rows": 7}}]
    monkeypatch.setattr(bias_run, "ask", counted(2))
    with pytest.raises(KeyboardInterrupt):
        again(folder, audits=changed)
    assert len(asked) == 2  # the first adapter, and its base
    monkeypatch.setattr(bias_run, "ask", counted(99))
    again(folder, audits=changed)
    assert len(asked) == 3
    whole = findings(folder)
    again(folder, audits=[{"bias": BIAS | {"swap_rows": 7, "fewest": 6}}])  # of the same questions
    assert len(asked) == 3

    def swapped(made: list[Finding]) -> list[Any]:
        return [each.value for each in made if each.check == "swaps"]

    assert swapped(findings(folder)) == swapped(whole) != []


def test_an_audit_that_cannot_be_made_costs_nothing_else_and_is_said(folder: Path) -> None:
    wanted = [{"bias": {"columns": ["team"]}}]
    done = api.study(out=folder / "out", **keys(folder), audits=wanted)
    assert "no column 'team'" in done.unaudited["bias"]
    assert len(done.finished) == 2
    assert "no column &#x27;team&#x27;" in done.report.html.read_text(encoding="utf-8")
    told = again(folder, audits=wanted)
    assert {event.kind for event in told if event.kind != "remarks"} >= {"audit", "unaudited"}  # it is tried again
    assert not [event for event in told if event.kind == "unit"]
    again(folder)
    assert findings(folder)


def test_a_plan_tells_how_many_texts_more_each_run_answers_at_most(folder: Path) -> None:
    class Enough(Exception):
        """Ends a plan before anything is timed."""

    told: list[str] = []

    def seen(known: Ahead) -> None:
        told.extend(known.remarks)
        raise Enough

    with pytest.raises(Enough):
        api.plan(ahead=seen, **keys(folder), audits=[{"bias": BIAS}, "leak"])
    most = make_audits([{"bias": BIAS}])[0].answers
    assert f"audits: bias is not counted: each run answers up to {most:,} texts more, and each base once." in told
    for path in (folder / "out/cache/audits/bias").glob("*.npz"):
        with np.load(path) as kept:
            assert 0 < sum(len(kept[name]) for name in kept.files if kept[name].ndim) <= most


@pytest.mark.whole  # the other tests' executor hands over copies, too, in this process
def test_an_audit_is_a_job_that_another_machine_may_do(folder: Path) -> None:
    told: list[Event] = []
    wanted = keys(folder) | {"audits": [{"bias": BIAS | {"swap_rows": 8}}]}
    Study(folder / "out", executor=Slurm(cluster="local", cpus=1), **wanted).run(told.append)
    assert not [event for event in told if event.kind in ("unaudited", "unit")]
    assert [event for event in told if event.kind == "audit" and event["status"]]
    assert read_audit(folder / "out/audits/bias.json").facts["settings"]["swap_rows"] == 8


@pytest.mark.parametrize(("audits", "why"), [
    (["bais"], "did you mean 'bias'"), (["bias", "bias"], "named twice"), ([{"bias": {"fewst": 3}}], "did you mean 'fewest'"),
    ([{"bias": {"fewest": 2}}], "from 5 rows on"), ([3], "audits"),
])  # fmt: skip
def test_an_audit_that_is_none_is_refused_before_anything_is_trained(
    audits: list[Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=why):
        Study(tmp_path / "out", model="minilm", dataset="tickets", methods=["head"], audits=audits)


def test_recommend_asks_the_studys_audit(folder: Path) -> None:
    again(folder)
    answer = api.recommend(folder / "out", no_worse_than_base=["bias"])
    api.report(folder / "out")
    rows = table(next((folder / "out/tables").glob("audits-*.csv")))
    worse = {row["method"] for row in rows if not row["bias: worse than base"].startswith("0 ")}
    assert {label.split()[0] for label, _ in answer.excluded} == worse
    refused(run_afina("recommend", folder / "out", "--no-worse-than-base", "leek"), "did you mean 'leak'")

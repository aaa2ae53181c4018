"""`afina watch`: what training keeps, what is read, what is said, and what is refused."""

import csv
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import afina
from afina import api
from afina.audit.watch.prometheus import as_prometheus
from afina.audit.watch.rows import NewColumns, labels_by_id, sources_of
from afina.audit.watch.settings import WatchSettings
from afina.data.predicting.remembered import Remembered
from afina.drift.answering import seen_of
from afina.drift.reference import FILE, KeptRows, read_reference
from afina.drift.seen import WIDTH
from afina.errors import UsageError
from afina.results.predictions import read_predictions
from afina.results.results_jsonl import read_results
from afina.serve.http.journal import Journal
from afina.study import kept_reference
from afina.study.study import Study
from afina.words.language import Words
from browser import browsing, chromium
from commands import afina as run_afina
from commands import refused
from families import WORDS
from studies import settings, write_csv, write_splits

Loader = Callable[..., Path]
SECRET = "zanzibar"


@pytest.fixture(scope="module")
def study(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of texts with labels, by an adapter and by embeddings alone; one word stands in a single train row."""
    folder = write_splits(tmp_path_factory.mktemp("watched"), train=80, test=120)
    with (folder / "train.csv").open("a") as file:
        file.write(f"good {SECRET} mail,praise\n")
    Study(folder / "study", **settings(family_folder, folder, methods=["lora", "features"], epochs=3)).run()
    return folder / "study"


@pytest.fixture(scope="module")
def adapter(study: Path) -> Path:
    (folder,) = study.glob("runs/*lora*/adapter")
    return folder


def rows_like(folder: Path, name: str, rows: int, seed: int, *, typed: str = "") -> Path:
    """Write rows as the adapter was tested on, or with a word added to each."""
    folder.mkdir(exist_ok=True)
    write_csv(folder / name, rows, seed)
    if typed:
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([lines[0], *(f"{typed} {line}" for line in lines[1:])]) + "\n")
    return folder / name


# -- what training keeps ----------------------------------------------------------------------------------------------


def test_training_keeps_what_its_test_rows_were_like_and_none_of_their_words(study: Path) -> None:
    for adapter in study.glob("runs/*/adapter"):
        reference = read_reference(adapter)
        seen = reference.seen
        assert len(seen) == 120 and seen.vectors.shape == (120, WIDTH)
        # What it answered and how sure it was are the predictions that the study wrote, in another order.
        (result,) = [own for own in read_results(study) if own.run == adapter.parent.name]
        written = read_predictions(study, result)
        assert np.mean(seen.right) == pytest.approx(np.mean(written.label == written.prediction))
        assert np.sort(seen.confidence) == pytest.approx(np.sort(written.scores.max(axis=1)), abs=1e-6)
        with np.load(adapter / FILE, allow_pickle=False) as arrays:
            raw = b"".join(values.tobytes() for values in arrays.values())
        assert not [word for word in (SECRET, *WORDS) if len(word) > 4 and word.encode() in raw]
        # Yet it is known which words there were.
        unseen = reference.vocabulary.measured([f"good {SECRET}", "good wrzlbrmft"])["unseen"]
        assert unseen.tolist() == [0.0, 0.5]


def test_vectors_are_those_of_the_evaluation_which_needs_no_pass_more(
    family_folder: Loader, csv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that looks at the first token leaves most of the last layer out, but not in the last evaluation."""
    methods = ["lora", "ia3", "loreft", "features"]
    given = settings(family_folder, csv_folder, methods=methods, train_limit=20, epochs=1, cohort=3)
    with monkeypatch.context() as patch:
        patch.setattr(kept_reference, "embed", lambda *_, **__: pytest.fail("a pass for the vectors alone"))
        study = Study(tmp_path / "study", **given)
        assert [own.status for own in study.run()] == ["ok"] * 4
    rows = [line.rpartition(",")[0] for line in (csv_folder / "test.csv").read_text().splitlines()[1:]]
    for result in study.results:
        adapter = tmp_path / "study" / str(result.adapter)
        reference, predictor = read_reference(adapter), afina.load(adapter, precision="fp32")
        kept = [rows[row] for row in KeptRows.of(len(rows)).rows]
        found = seen_of(predictor, reference.vocabulary, kept, None, vectors=len(kept))
        assert reference.seen.vectors.std() > 0.01
        np.testing.assert_allclose(reference.seen.vectors, found.vectors, atol=5e-3, err_msg=result.run)


def test_a_study_that_is_told_so_keeps_nothing(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    given = settings(family_folder, csv_folder, methods=["head"], epochs=1, train_limit=20, watch_reference=False)
    Study(tmp_path / "study", **given).run()
    (adapter,) = tmp_path.glob("study/runs/*/adapter")
    assert not (adapter / FILE).exists()
    refused(run_afina("watch", adapter, csv_folder / "test.csv"), FILE, "--make-reference")


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.always
def test_rows_like_those_before_raise_no_alarm_and_changed_ones_do(adapter: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    for number in range(3):
        rows_like(new, f"day{number}.csv", 80, 10 + number)
    out = tmp_path / "out"
    told = run_afina("watch", adapter, new, "--out", out, "--fail-above", "0")
    assert told.returncode == 0, told.stderr
    rows_like(new, "day3.csv", 80, 20, typed="wrzlbrmft")
    told = run_afina("watch", adapter, new, "--out", out, "--fail-above", "0", "--language", "pt")
    assert told.returncode == 3, told.stderr
    assert "palavras novas: alarme em 1 de 4 janelas, a primeira day3.csv" in told.stdout.replace("\n", " ")

    written = json.loads((out / "watch.json").read_text())
    assert [window["alarm"] for window in written["windows"]] == [False, False, False, True]
    last = written["windows"][-1]
    assert last["channels"]["new_words"]["alarm"] and last["known"] == last["looked_at"] == 80
    assert written["unlike"][0]["text"].startswith("wrzlbrmft")
    assert run_afina("watch", adapter, new, "--fail-above", "right=0.5").returncode == 0
    # What is over is over, where only the newest count.
    rows_like(new, "day4.csv", 80, 30)
    assert run_afina("watch", adapter, new, "--out", out, "--fail-above", "0", "--last", "1").returncode == 0


@pytest.mark.always
def test_what_was_seen_is_not_answered_again_and_late_labels_are_read_all_the_same(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["good mail today", "a late and bad day"] * 40
    (tmp_path / "new.csv").write_text("id,text\n" + "".join(f"{n},{line}\n" for n, line in enumerate(asked)))
    first = api.watch(adapter, tmp_path / "new.csv", out=tmp_path / "out")
    assert first.windows[0].known == 0
    from afina.drift import answering

    monkeypatch.setattr(answering, "_answered", lambda *given: pytest.fail("it was answered again"))
    right = ["praise", "complaint"] * 40
    labels = tmp_path / "late.csv"
    labels.write_text("id,label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(right)))
    again = api.watch(adapter, tmp_path / "new.csv", WatchSettings(labels=labels), out=tmp_path / "out")
    assert again.windows[0].known == len(asked)
    before = {check.channel: check.measured for check in first.windows[0].checks}
    assert {check.channel for check in again.windows[0].checks} - before.keys() == {"right", "calibration"}
    assert all(before[own.channel] == own.measured for own in again.windows[0].checks if own.channel in before)


def test_labels_that_never_come_are_said(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"id": n, "text": "good mail"}) + "\n" for n in range(30)))
    for written in ("", "id,label\n999,praise\n"):
        (tmp_path / "late.csv").write_text(written)
        told = run_afina("watch", adapter, tmp_path / "new.jsonl", "--labels", tmp_path / "late.csv")
        assert told.returncode == 0, told.stderr
        assert "No row has a right answer" in told.stdout.replace("\n", " ")
    (tmp_path / "late.csv").write_text("id,label\n3,nonsense\n")
    refused(
        run_afina("watch", adapter, tmp_path / "new.jsonl", "--labels", tmp_path / "late.csv"), "'nonsense' is none of"
    )


def test_an_answer_without_an_id_is_no_rows_and_of_several_the_last_counts(tmp_path: Path) -> None:
    """Rows without an id would all get the answer of a line that lacks one."""
    (tmp_path / "late.csv").write_text("id,label\n,blame\n1,praise\n1,blame\n2,praise\n2,praise\n")
    notes: list[str] = []
    assert labels_by_id(tmp_path / "late.csv", NewColumns(), None, notes) == {"1": "blame", "2": "praise"}
    assert notes == [
        "rows of late.csv that have no id: 1", "ids with several right answers in late.csv, of which the last counts: 1",
    ]  # fmt: skip
    assert [Words("pt").note(note) for note in notes] == [
        "linhas de late.csv sem id: 1", "ids com várias respostas certas em late.csv, das quais vale a última: 1",
    ]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), [
    (1712010112345, "2024-04-01T22:21:52.345"), ("1712010112345", "2024-04-01T22:21:52.345"),
    (1748700000, "2025-05-31T14:00"), (1748700000.5, "2025-05-31T14:00:00.5"),
    (1748700000123456, "2025-05-31T14:00:00.123456"),
    ("20260531", "2026-05-31"), ("202605311400", "2026-05-31T14:00"), (20260531140000, "2026-05-31T14:00"),
    ("2026-05-31 14:00-03:00", "2026-05-31T17:00"), ("2026", None), (45808.5, None), ("0", None), ("31/05/2026", None),
])  # fmt: skip
def test_times_are_what_they_say_or_none(written: object, meant: str | None, tmp_path: Path) -> None:
    """Thousandths of a second may read as a date of the year 1712, a year alone as half an hour into 1970."""
    (tmp_path / "new.jsonl").write_text(json.dumps({"text": "good mail", "when": written}) + "\n")
    sources = sources_of(
        [tmp_path / "new.jsonl"], NewColumns(time="when"), Remembered(("text",)), label=None, adapter="run"
    )
    if meant is None:
        with pytest.raises(UsageError, match="is no time; write 2026-05-31"):
            list(sources[0].rows())
        return
    (row,) = sources[0].rows()
    assert row.time is not None and abs(row.time - datetime.fromisoformat(meant)) < timedelta(microseconds=2)


def test_labels_that_are_places_are_said_and_those_counted_from_one_refused(adapter: Path, tmp_path: Path) -> None:
    rows_like(tmp_path, "new.csv", 60, 3)
    with (tmp_path / "new.csv").open() as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    (tmp_path / "numbered").mkdir()
    for first, name in ((0, "numbered/zero.csv"), (1, "one.csv")):
        lines = [f'"{text}",{number % 2 + first}' for number, text in enumerate(texts)]
        (tmp_path / name).write_text("\n".join(["text,label", *lines]) + "\n")
    found = api.watch(adapter, tmp_path / "numbered/zero.csv")
    assert found.windows[0].known == 60
    (said,) = [note for note in found.remarks(Words("pt")) if "lidos como posições" in note]
    assert "0 é '" in said
    with pytest.raises(UsageError, match="is none of the adapter's labels"):
        api.watch(adapter, tmp_path / "one.csv")


def test_a_file_that_is_given_twice_would_count_twice(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text\n" + "good mail\n" * 3)
    for again in (tmp_path / "new.csv", tmp_path):
        with pytest.raises(UsageError, match="is given twice"):
            api.watch(adapter, [tmp_path / "new.csv", again])


def test_windows_of_time_of_rows_and_of_files(adapter: Path, tmp_path: Path) -> None:
    lines = [
        {"text": "good mail today", "when": f"2026-01-{day:02d}T{hour:02d}:00"}
        for day in (1, 2, 3)
        for hour in range(24)
    ]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    by_day = api.watch(adapter, tmp_path / "new.jsonl", WatchSettings(every="day", time="when"))
    assert [(each.name, each.rows) for each in by_day.windows] == [(f"2026-01-0{day}", 24) for day in (1, 2, 3)]
    by_rows = api.watch(adapter, [tmp_path / "new.jsonl"], WatchSettings(window=30, most=25))
    assert [(each.rows, each.looked_at) for each in by_rows.windows] == [(30, 25), (30, 25)]
    assert any("61 – 90 has not ended" in note for note in by_rows.notes)
    lines.append({"text": "late", "when": "2026-01-01T00:00"})
    lines[-1:-1] = [{"text": "good", "when": f"2026-02-{day:02d}"} for day in range(1, 20)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(UsageError, match="put the rows in order of time"):
        api.watch(adapter, tmp_path / "new.jsonl", WatchSettings(every="day", time="when"))
    with pytest.raises(UsageError, match="say in which column with --time"):
        api.watch(adapter, tmp_path / "new.jsonl", WatchSettings(every="day"))


def test_every_form_that_is_predicted_from_is_read(adapter: Path, tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    asked = [" ".join(np.random.default_rng(n).choice(WORDS, 6)) for n in range(25)]
    parquet.write_table(arrow.table({"text": asked}), tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_text("\n".join(asked) + "\n")
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in asked))
    (tmp_path / "d.json").write_text(json.dumps([{"text": text} for text in asked]))
    (tmp_path / "e.tsv").write_text("text\tx\n" + "".join(f"{text}\t1\n" for text in asked))
    audit = api.watch(adapter, tmp_path)
    values = {
        tuple(round(check.measured.value, 5) for check in each.checks if check.channel in ("lengths", "words", "confidence"))
        for each in audit.windows
    }  # fmt: skip
    assert len(audit.windows) == 5 and len(values) == 1


# -- a server's log ---------------------------------------------------------------------------------------------------


def log_of(path: Path, texts: list[Any], *, with_text: bool = True, adapter: str = "mail") -> Path:
    journal = Journal(path)
    for number, asked in enumerate(texts):
        journal.write(
            request=f"req-{number}", method="POST", path="/v1/classify", status=200, adapter=adapter, rows=len(asked),
            text=asked if with_text else None,
        )  # fmt: skip
    journal.close()
    return path


def test_a_log_is_read_where_it_has_texts_and_quotes_none(adapter: Path, tmp_path: Path) -> None:
    log = log_of(tmp_path / "requests.jsonl", [["good wrzlbrmft mail", "late day"]] * 20)
    with log.open("a") as file:
        file.write(
            '{"time": "2026-01-01T00:00:00+00:00", "request": "r", "path": "/v1/models", "status": 200}\nnonsense\n'
        )
        file.write('{"time": "2026-01-01T0')
    audit = api.watch(adapter, log, out=tmp_path / "out")
    assert [each.rows for each in audit.windows] == [40]
    assert "passed over, a last line that is cut off: 1" in audit.notes
    assert "passed over, lines that are no request: 1" in audit.notes
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"wrzlbrmft" not in path.read_bytes()
    quoted = api.watch(adapter, log, WatchSettings(texts=True))
    assert quoted.unlike[0].text and not audit.unlike[0].text
    # By the hour, and the hour is not over.
    assert not api.watch(adapter, log, WatchSettings(every="hour")).windows

    silent = log_of(tmp_path / "silent.jsonl", [["good mail"]] * 3, with_text=False)
    refused(run_afina("watch", adapter, silent), "none of their texts", "--log-text")
    two = log_of(log_of(tmp_path / "two.jsonl", [["a"]]), [["b"]], adapter="other")
    refused(run_afina("watch", adapter, two), "--adapter-name")
    assert api.watch(adapter, two, WatchSettings(adapter_name="other")).windows[0].rows == 1


# -- references, and what is refused ------------------------------------------------------------------------------------


def test_a_reference_can_be_made_and_is_of_one_adapter(adapter: Path, study: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(adapter, tmp_path / "mine")
    kept = read_reference(mine)
    (mine / FILE).unlink()
    rows = rows_like(tmp_path / "rows", "test.csv", 120, 1)
    refused(run_afina("watch", mine, rows), f"has no {FILE}", "--make-reference")
    assert run_afina("watch", mine, "--make-reference", rows, "--train", study.parent / "train.csv").returncode == 0
    made = read_reference(mine)
    # Of the same test and train rows it is what training kept.
    assert sorted(made.seen.length.tolist()) == sorted(kept.seen.length.tolist())
    assert np.sort(made.seen.confidence) == pytest.approx(np.sort(kept.seen.confidence), abs=1e-4)
    assert (made.vocabulary.bits == kept.vocabulary.bits).all()
    refused(run_afina("watch", mine, "--make-reference", rows), "--force")
    halved = run_afina("watch", mine, "--make-reference", rows, "--force", "--language", "pt")
    assert "metade destas linhas fica no lugar das de treino" in halved.stdout

    weights = bytearray((mine / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (mine / "adapter_model.safetensors").write_bytes(weights)
    refused(run_afina("watch", mine, rows), "was made with another adapter", "--make-reference ROWS --force")
    (mine / FILE).write_bytes(b"PK nothing")
    refused(run_afina("watch", mine, rows), "is damaged", code=1)


def test_what_cannot_be_watched_is_refused_in_a_sentence(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "blank.csv").write_text("text\n\n \n")
    (tmp_path / "few.csv").write_text("text,label\n" + "good mail,praise\n" * 10)
    (tmp_path / "folder").mkdir()
    np.savez(tmp_path / "images.npz", images=np.zeros((2, 4, 4), dtype=np.uint8))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "watch.json").write_text("{}")
    for rows, part in {
        "empty.csv": "empty.csv is empty", "missing.csv": "does not exist", "images.npz": "holds images",
        "folder": "has no file of rows", "blank.csv": "no row with a text",
    }.items():  # fmt: skip
        refused(run_afina("watch", adapter, tmp_path / rows), part)
    refused(run_afina("watch", adapter), "Give new rows")
    refused(run_afina("watch", adapter, tmp_path / "few.csv", "--label", "lable"), "did you mean 'label'")
    refused(run_afina("watch", adapter, tmp_path / "few.csv", "--fail-above", "speed=1"), "no check 'speed'")
    refused(run_afina("watch", adapter, tmp_path / "few.csv", "--out", tmp_path / "taken"), "no earlier watch's")
    refused(run_afina("watch", adapter, "--make-reference", tmp_path / "few.csv", "--force"), "give 50 or more")
    audit = api.watch(adapter, tmp_path / "few.csv")
    assert audit.windows[0].few and not audit.findings
    # What another server wrote: a table without texts is refused, lines that are no requests are read as texts and said so.
    (tmp_path / "other.jsonl").write_text('{"ts": 1, "answer": {"code": 200}}\n' * 3)
    refused(run_afina("watch", adapter, tmp_path / "other.jsonl"), "say which with --text (ts, answer)")
    (tmp_path / "access.log").write_text('127.0.0.1 "GET / HTTP/1.1" 200\n' * 3)
    assert "Each line of access.log is read as a text: it is no log of afina serve." in api.watch(
        adapter, tmp_path / "access.log"
    ).remarks(Words())
    assert not any("drawn at random" in note for note in audit.notes)  # nobody drew of ten rows


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    for number in range(3):
        rows_like(folder / "new", f"{number} <b>.csv", 60, 40 + number, typed="wrzlbrmft" if number == 2 else "")
    api.watch(adapter, folder / "new", out=folder / "out")
    return folder / "out"


def test_prometheus_reads_what_is_written(written: Path) -> None:
    audit = json.loads((written / "watch.json").read_text())
    families = {own.name: own for own in text_string_to_metric_families((written / "watch.prom").read_text())}
    values = {own.labels["channel"]: own.value for own in families["afina_watch_value"].samples}
    assert values == {name: own["value"] for name, own in audit["windows"][-1]["channels"].items()}
    (alarm,) = families["afina_watch_alarm"].samples
    assert (alarm.value, alarm.labels["adapter"]) == (1, audit["findings"][0]["subject"]["name"])


def test_a_window_begins_when_it_began_wherever_the_machine_is(adapter: Path, tmp_path: Path) -> None:
    lines = [{"text": "good mail today", "when": f"2026-01-01T{row % 24:02d}:00Z"} for row in range(24)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    found = api.watch(adapter, tmp_path / "new.jsonl", WatchSettings(every="day", time="when"))
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = "America/Sao_Paulo"
        time.tzset()
        families = {own.name: own for own in text_string_to_metric_families(as_prometheus(found))}
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()
    assert families["afina_watch_window_start_seconds"].samples[0].value == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_a_value_that_is_a_labels_says_of_which(written: Path) -> None:
    """The label that changed most may be another one in each window, so that a point without its name says little."""
    page = (written / "watch.html").read_text(encoding="utf-8")
    abouts = [
        each["channels"]["labels"]["about"] for each in json.loads((written / "watch.json").read_text())["windows"]
    ]
    chart = page.partition("predicted labels</h3>")[2].partition("</svg>")[0]
    assert re.findall(r"<text x=[\d.]+ y=[\d.]+>([^<]+)</text>", chart) == abouts
    assert len(re.findall(r"text-anchor=middle", chart)) == len(abouts)  # three windows: each name below its point


@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_the_page_shows_the_time_line_and_asks_for_nothing(written: Path, tmp_path: Path) -> None:
    with browsing(tmp_path) as browser:
        browser("Page.navigate", url=(written / "watch.html").as_uri())
        browser.until("document.readyState == 'complete'")
        assert browser.run("document.querySelectorAll('svg.line').length") >= 7
        assert browser.run("document.querySelectorAll('circle.ring').length") >= 1
        # Names of windows are text, whatever they hold.
        assert browser.run("document.querySelectorAll('b').length") == 0
        assert "2 <b>.csv" in browser.text("body")
        assert not browser.complaints
        assert all(url.startswith("file:") for url in browser.asked)

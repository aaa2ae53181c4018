"""Python says the same things as the command line: data sets that are objects, results that show themselves, a notebook."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import datasets
import pandas
import polars
import pytest
import yaml

import afina
from afina.cli.progress import Progress
from afina.config import StudyConfig
from afina.data.rows import TextDataset
from afina.errors import UsageError
from afina.methods.base import registry
from afina.results.result import Result
from afina.results.result_list import Results
from afina.results.results_jsonl import read_results
from afina.study.data import study_data
from studies import settings, write_csv

TEXTS = [f"great app {row}" for row in range(20)] + [f"bad <b>late</b> kettle {row}" for row in range(20)]
LABELS = ["praise"] * 20 + ["<script>"] * 20
FRAME = pandas.DataFrame({"text": TEXTS, "label": LABELS})
OBJECTS: dict[str, Any] = {
    "pandas": FRAME,
    "polars": polars.DataFrame({"text": TEXTS, "label": LABELS}),
    "datasets": datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS}),
    "dict": {"text": TEXTS, "label": LABELS},
    "pair": (TEXTS, LABELS),
}


@pytest.fixture(scope="module")
def keys(family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study's keys without its data set."""
    own = settings(family_folder, tmp_path_factory.mktemp("keys"), methods=["head", "features"])
    return {key: value for key, value in own.items() if key != "dataset"} | {"max_length": 16, "epochs": 1}


@pytest.fixture(scope="module")
def study(keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> afina.Study:
    """A study of a DataFrame, carried out."""
    made = afina.Study(tmp_path_factory.mktemp("python") / "out", dataset=FRAME, **keys)
    assert "0 of 2 runs finished" in repr(made)
    assert made.results == []
    made.run()
    return made


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_data_set_may_be_an_object(tmp_path: Path, keys: dict[str, Any], kind: str) -> None:
    made = afina.Study(tmp_path / "out", dataset=OBJECTS[kind], **keys)
    (spec,) = made.config.dataset
    assert spec.label_name == "data"
    assert Path(spec.path).parent == tmp_path / "out" / "data"
    data, frame = study_data(made.config, spec), study_data(*_of_frame(tmp_path, keys))
    assert sorted(data.train.text + data.test.text) == sorted(TEXTS)
    assert data.digest == frame.digest
    assert data.label_names == ("<script>", "praise")


def _of_frame(folder: Path, keys: dict[str, Any]) -> tuple[StudyConfig, Any]:
    config = afina.Study(folder / "frame", dataset=FRAME, **keys).config
    return config, config.dataset[0]


def test_columns_of_an_object_are_named_as_in_a_study_file(tmp_path: Path, keys: dict[str, Any]) -> None:
    frame = FRAME.rename(columns={"text": "Corpo", "label": "Tipo"})
    given = {"path": frame, "text": "Corpo", "label": "Tipo", "name": "cartas"}
    made = afina.Study(tmp_path / "out", dataset=[given, FRAME], **keys)
    first, second = made.config.dataset
    assert (first.label_name, first.text, first.label) == ("cartas", "Corpo", "Tipo")
    assert study_data(made.config, first).digest == study_data(made.config, second).digest


def test_equal_objects_go_on_and_others_are_refused(study: afina.Study, keys: dict[str, Any]) -> None:
    stamps = [result["started_at"] for result in study.results]
    again = afina.Study(study.directory, dataset=FRAME.copy(), **keys)
    assert [result["started_at"] for result in again.run()] == stamps
    with pytest.raises(UsageError, match="a study of other data than those that are given"):
        afina.Study(study.directory, dataset=FRAME[:-1], **keys)
    assert again.run() == study.results  # and what it began with is still there
    stored = StudyConfig.read(study.directory / "study.yaml")
    assert afina.Study(study.directory, stored).run() == study.results


def test_a_study_that_has_not_begun_takes_other_objects(tmp_path: Path, keys: dict[str, Any]) -> None:
    afina.Study(tmp_path / "out", dataset=FRAME, **keys)
    made = afina.Study(tmp_path / "out", dataset=FRAME[5:35], **keys)
    data = study_data(made.config, made.config.dataset[0])
    assert len(data.train) + len(data.test) == 30


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, keys: dict[str, Any]) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty and holds no study \(it has letters\.txt\)"):
        afina.Study(tmp_path, dataset=FRAME, **keys)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_results_are_a_list_that_becomes_a_frame(study: afina.Study) -> None:
    results = study.results
    assert results == read_results(study.directory)
    frame = results.to_pandas()
    assert frame["run"].tolist() == [result["run"] for result in results]
    assert frame["test_metric"].tolist() == [result["test_metric"] for result in results]
    assert frame["test_macro_f1"].tolist() == [result["test_metrics"]["macro_f1"] for result in results]
    assert frame["train_seconds"].dtype == float
    assert "fingerprint" not in frame and "fingerprint" in results.to_pandas(everything=True)
    assert f"accuracy {results[0]['test_metric']:.4f}" in repr(results)
    failed = Results([Result(run="a", status="failed", error="no <memory>"), *results])
    assert failed.to_pandas()["status"].tolist() == ["failed", "ok", "ok"]
    assert "a: failed. no <memory>" in repr(failed)
    assert "no &lt;memory&gt;" in failed._repr_html_()


class _Checked(HTMLParser):
    """Tags that are opened are closed, and there is no script in it; `cells` has the text of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.srcdoc = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag != "script"
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        self.srcdoc = dict(attrs).get("srcdoc") or self.srcdoc

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def shown(html: str) -> _Checked:
    found = _Checked()
    found.feed(html)
    assert found.open == []
    return found


def test_all_of_it_shows_in_a_notebook(study: afina.Study) -> None:
    first = study.results[0]
    assert f"{first['test_metric']:,.4g}" in shown(study._repr_html_()).cells
    chosen = afina.recommend(study, memory="4GB")
    assert chosen.choice is not None
    assert afina.recommend(study, memory=4e9) == chosen
    assert f"{chosen.choice.method} on {Path(first['model']).name}" in shown(chosen._repr_html_()).cells
    wrong = afina.mistakes(study, first["run"])
    assert {"praise", "<script>"} <= set(shown(wrong._repr_html_()).cells)
    planned = afina.plan(study)
    assert first["run"] in shown(planned._repr_html_()).cells
    assert planned.to_pandas()["run"].tolist() == [run.id for run in study.runs]
    assert planned.seconds > 0 and "2 runs" in repr(planned)
    report = afina.write_report(study)
    assert shown(report._repr_html_()).srcdoc == report.html.read_text(encoding="utf-8")


def test_mistakes_become_a_frame_with_the_texts(study: afina.Study) -> None:
    result = study.results[0]
    frame = afina.mistakes(study.directory, result["run"]).to_pandas()
    assert frame["right"].mean() == pytest.approx(result["test_metric"])
    assert set(frame["text"]) <= set(TEXTS)
    truth = dict(zip(TEXTS, LABELS, strict=True))
    assert frame["label"].tolist() == [truth[text] for text in frame["text"]]
    assert frame["text"].tolist() == [TEXTS[row - 1] for row in frame["row"]]


def test_rows_keep_their_numbers_in_the_file_where_others_are_left_out(keys: dict[str, Any], tmp_path: Path) -> None:
    texts = ["", *TEXTS[:30], None, *TEXTS[30:]]
    labels = ["praise", *LABELS[:30], "praise", *LABELS[30:]]
    made = afina.Study(tmp_path / "out", dataset=(texts, labels), **keys | {"train_limit": 20})
    data = study_data(made.config, made.config.dataset[0])
    for rows in (data.train, data.test):
        assert rows.number is not None
        assert [texts[number - 1] for number in rows.number] == rows.text


def test_a_plan_is_made_of_a_file_or_its_keys_too(tmp_path: Path, keys: dict[str, Any]) -> None:
    write_csv(tmp_path / "mail.csv", 20, 0)
    own = keys | {"dataset": str(tmp_path / "mail.csv"), "methods": ["head"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(own, default=str))))
    assert [one.run.id for one in afina.plan(tmp_path / "study.yaml").estimates] == [
        one.run.id for one in afina.plan(**own).estimates
    ]


def test_the_data_commands_take_paths_as_texts(tmp_path: Path) -> None:
    lines = "".join(
        f"{json.dumps({'user': f'where is parcel {row}', 'assistant': 'on its way'})}\n" for row in range(9)
    )
    (tmp_path / "talks.jsonl").write_text(lines)
    source = str(tmp_path / "talks.jsonl")
    assert afina.inspect_data(source) is not None
    afina.convert_data(source, str(tmp_path / "talks.parquet"))
    afina.clean_data(source, str(tmp_path / "clean.jsonl"))
    afina.plant_canaries(source, str(tmp_path / "planted.jsonl"), count=1, repeat=(1,))
    assert {"talks.parquet", "clean.jsonl", "planted.jsonl"} <= {path.name for path in tmp_path.iterdir()}
    assert set(afina.demo_study()["methods"]) <= set(registry())


def test_what_is_printed_says_something(study: afina.Study) -> None:
    result = study.results[0]
    adapter = afina.load(study.directory / result["adapter"])
    assert re.fullmatch(r"Classifier\('.*': head on .*, classification, labels <script>, praise\)", repr(adapter))
    (one,) = adapter.predict(["great app"])
    assert repr(one) == f"Prediction({one.label!r}, {max((one.probabilities or {}).values()):.4f})"
    assert repr(afina.LoRA(rank=3)) == "LoRA(rank=3)"
    data: TextDataset = study_data(study.config, study.config.dataset[0])
    assert repr(data) == "TextDataset('data', classification: 32 train, 8 test rows; 2 labels: <script>, praise)"
    assert len(repr(data.train)) < 100 and "32" in repr(data.train)
    assert re.fullmatch(r"Study\('.*': .* on data; head, features; 1 seed; 2 of 2 runs finished\)", repr(study))


def test_an_export_says_how_near_it_is(study: afina.Study, tmp_path: Path) -> None:
    adapter = next(study.directory / result["adapter"] for result in study.results if result["method"] == "head")
    made = afina.export_adapter(adapter, "merged", out=tmp_path / "merged")
    assert (made.folder / "config.json").is_file()
    assert made.parity.equal and made.changed() is None
    assert "8 of 8" in shown(made._repr_html_()).cells and "8 of 8" in repr(made)
    with pytest.raises(UsageError, match="exists already"):
        afina.export_adapter(adapter, "merged", out=tmp_path / "merged")
    with pytest.raises(UsageError, match="did you mean 'merged'"):
        afina.export_adapter(adapter, "merge")


def test_every_method_shows_what_differs_from_its_defaults() -> None:
    for cls in registry().values():
        assert repr(cls()) == f"{cls.__name__}()"
        assert repr(cls(weight_decay=0.5)) == f"{cls.__name__}(weight_decay=0.5)"


def test_progress_is_an_observer_by_itself(
    tmp_path: Path, keys: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress()
    afina.Study(tmp_path / "out", dataset=FRAME, **keys | {"methods": ["head"]}).run(progress)
    said = capsys.readouterr().out
    assert "reading data for" in said
    assert re.search(r"head on data, .*, seed 0: accuracy [\d.]+, ", said)
    (task,) = (task for task in progress.bars.tasks if task.description == "study")
    assert (task.completed, task.total) == (1, 1)
    assert not progress.live.is_started

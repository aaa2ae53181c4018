"""`afina predict` as a person with a spreadsheet uses it: as many answers as rows, beside the rows' own columns."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from pyarrow import parquet

import afina as package
from afina.data.files.spreadsheet import guarded
from afina.data.predicting.predicted import FORMS
from afina.errors import UsageError
from commands import afina, refused
from studies import settings, write_csv

NAMES = ["complaint", "praise"]
MAIL = (
    "Data;Assunto;Mensagem;prediction\r\n"
    '01/02/2024;Café;"great parcel,\nthank you";=1+1\r\n'
    "02/02/2024;;;3,5\r\n"
    '03/02/2024;-x;"bad ""late"" kettle";+55 11\r\n'
)


@pytest.fixture(scope="module")
def folder(family_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained adapter and an export of mails from a spreadsheet: cp1252, semicolons, an empty row."""
    folder = tmp_path_factory.mktemp("predict")
    write_csv(folder / "train.csv", 60, 0)
    study = settings(family_folder, folder, methods=["features"]) | {"dataset": str(folder / "train.csv")}
    package.Study(folder / "out", **study).run()
    (folder / "mail.csv").write_bytes(MAIL.encode("cp1252"))
    next((folder / "out" / "runs").glob("*/adapter")).rename(folder / "adapter")
    return folder


def predict(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    result = afina("predict", "adapter", "--file", "mail.csv", "--text", "Mensagem", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result


def truth(folder: Path) -> list[dict[str, float]]:
    found = package.load(folder / "adapter").predict(["great parcel,\nthank you", 'bad "late" kettle'])
    return [one.probabilities or {} for one in found]


def test_a_csv_opens_in_a_spreadsheet_with_all_that_the_file_had(folder: Path) -> None:
    result = predict(folder, "--out", "out.csv")
    assert "3 rows: 2 answered, 1 without a text" in result.stderr
    assert "the predicted one is called 'prediction (afina)'" in result.stderr
    raw = (folder / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), delimiter=";"))
    head = ["row", "Data", "Assunto", "Mensagem", "prediction", "prediction (afina)", "probability"]
    assert rows[0] == [*head, "p(complaint)", "p(praise)"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    assert rows[1][1:5] == ["01/02/2024", "Café", "great parcel,\nthank you", "'=1+1"]
    assert rows[2] == ["2", "02/02/2024", "", "", "3,5", "", "", "", ""]
    assert rows[3][2:5] == ["'-x", 'bad "late" kettle', "'+55 11"]
    table = pandas.read_csv(folder / "out.csv", sep=";", decimal=",")
    for place, own in zip((0, 2), truth(folder), strict=True):
        assert table.loc[place, "prediction (afina)"] == max(own, key=lambda name: own[name])
        assert table.loc[place, "probability"] == round(max(own.values()), 4)
        assert table.loc[place, "p(praise)"] == round(own["praise"], 4)
    assert table["probability"].dtype == float


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_an_answer_for_every_row(folder: Path, form: str) -> None:
    predict(folder, "--out", f"kept.{form}", "--keep", "Data")
    path, readers = folder / f"kept.{form}", {
        "csv": lambda path: pandas.read_csv(path, sep=";", decimal=",").to_dict("records"),
        "tsv": lambda path: pandas.read_csv(path, sep="\t").to_dict("records"),
        "jsonl": lambda path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()],
        "json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        "parquet": lambda path: parquet.read_table(path).to_pylist(),
        "xlsx": lambda path: pandas.read_excel(path).to_dict("records"),
    }  # fmt: skip
    rows: list[dict[str, Any]] = readers[form](path)
    first, second = truth(folder)
    assert [row["row"] for row in rows] == [1, 2, 3]
    if "columns" in rows[0]:
        assert [row["columns"] for row in rows] == [{"Data": f"0{day}/02/2024"} for day in (1, 2, 3)]
        assert [row["probabilities"] for row in rows] == [
            {name: round(own[name], 4) for name in NAMES} if own else None for own in (first, None, second)
        ]
        assert rows[1]["label"] is None
    else:
        assert [row["Data"] for row in rows] == [f"0{day}/02/2024" for day in (1, 2, 3)]
        assert [rows[place]["p(praise)"] for place in (0, 2)] == [round(own["praise"], 4) for own in (first, second)]
        assert pandas.isna(rows[1]["prediction"]) and pandas.isna(rows[1]["probability"])


def test_a_sheet_holds_texts_as_they_are_and_no_formula(folder: Path) -> None:
    from openpyxl import load_workbook

    predict(folder, "--out", "sheet.xlsx")
    first, row, empty, _ = load_workbook(folder / "sheet.xlsx").active.iter_rows()
    assert [cell.value for cell in first][:5] == ["row", "Data", "Assunto", "Mensagem", "prediction"]
    assert (row[4].value, row[4].data_type) == ("=1+1", "s")
    assert row[3].value == "great parcel,\nthank you"
    assert isinstance(row[6].value, float)
    assert [cell.value for cell in empty][5:] == [None] * 4


def test_less_sure_rows_are_left_to_a_person(folder: Path) -> None:
    highest = sorted(max(own.values()) for own in truth(folder))
    between = sum(highest) / 2
    assert highest[0] < between < highest[1]
    told = [json.loads(line) for line in predict(folder, "--at-least", between).stdout.splitlines()]
    sure = [max(own.values()) >= between for own in truth(folder)]
    assert [told[place]["decided"] for place in (0, 2)] == sure
    for place, own in zip((0, 2), truth(folder), strict=True):
        likeliest = max(own, key=lambda name: own[name])
        assert told[place]["most_likely"] == likeliest
        assert told[place]["label"] == (likeliest if told[place]["decided"] else None)
    assert told[1] == {"label": None, "decided": False, "most_likely": None, "probabilities": None}
    shown = predict(folder, "--at-least", between, "--format", "table")
    assert shown.stdout.count("?)") == 1
    assert "3 rows: 1 answered, 1 left to a person, 1 without a text" in shown.stderr
    everything = predict(folder, "--at-least", "1", "--format", "csv", "--keep", "none").stdout
    assert [row["decided"] for row in csv.DictReader(io.StringIO(everything), delimiter=";")] == ["false"] * 3


def test_separators_follow_the_file_or_what_is_asked(folder: Path) -> None:
    commas = predict(folder, "--format", "csv", "--separator", ",", "--keep", "none").stdout.splitlines()
    assert commas[0] == "row,prediction,probability,p(complaint),p(praise)"
    assert len(commas[1].split(",")) == 5
    texts = afina("predict", "adapter", "great app", "--format", "csv", cwd=folder).stdout.splitlines()
    assert texts[0].startswith("row,text,prediction,")


def test_python_writes_the_same_file(folder: Path) -> None:
    predict(folder, "--out", "command.csv")
    counts = package.predict_file(folder / "adapter", folder / "mail.csv", folder / "python.csv", text="Mensagem")
    assert (counts.rows, counts.answered, counts.unsure, counts.empty) == (3, 2, 0, 1)
    assert (folder / "python.csv").read_bytes() == (folder / "command.csv").read_bytes()


def test_nothing_is_left_where_writing_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kept.csv").write_text("what was there")
    from afina.predictor.classifier import Classifier

    def broken(*_: object, **__: object) -> None:
        raise UsageError("no")

    monkeypatch.setattr(Classifier, "predict", broken)
    with pytest.raises(UsageError, match="no"):
        package.predict_file(folder / "adapter", folder / "mail.csv", folder / "kept.csv", text="Mensagem")
    assert (folder / "kept.csv").read_text() == "what was there"
    assert not list(folder.glob(".kept*"))


OTHERS = {
    "FEATURE_EXTRACTION": ("AutoModel", {}, {"row", "text", "embedding"}),
    "SEQ_CLS": ("AutoModelForSequenceClassification", {"num_labels": 1}, {"row", "text", "prediction"}),
    "TOKEN_CLS": (
        "AutoModelForTokenClassification", {"id2label": {0: "O", 1: "B-PER"}, "label2id": {"O": 0, "B-PER": 1}},
        {"row", "text", "prediction", "entities"},
    ),
}  # fmt: skip
"""Adapters that answer with a vector, a number, or a tag for each word: class of the model, its labels, columns."""


@pytest.mark.parametrize("kind", OTHERS)
def test_vectors_numbers_and_tags_are_written_too(
    kind: str, family_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import transformers
    from peft import LoraConfig, get_peft_model

    name, labels, columns = OTHERS[kind]
    model = getattr(transformers, name).from_pretrained(family_folder("bert"), ignore_mismatched_sizes=True, **labels)
    config = LoraConfig(r=2, target_modules=["query"], task_type=kind)
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    (tmp_path / "texts.txt").write_text("Ana lives here\n\nwhere is it\n")
    for form in ("csv", "parquet", "jsonl"):
        package.predict_file(tmp_path / "adapter", tmp_path / "texts.txt", tmp_path / f"out.{form}")
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert set(table[0]) == columns
    assert [row["row"] for row in table] == [1, 2, 3]
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert set(next(csv.DictReader(file))) == columns
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = package.load(tmp_path / "adapter").predict(["Ana lives here"])[0].as_dict()
    if kind == "TOKEN_CLS":
        assert told[0]["tags"] == found["tags"] and told[1] == {"tokens": [], "tags": [], "entities": []}
    else:
        (key,) = told[1]
        assert told[1][key] is None
        assert told[0][key] == pytest.approx(found[key], rel=1e-5)
    with pytest.raises(UsageError, match="--at-least is for labels with a probability"):
        package.predict_file(tmp_path / "adapter", tmp_path / "texts.txt", tmp_path / "sure.csv", at_least=0.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "mail.csv"], "mail.csv is the file that is read"),
        (["--out", "answers.doc"], "is one of csv, tsv, jsonl, json, parquet, xlsx"),
        (["--out", "a.csv", "--format", "table"], "--format table is for a terminal"),
        (["--format", "parquet"], "say which with --out"),
        (["--format", "xml"], "--format is csv, tsv, jsonl, json, parquet, xlsx or table, not 'xml'"),
        (["--at-least", "nan"], "not nan"),
        (["--at-least", "80"], "such as 0.8, not 80"),
        (["--keep", "Date"], "no column 'Date' to keep; there are Data, Assunto, Mensagem, prediction"),
        (["--separator", "x"], "--separator is"),
    ],
)
def test_what_cannot_be_is_refused_before_the_adapter_is_read(folder: Path, arguments: list[str], said: str) -> None:
    result = afina("predict", "nowhere", "--file", "mail.csv", "--text", "Mensagem", *arguments, cwd=folder)
    assert result.returncode == 2
    assert said in result.stderr.splitlines()[-1]
    assert not {"a.csv", "answers.doc"} & {path.name for path in folder.iterdir()}


def test_a_damaged_file_is_refused_before_torch_is_there(folder: Path) -> None:
    (folder / "open.csv").write_text('text\n"never closed\n')
    code = (
        "import sys; sys.argv = ['afina', 'predict', 'adapter', '--file', 'open.csv']\n"
        "from afina.cli.main import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    refused(result, "open.csv, line 2")


@pytest.mark.parametrize("text", ["=1+1", "@a", "+x", "-x", "\tx", "- item", "--"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", ["-1", "+3,5", "-1.000,00", "12%", "a=b", "", "'x"])
def test_numbers_and_other_texts_stay_as_they_are(text: str) -> None:
    assert guarded(text) == text

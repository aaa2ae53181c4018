"""Labels and columns as people write them: what is unified, read, asked about or refused, and that each is said."""

from pathlib import Path
from typing import Any

import pytest

from afina.config import StudyConfig
from afina.data.rows import TextDataset
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset


def load(path: Path | str, **keys: Any) -> TextDataset:
    spec: DatasetSpec = DatasetSpec.parse({"path": str(path), **keys}, "dataset")
    return load_text_dataset(spec)


def labels(tmp_path: Path, *values: str, times: int = 4, separator: str = ",", **keys: Any) -> TextDataset:
    """Load a file of some rows for each label."""
    rows = [f'text {number}{separator}"{value}"' for number, value in enumerate(values * times)]
    path = tmp_path / "d.csv"
    path.write_text(f"text{separator}label\n" + "".join(row + "\n" for row in rows), encoding="utf-8")
    return load(path, **keys)


def said(data: TextDataset) -> str:
    return "; ".join(data.notes)


UNIFIED = {
    "spaces": (["pos", " pos", "neg", "neg "], ("neg", "pos"), "' pos' is 'pos'"),
    "a space that does not break": (["muito bom", "muito\u00a0bom", "ruim"], ("muito bom", "ruim"), "'muito\\xa0bom'"),
    "nothing to see": (["pos", "p\u200bos", "\ufeffpos", "neg"], ("neg", "pos"), "invisible"),
    "composition": (["não", "na\u0303o", "sim"], ("não", "sim"), "invisible"),
    "an empty class": (["pos", "", "  ", "neg"], ("neg", "pos"), "8 rows with no label"),
    "missing ones written out": (["pos", "nan", "NA", "null", "neg"], ("neg", "pos"), "'nan', taken for none; if"),
    "missing among numbers": (["1", "0", "-", "None"], ("0", "1"), "'None', taken for none"),
    "spaces around numbers": (["1", " 1", "0"], ("0", "1"), "spaces"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNIFIED)
def test_what_a_person_cannot_see_is_no_class(case: str, tmp_path: Path) -> None:
    values, names, note = UNIFIED[case]
    data = labels(tmp_path, *values)
    assert data.label_names == names
    assert note in said(data)


def test_what_may_be_meant_is_asked_about(tmp_path: Path) -> None:
    data = labels(tmp_path, "Pos", "pos", "neg")
    assert data.label_names == ("Pos", "neg", "pos")
    assert "'Pos' (4) and 'pos' (4) differ in capitals only" in said(data)
    data = labels(tmp_path, "None", "Some")
    assert data.label_names == ("None", "Some")
    assert "missing: ['None']" in said(data)
    assert labels(tmp_path, "None", "Some", "All", missing=["None"]).label_names == ("All", "Some")
    assert labels(tmp_path, "NA", "EU", missing=[]).label_names == ("EU", "NA")
    assert "capitals" not in said(labels(tmp_path, "pos", "neg"))


DECIMALS = {
    "one decimal each": (["0,5", "1,5", "2,0", "4,5"], ",", {}, [0.5, 1.5, 2, 4.5]),
    "two decimals": (["1,25", "3", "7,5"], ",", {}, [1.25, 3, 7.5]),
    "zero before it": (["0,5", "3", "7,5"], ",", {}, [0.5, 3, 7.5]),
    "thousands with points": (["1.234,5", "2,25", "12"], ",", {}, [2.25, 12, 1234.5]),
    "thousands with commas": (["1,234.5", "2.25", "12"], ",", {}, [2.25, 12, 1234.5]),
    "semicolons between columns": (["7", "7,5", "10"], ";", {}, [7, 7.5, 10]),
    "three decimals in a sheet of semicolons": (["1,500", "2,250"], ";", {}, [1.5, 2.25]),
    "said to be decimals": (["1,500", "2,250", "3"], ",", {"decimal": ","}, [1.5, 2.25, 3]),
    "said to be thousands": (["1,500", "2,250", "3"], ",", {"decimal": ".", "task": "regression"}, [3, 1500, 2250]),
    "points": (["1.5", "2.25", "3"], ",", {}, [1.5, 2.25, 3]),
}  # fmt: skip


@pytest.mark.parametrize("case", DECIMALS)
def test_decimal_commas_are_read_where_they_can_mean_nothing_else(case: str, tmp_path: Path) -> None:
    values, separator, keys, numbers = DECIMALS[case]
    data = labels(tmp_path, *values, separator=separator, **keys)
    assert data.task == "regression"
    assert sorted({*data.train.label, *data.test.label}) == numbers
    assert ("labels such as" in said(data)) == (case != "points" and "decimal" not in keys)


REFUSED = {
    "thousands or decimals": (["1,500", "2,250"], ("'1,500'", "decimal: ','", "decimal: '.'")),
    "decimals or several labels": (["1,2", "3", "1,4"], ("'1,2'", "two labels", "decimal: ','")),
    "commas and points": (["1,5", "2.25", "3"], ("'1,5'", "'2.25'", "one way")),
    "lists of labels": (["1,2,3", "2", "1,3"], ("several labels a row", "of 0 and 1")),
    "lists": (["[1, 0]", "[0, 1]"], ("several labels a row", "label: NAME")),
    "lists of names": (["['a', 'b']", "['a']"], ("several labels a row",)),
    "no number": (["1,5", "2,5", "abc"], ("'abc' is not a number",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_can_be_read_in_two_ways_are_refused(case: str, tmp_path: Path) -> None:
    values, words = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        labels(tmp_path, *values, **({"task": "regression"} if case == "no number" else {}))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (("01/02/2024", "02/02/2024", "3.2.24"), True),
        (("2024-02-01", "2024-02-02T10:30:00Z", "2024-2-3 08:15"), True),
        (("1/2", "3/4", "5/6"), False),
        (("10.5.1", "v2024-01-01", "sim"), False),
    ],
)
def test_dates_as_labels_are_asked_about(days: tuple[str, ...], told: bool, tmp_path: Path) -> None:
    data = labels(tmp_path, *days)
    assert len(data.label_names or ()) == 3
    assert (f"the labels in column 'label' look like dates ('{min(days)}')" in said(data)) == told


def test_points_in_a_sheet_of_semicolons_are_asked_about(tmp_path: Path) -> None:
    values = ("1.500", "2.250", "3")
    with pytest.raises(UsageError, match=r"the point of '1.500' may stand before decimals or thousands; say which"):
        labels(tmp_path, *values, separator=";")
    keys: dict[str, Any] = {"separator": ";", "task": "regression"}
    read = {mark: labels(tmp_path, *values, decimal=mark, **keys) for mark in (",", ".")}
    assert {mark: sorted({*data.train.label}) for mark, data in read.items()} == {
        ",": [3, 1500, 2250],
        ".": [1.5, 2.25, 3],
    }
    # No thousands begin with a zero, or are divided after two digits.
    assert sorted({*labels(tmp_path, "0.125", "1.500", separator=";").train.label}) == [0.125, 1.5]
    assert sorted({*labels(tmp_path, "1.25", "1.500", separator=";").train.label}) == [1.25, 1.5]


def test_classes_too_rare_to_learn_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"20 different labels in .* train rows, too few rows a label"):
        labels(tmp_path, *(f"label {number}" for number in range(20)), times=2)
    assert labels(tmp_path, *(f"l{n}" for n in range(20)), times=2, task="classification").label_names is not None
    (tmp_path / "rare.csv").write_text("text,label\n" + "a,x\nb,y\n" * 10 + "odd,rare\n")
    data = load(tmp_path / "rare.csv")
    assert "odd" in data.train.text
    assert "no test row is labelled 'rare' (1 train row)" in said(data)
    assert "classes in" not in said(data)
    assert "3 classes in 5 train rows: too few" in said(labels(tmp_path, "a", "b", "c", times=2))
    (tmp_path / "gone.csv").write_text("text,label\n" + "a,x\nnan,y\n" * 5)
    assert "4 texts of train say 'nan'" in said(load(tmp_path / "gone.csv"))


# -- columns ---------------------------------------------------------------------------------------------------------

FOUND = {
    "mensagem;categoria": {"text": "mensagem", "label": "categoria"},
    "Data;Assunto;Mensagem;Categoria": {"text": "Mensagem", "label": "Categoria"},
    "Descrição;RÓTULO": {"text": "Descrição", "label": "RÓTULO"},
    "id;Comentário;nota": {"text": "Comentário", "label": "nota"},
    "avaliação;sentimento": {"text": "avaliação", "label": "sentimento"},
    "Texto ;Classe": {"text": "Texto", "label": "Classe"},
    "premissa;hipótese;classe": {"text": "premissa", "text_pair": "hipótese", "label": "classe"},
    "Title;Description;Class Index": {"text": ["Title", "Description"], "label": "Class Index"},
    "título;resumo;categoria": {"text": ["título", "resumo"], "label": "categoria"},
    "title;text;label": {"text": "text", "label": "label"},
    "headline;category": {"text": "headline", "label": "category"},
}


@pytest.mark.parametrize("header", FOUND)
def test_columns_are_found_by_their_usual_names(header: str, tmp_path: Path) -> None:
    names = [name.strip() for name in header.split(";")]
    own = FOUND[header]
    rows = [";".join(f"{name} {n}" if name != own["label"] else "ab"[n % 2] for name in names) for n in range(20)]
    (tmp_path / "d.csv").write_bytes("\n".join([header, *rows, ""]).encode("cp1252"))
    data = load(tmp_path / "d.csv")
    assert data.columns == own
    texts = own["text"] if isinstance(own["text"], list) else [own["text"]]
    assert data.train.text[0] == "\n".join(f"{name} {data.train.text[0].rsplit(' ')[-1]}" for name in texts)
    if isinstance(own["text"], list):
        assert f"the texts are {' and '.join(texts)}, joined" in said(data)
    if "Assunto" in header:
        assert "text: [Assunto, Mensagem]" in said(data)


def test_columns_are_joined_as_a_study_says_and_as_it_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("Assunto,Mensagem,Categoria\n" + 'Oi,"a, b",x\n,c,y\nOi,,x\n' * 5)
    data = load(tmp_path / "d.csv", text=["Assunto", "Mensagem"])
    assert {*data.train.text, *data.test.text} == {"Oi\na, b", "c", "Oi"}
    values = {"model": "minilm", "methods": ["head"], "dataset": {"path": "d.csv", "text": ["Assunto", "Mensagem"]}}
    study: StudyConfig = StudyConfig.parse(values, "study")
    again: StudyConfig = StudyConfig.parse(study.model_dump(mode="json"), "study")
    assert again == study
    assert study.model_dump(mode="json")["dataset"][0]["text"] == ["Assunto", "Mensagem"]
    with pytest.raises(UsageError, match="no column 'Asunto' for text; did you mean 'Assunto'"):
        load(tmp_path / "d.csv", text=["Asunto", "Mensagem"])
    with pytest.raises(UsageError, match="different ones"):
        load(tmp_path / "d.csv", text=["Mensagem", "Mensagem"])


def test_a_file_without_names_of_columns_is_told_from_one_of_others(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("3,Wall St. bears claw back into the black again\n" + "1,a\n2,b\n" * 5)
    with pytest.raises(UsageError, match="its first line looks like a row"):
        load(tmp_path / "d.csv")
    (tmp_path / "d.csv").write_text("v1,v2\n" + "1,a\n2,b\n" * 5)
    with pytest.raises(UsageError, match=r"say which with text: \(v1, v2\)\.$"):
        load(tmp_path / "d.csv")


def test_several_labels_and_a_test_part_without_any_say_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("comment_text,toxic,threat\n" + "a,0,1\nb,1,0\n" * 5)
    with pytest.raises(UsageError, match=r"2 of 0 and 1 \(toxic, threat\).*label: toxic"):
        load(tmp_path / "d.csv")
    assert load(tmp_path / "d.csv", label="threat").label_names == ("0", "1")
    (tmp_path / "train.csv").write_text("id,text,target\n" + "1,a,0\n2,b,1\n" * 5)
    (tmp_path / "test.csv").write_text("id,text\n1,a\n")
    with pytest.raises(UsageError, match=r"\(test\) has no labels.*give the train file alone.*afina predict"):
        load(tmp_path)


def test_a_file_beside_the_study_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mail.csv").write_text("text,label\n" + "a,x\nb,y\n" * 5)
    (tmp_path / "studies" / "study.yaml").write_text("model: minilm\ndataset: mail.csv\nmethods: head\n")
    monkeypatch.chdir(tmp_path)
    study = StudyConfig.read(Path("studies/study.yaml"))
    assert [spec.path for spec in study.dataset] == ["studies/mail.csv"]
    (tmp_path / "mail.csv").write_text("text,label\n")
    assert [spec.path for spec in StudyConfig.read(Path("studies/study.yaml")).dataset] == ["mail.csv"]
    with pytest.raises(UsageError, match=r"gone\.csv does not exist: neither in .* nor beside the study file"):
        load("gone.csv")


@pytest.mark.parametrize("keys", ["answers: [no, yes]", "label: on", "text: [yes, text]", "name: off"])
def test_yaml_truths_where_a_word_is_wanted_are_explained(keys: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(f"model: minilm\ndataset: {{path: a.csv, {keys}}}\nmethods: head\n")
    with pytest.raises(UsageError, match=r"YAML reads yes, no, on and off as true and false.*quotation marks"):
        StudyConfig.read(tmp_path / "study.yaml")

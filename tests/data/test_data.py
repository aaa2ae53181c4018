"""Data sets are read as they stand; what is dropped is said, and what is wrong is one sentence."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet

from afina.data.labelled import TextDataset, read_texts, stratified_rows
from afina.data.sources.presets import PRESETS
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset


def load(path: Path | str, **options: Any) -> TextDataset:
    limits = {key: options.pop(key) for key in ("train_limit", "test_limit", "task") if key in options}
    return load_text_dataset(DatasetSpec(path=str(path), **options), **limits)


def refused(path: Path | str, *words: str, **options: Any) -> None:
    """Check that loading is refused in one line that has these words."""
    with pytest.raises(UsageError) as caught:
        load(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


def lines(labels: Sequence[Any], first: int = 0) -> str:
    return "text,label\n" + "".join(f"text {first + i},{label}\n" for i, label in enumerate(labels))


def folder(place: Path, train: str, test: str, suffix: str = "csv") -> Path:
    place.mkdir(exist_ok=True)
    (place / f"train.{suffix}").write_text(train, encoding="utf-8")
    (place / f"test.{suffix}").write_text(test, encoding="utf-8")
    return place


def write_parquet(path: Path, columns: dict[str, Any], names: Sequence[str] | None = None) -> Path:
    table = arrow.table(columns)
    if names:
        features = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(table, path)
    return path


# -- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_file_type_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    """A comma, a quote, a line feed and U+2028 in a text, and a text that looks like a number, come through whole."""
    texts = ['one, "two"\nthree', "wo\u2028rds\x85here", "007", *(f"text {i}" for i in range(17))]
    labels = ["yes", "no"] * 10
    place = tmp_path / f"data.{suffix}"
    if suffix == "parquet":
        write_parquet(place, {"text": texts, "label": labels})
    elif suffix in ("jsonl", "json"):
        objects = [json.dumps({"text": t, "label": y}) for t, y in zip(texts, labels, strict=True)]
        place.write_text("\n".join(objects) if suffix == "jsonl" else f"[{','.join(objects)}]", encoding="utf-8")
    else:
        import csv

        with place.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == "tsv" else ",")
            writer.writerows([("text", "label"), *zip(texts, labels, strict=True)])
    data = load(place)
    given = dict(zip(texts, labels, strict=True))
    read = [*zip(data.train.text, data.train.label, strict=True), *zip(data.test.text, data.test.label, strict=True)]
    assert data.label_names == ("no", "yes")
    assert {text: data.label_names[label] for text, label in read} == given
    assert (len(data.train), len(data.test)) == (16, 4)
    assert any("no test part" in note for note in data.notes)


def test_an_unquoted_line_separator_is_no_new_row(tmp_path: Path) -> None:
    place = tmp_path / "data.csv"
    place.write_text("text,label\n" + "".join(f"a\u2028b\x0b {i},{i % 2}\n" for i in range(10)), encoding="utf-8")
    assert all(text.startswith("a\u2028b\x0b") for text in load(place).train.text)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 2], ("2", "9", "10")),
        (["1.0", "2.0", "1.0"], ("1", "2")),
        (["01", "1", "01"], ("01", "1")),
        (["b", "a", "c"], ("a", "b", "c")),
        ([-1, 0, 1], ("-1", "0", "1")),
        ([-1, 1], ("-1", "1")),
    ],
)
def test_label_names_are_what_is_written_and_in_order(
    tmp_path: Path, labels: list[Any], names: tuple[str, ...]
) -> None:
    """Also: -1 is a class where nothing says that it means "no label"; 01 is not 1."""
    place = tmp_path / "data.csv"
    place.write_text(lines(labels * 10))
    data = load(place)
    assert data.label_names == names
    assert len(data.train) + len(data.test) == 10 * len(labels)


def test_bools_are_classes(tmp_path: Path) -> None:
    place = tmp_path / "data.jsonl"
    place.write_text("".join(json.dumps({"text": f"t{i}", "label": i % 2 == 0}) + "\n" for i in range(20)))
    data = load(place)
    assert data.label_names == ("False", "True")
    assert data.train.label[data.train.text.index("t0")] == 1


def test_label_names_come_from_the_schema_and_unlabelled_rows_are_dropped(tmp_path: Path) -> None:
    names = ["entailment", "neutral", "contradiction"]
    for split in ("train", "test"):
        columns = {"premise": [f"{split} {i}" for i in range(12)], "hypothesis": ["h"] * 12, "label": [0, 1, 2, -1] * 3}
        write_parquet(tmp_path / "nli" / f"{split}.parquet", columns, names)
    data = load(tmp_path / "nli")
    assert data.label_names == tuple(names)
    assert data.train.text_pair == ["h"] * 9
    assert data.train.label.tolist() == [0, 1, 2] * 3
    assert any("3 train rows with the label -1" in note for note in data.notes)


@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [
        (("text", "label"), "text", None),
        (("id", "Review", "Stars"), "Review", None),
        (("premise", "hypothesis", "label"), "premise", "hypothesis"),
        (("sentence1", "sentence2", "score"), "sentence1", "sentence2"),
        (("question1", "question2", "label"), "question1", "question2"),
        (("question", "sentence", "label"), "question", "sentence"),
        (("sentence", "label"), "sentence", None),
        (("text", "text_pair", "label"), "text", "text_pair"),
    ],
)
def test_columns_are_found(tmp_path: Path, columns: tuple[str, ...], first: str, second: str | None) -> None:
    place = tmp_path / "data.csv"
    rows = [",".join(f"{name} {i}" if name != columns[-1] else str(i % 2) for name in columns) for i in range(10)]
    place.write_text("\n".join([",".join(columns), *rows]))
    data = load(place)
    assert data.train.text[0].startswith(first)
    assert (data.train.text_pair or [None])[0] == (f"{second} 0" if second else None)


def test_named_columns_are_taken(tmp_path: Path) -> None:
    place = tmp_path / "data.csv"
    place.write_text("text,body,mark,label\n" + "".join(f"no,yes {i},{i % 2},9\n" for i in range(10)))
    data = load(place, text="body", label="mark")
    assert data.train.text[0] == "yes 0"
    assert data.label_names == ("0", "1")
    assert data.train.text_pair is None


def test_regression_is_seen_and_numbers_kept(tmp_path: Path) -> None:
    place = tmp_path / "data.csv"
    values = [i / 4 for i in range(40)]
    place.write_text(lines(values))
    data = load(place)
    assert data.task == "regression"
    assert data.label_names is None
    assert data.train.label.dtype == np.float64
    assert sorted([*data.train.label, *data.test.label]) == values


def test_whole_numbers_are_classes_unless_regression_is_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "data.csv"
    place.write_text(lines([1, 2, 3, 4, 5] * 8))
    assert load(place).task == "classification"
    assert load(place, task="regression").train.label.dtype == np.float64
    assert load_text_dataset(DatasetSpec(path=str(place), task="regression")).task == "regression"


def test_a_quantity_in_test_alone_makes_it_regression(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", lines([1.0, 2.0, 3.0] * 4), lines([1.0, 2.5]))
    assert load(place).task == "regression"


def test_split_names_files(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", lines([0, 1] * 5), lines([0, 1]))
    (place / "dev.csv").write_text(lines([0, 1] * 2, first=50))
    data = load(place)
    assert data.validation is not None
    assert data.validation.text[0] == "text 50"
    assert load(place, split={"test": "dev.csv"}).test.text[0] == "text 50"


def test_rows_keep_their_order_and_texts_in_both_parts_are_noted(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", lines([0, 1] * 5), lines([0, 1], first=8))
    data = load(place)
    assert data.train.text == [f"text {i}" for i in range(10)]
    assert "2 texts stand in both train and test" in data.notes


def test_empty_texts_and_missing_labels_are_dropped_and_said(tmp_path: Path) -> None:
    train = lines([0, 1] * 5) + "  ,1\nfull,\n,0\n"
    data = load(folder(tmp_path / "d", train, lines([0, 1], first=90) + ",1\n"))
    assert (len(data.train), len(data.test)) == (10, 2)
    assert data.train.label.tolist() == [0, 1] * 5
    said = " | ".join(data.notes)
    for note in ("2 train rows with an empty text", "1 train row with no label", "1 test row with an empty text"):
        assert note in said


def test_nan_among_numbers_is_a_missing_label(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "d", lines([0, 1] * 5 + ["nan"]), lines([0, 1], first=90)))
    assert data.label_names == ("0", "1")
    assert len(data.train) == 10


# -- limits and digests ----------------------------------------------------------------------------------------------


def test_limits_are_stratified_nested_and_in_order(tmp_path: Path) -> None:
    place = folder(
        tmp_path / "d", lines(["a"] * 600 + ["b"] * 300 + ["c"] * 100), lines(["a", "b", "c"] * 10, first=5000)
    )
    small, large = load(place, train_limit=50), load(place, train_limit=200)
    assert np.bincount(small.train.label).tolist() == [30, 15, 5]
    assert np.bincount(large.train.label).tolist() == [120, 60, 20]
    assert set(small.train.text) < set(large.train.text)
    numbers = [int(text.split()[1]) for text in large.train.text]
    assert numbers == sorted(numbers)
    assert load(place, train_limit=50).digest == small.digest
    assert len(load(place, train_limit=10**6, test_limit=10**6).train) == 1000


def test_limits_of_numbers_are_random_rows_and_always_the_same(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", lines([i / 3 for i in range(200)]), lines([0.5, 1.5], first=900))
    data = load(place, train_limit=40)
    assert len(data.train) == 40
    assert data.train.label.max() > 40
    assert data.digest == load(place, train_limit=40).digest
    assert np.array_equal(
        stratified_rows(np.zeros(9), 4, classes=False), np.unique(stratified_rows(np.zeros(9), 4, classes=False))
    )


def test_a_limit_below_the_number_of_classes_is_refused(tmp_path: Path) -> None:
    refused(folder(tmp_path / "d", lines([0, 1, 2] * 5), lines([0, 1, 2])), "train_limit", "3", train_limit=2)


def test_the_digest_covers_texts_labels_and_parts(tmp_path: Path) -> None:
    train, test = lines([0, 1] * 5), lines([0, 1], first=90)
    one = load(folder(tmp_path / "one", train, test)).digest
    assert load(folder(tmp_path / "same", train, test)).digest == one
    others = [
        load(folder(tmp_path / "text", train.replace("text 3", "text three"), test)).digest,
        load(folder(tmp_path / "label", train.replace("text 3,1", "text 3,0"), test)).digest,
        load(folder(tmp_path / "test", train, test.replace("text 91", "text 92"))).digest,
        load(tmp_path / "one", train_limit=8).digest,
    ]
    assert len({one, *others}) == 5


# -- what is refused -------------------------------------------------------------------------------------------------

BAD_FILES: list[tuple[str, bytes, tuple[str, ...]]] = [
    ("empty.csv", b"", ("empty.csv is empty",)),
    ("header.csv", b"text,label\n", ("no rows",)),
    ("short.csv", b"text,label\na,1\nb,0\n", ("2 rows", "at least 5")),
    ("ragged.csv", b"text,label\na,1\nb,0,extra\n", ("line 3", "3 fields", "2")),
    ("quoted.csv", b'text,label\na,1\n"b,0\nc,1\n', ("quoted.csv, line ",)),
    ("twice.csv", b"text,text\na,1\n", ("two columns of the same name",)),
    ("mixed.csv", b"text,label\ncaf\xc3\xa9,1\ncaf\xe9,0\n", ("mixed.csv, line 3", "0xe9", "UTF-8")),
    ("mixed.jsonl", b'{"text": "caf\xc3\xa9"}\n{"text": "caf\xe9"}\n', ("line 2", "UTF-8")),
    ("torn.csv", b"text,label\na\xffb,1\nb,0\n", ("line 2", "0xff", "encoding:")),
    ("torn.jsonl", b'{"text": "a", "label": 1}\n\n{"text": "b", "lab\n', ("line 3", "not valid JSON")),
    ("numbers.jsonl", b'{"text": "a", "label": 1}\n17\n', ("line 2", "an object is wanted")),
    ("list.json", b'[{"text": "a"}, 2]', ("item 2", "an object is wanted")),
    ("broken.json", b'[{"text": "a"},\n{"text": ]', ("line 2", "not valid JSON")),
    ("deep.jsonl", b"[" * 100_000, ("nested too deeply",)),
    ("half.jsonl", b'{"text": "a"}\n{"text": "\\ud800"}\n', ("line 2", "UTF-8")),
    ("none.parquet", b"PAR1 no parquet at all", ("no readable parquet",)),
    ("notes.txt", b"hello", ("set task: language", ".csv")),
    ("model.pkl", b"\x80\x04.", ("pickled", ".csv")),
    ("weights.bin", b"\x00", ("pickled",)),
    ("weights.pt", b"\x00", ("pickled",)),
    ("blank.csv", b"text,label\n" + b" ,1\n" * 6, ("every text", "'text'")),
    ("unlabelled.csv", b"text,label\n" + b"a,\n" * 6, ("every label", "'label'")),
    ("apart.csv", b"text,label\n" + b"a,\n,1\n" * 6, ("both a text and a label",)),
    ("single.csv", b"text,label\n" + b"a,yes\n" * 10, ("only one class ('yes')",)),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES, ids=[bad[0] for bad in BAD_FILES])
def test_a_bad_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, words: tuple[str, ...]) -> None:
    place = tmp_path / name
    place.write_bytes(content)
    refused(place, name, *words)


def test_missing_places_are_named(tmp_path: Path) -> None:
    refused(tmp_path / "gone.csv", "gone.csv does not exist")
    refused(tmp_path / "gone", "gone does not exist")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "test.csv").write_text(lines([0, 1]))
    refused(tmp_path / "half", "no train part")
    refused(tmp_path / "half", "other.csv does not exist", split={"test": "other.csv"})
    (tmp_path / "half" / "train.csv").write_text(lines([0, 1]))
    (tmp_path / "half" / "train.tsv").write_text("x")
    refused(tmp_path / "half", "train.csv", "train.tsv", "split:")
    refused(tmp_path / "half" / "train.csv", "split:", split={"test": "x"})


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    place = tmp_path / "data.csv"
    place.write_text("remark,mark\n" + "a,1\n" * 6)
    refused(place, "looks like a text", "remark, mark")
    place.write_text("comment,rating\n" + "a,1\n" * 6)
    refused(place, "no column 'coment'", "did you mean 'comment'?", "rating", text="coment", label="rating")
    refused(place, "no column 'zzz'", "comment, rating", text="comment", label="zzz")
    other = folder(tmp_path / "d", lines([0, 1] * 5), "text,lable\na,1\n")
    refused(other, "(test) has no column 'label'", "did you mean 'lable'?")


def test_a_label_that_train_lacks_is_named_with_its_rows(tmp_path: Path) -> None:
    refused(folder(tmp_path / "d", lines([0, 1] * 5), lines([0, 7, 7])), "'7'", "2 test rows", "no train row")
    # One odd label turns a text file's whole column into strings: the others are the same labels still.
    refused(folder(tmp_path / "e", lines([0, 1] * 5), lines([0, 1, "abc"])), "label 'abc' stands in 1 test")


def test_regression_names_the_row_in_the_file_that_is_no_number(tmp_path: Path) -> None:
    """The row is counted in the file as it is, not among the rows that were left."""
    place = folder(tmp_path / "d", "text,label\n,1\n" + lines([0.5, 1.5, "bad", 2]).split("\n", 1)[1], lines([0.5]))
    refused(place, "train.csv, row 4", "'bad'", task="regression")
    single = tmp_path / "single.csv"
    single.write_text(lines([0.5] * 30 + ["bad"] + [0.7] * 9))
    refused(single, "single.csv, row 31", "'bad'", task="regression")
    refused(folder(tmp_path / "e", lines([0.5, 1.5]), lines([0.5, "1e999"])), "test.csv, row 2", task="regression")


def test_quantities_taken_for_classes_suggest_regression(tmp_path: Path) -> None:
    many, unique = tmp_path / "many.csv", tmp_path / "unique.csv"
    many.write_text(lines([i % 300 for i in range(3000)]))
    refused(many, "300 different labels", "task: regression")
    assert len(load(many, task="classification").label_names or ()) == 300
    unique.write_text(lines([f"name {i}" for i in range(50)]))
    refused(unique, "different labels", "another label: column")


def test_constant_numbers_teach_nothing(tmp_path: Path) -> None:
    refused(folder(tmp_path / "d", lines([2] * 10), lines([1, 2])), "every train label is 2", task="regression")


def test_parquet_that_is_not_what_it_says(tmp_path: Path) -> None:
    texts = [f"t{i}" for i in range(20)]
    names = ["no", "yes"]
    write_parquet(tmp_path / "p" / "train.parquet", {"text": texts, "label": [0, 1] * 10}, names)
    write_parquet(tmp_path / "p" / "test.parquet", {"text": texts, "label": [0, 5] * 10}, names)
    refused(tmp_path / "p", "(test), row 2", "5", "no, yes")
    write_parquet(tmp_path / "p" / "test.parquet", {"text": texts, "label": [-1] * 20}, names)
    refused(tmp_path / "p", "every label is -1", "split:")
    tags = write_parquet(tmp_path / "tags.parquet", {"text": texts, "label": [[1]] * 20})
    refused(tags, "list", "one number or string")
    refused(
        write_parquet(tmp_path / "words.parquet", {"text": [["a"]] * 20, "label": [0, 1] * 10}), "list", "not texts"
    )
    good = arrow.array([b"abc", b"ab\xff"] * 10)
    unchecked = arrow.StringArray.from_buffers(20, *good.buffers()[1:])
    for column in (good, unchecked):
        bad = write_parquet(tmp_path / "bad.parquet", {"text": column, "label": [0, 1] * 10})
        refused(bad, "bad.parquet, row 2", "UTF-8")


def test_bytes_and_dictionaries_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    columns = {"text": [f"t{i}".encode() for i in range(20)], "label": arrow.array(["a", "b"] * 10).dictionary_encode()}
    data = load(write_parquet(tmp_path / "d.parquet", columns))
    assert data.train.text[0] == "t0"
    assert data.label_names == ("a", "b")


# -- the hub, presets and packaged sets ------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Any, ...]]]:
    """Stand for the hub: every split is these columns; what was asked for is listed."""
    datasets = pytest.importorskip("datasets")

    def serve(columns: dict[str, list[Any]], names: Sequence[str] | None = None) -> list[tuple[Any, ...]]:
        asked: list[tuple[Any, ...]] = []

        def load_dataset(path: str, config: str | None = None, *, split: str) -> Any:
            asked.append((path, config, split))
            rows = datasets.Dataset.from_dict(columns)
            return rows.cast_column("label", datasets.ClassLabel(names=list(names))) if names else rows

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return serve


def test_presets_know_columns_names_and_the_labels_that_mean_none(hub: Any) -> None:
    asked = hub({"premise": [f"p{i}" for i in range(8)], "hypothesis": ["h"] * 8, "label": [0, 1, 2, -1] * 2})
    data = load("snli")
    assert asked == [("stanfordnlp/snli", None, "train"), ("stanfordnlp/snli", None, "test")]
    assert data.label_names == ("entailment", "neutral", "contradiction")
    assert data.train.label.tolist() == [0, 1, 2] * 2
    assert data.name == "snli"
    assert any("2 train rows with the label -1" in note for note in data.notes)


def test_sst2_is_tested_on_its_validation_split_and_a_part_can_be_changed(hub: Any) -> None:
    asked = hub({"sentence": [f"s{i}" for i in range(8)], "label": [0, 1] * 4})
    assert load("sst2").label_names == ("negative", "positive")
    assert asked == [("nyu-mll/glue", "sst2", "train"), ("nyu-mll/glue", "sst2", "validation")]
    asked.clear()
    load("sst2", split={"test": "train[:10%]"})
    assert [split for _, _, split in asked] == ["train", "train[:10%]"]


def test_hub_names_take_label_names_from_their_features(hub: Any) -> None:
    hub({"sentence": [f"s{i}" for i in range(8)], "label": [0, 1] * 4}, names=["bad", "good"])
    assert load("someone/reviews").label_names == ("bad", "good")


@pytest.mark.parametrize("name", ["imdb", "ag_newz", "someone/thing"])
def test_a_hub_that_cannot_be_reached_is_said_plainly(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*given: Any, **options: Any) -> Any:
        raise ConnectionError("Couldn't reach it on the Hub\nwith more lines")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    refused(name, name, "offline", *(["did you mean 'ag_news'?"] if name == "ag_newz" else []))
    if name == "imdb":
        with pytest.raises(UsageError) as caught:
            load(name)
        assert "is no packaged" not in str(caught.value)


def test_a_split_that_the_hub_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unknown(*given: Any, **options: Any) -> Any:
        raise ValueError("Unknown split \"test\". Should be one of ['train'].")

    monkeypatch.setattr(datasets, "load_dataset", unknown)
    refused("someone/thing", "Unknown split", "split:")


def test_a_preset_wins_over_a_folder_of_its_name_and_says_so(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub({"text": [f"hub {i}" for i in range(8)], "label": [0, 1, 2, 3] * 2})
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "ag_news", lines([0, 1] * 5), lines([0, 1]))
    data = load("ag_news")
    assert data.train.text[0] == "hub 0"
    assert any("./ag_news" in note for note in data.notes)
    assert load("./ag_news").train.text[0] == "text 0"


@pytest.mark.parametrize(
    ("name", "train", "test", "classes"),
    [("imdb", 25000, 25000, 2), ("ag_news", 120000, 7600, 4), ("snli", 549367, 9824, 3), ("sst2", 67349, 872, 2)],
)
def test_presets_are_described_without_network(name: str, train: int, test: int, classes: int) -> None:
    preset = PRESETS[name]
    assert (dict(preset.rows), preset.classes, preset.task) == (
        {"train": train, "test": test},
        classes,
        "classification",
    )
    assert (preset.tokens or 0) > 0


def test_the_packaged_tickets_load() -> None:
    data = load("tickets")
    assert data.task == "classification"
    assert len(data.label_names or ()) == 6
    assert len(data.train) + len(data.test) >= 1200
    assert not any("stand in both" in note or "stands in both" in note for note in data.notes)


# -- texts to predict for --------------------------------------------------------------------------------------------


def test_texts_to_predict_for_come_line_by_line_or_from_a_table(tmp_path: Path) -> None:
    plain = tmp_path / "texts.txt"
    plain.write_bytes("one\u2028still one\r\n\ntwo\n".encode())
    assert read_texts(plain) == [("one\u2028still one", None), ("", None), ("two", None)]
    table = tmp_path / "pairs.csv"
    table.write_text("premise,hypothesis\na,b\n")
    assert read_texts(table) == [("a", "b")]
    assert read_texts(table, text="hypothesis") == [("b", None)]
    with pytest.raises(UsageError, match=r"gone\.txt does not exist"):
        read_texts(tmp_path / "gone.txt")


# -- real data -------------------------------------------------------------------------------------------------------

REAL = {
    "ag_news": ("classification", 4, 29585, 7600, False),
    "imdb": ("classification", 2, 10000, 10000, False),
    "snli": ("classification", 3, 21605, 9824, True),
    "stsb_en": ("regression", None, 5749, 1379, True),
    "stsb_pt": ("regression", None, 5749, 1379, True),
}


@pytest.mark.parametrize("name", REAL)
def test_real_folders_load_whole(shared: Path, name: str) -> None:
    task, classes, train, test, pairs = REAL[name]
    data = load(shared / "data" / name)
    assert (data.task, len(data.train), len(data.test)) == (task, train, test)
    assert (None if data.label_names is None else len(data.label_names)) == classes
    assert (data.train.text_pair is not None) == pairs

"""Data sets as Python objects: each kind gives the tables that a file of the same rows gives."""

from pathlib import Path
from typing import Any

import datasets
import pandas
import polars
import pyarrow as arrow
import pytest

from afina.data.sources.frames import from_objects, is_objects, tables_of
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset

TEXTS = [f"texto número {number}" for number in range(20)]
LABELS = ["sim" if number % 2 else "não" for number in range(20)]
ROWS = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
COLUMNS = {"text": TEXTS, "label": LABELS}
HALF = {"text": TEXTS[:10], "label": LABELS[:10]}

OBJECTS: dict[str, Any] = {
    "pandas": pandas.DataFrame(COLUMNS),
    "pandas with an index": pandas.DataFrame(COLUMNS, index=range(100, 120)).sort_index(),
    "pandas with categories": pandas.DataFrame(COLUMNS).astype({"label": "category"}),
    "polars": polars.DataFrame(COLUMNS),
    "arrow": arrow.table(COLUMNS),
    "datasets": datasets.Dataset.from_dict(COLUMNS),
    "datasets with classes": datasets.Dataset.from_dict(COLUMNS).class_encode_column("label"),
    "columns": COLUMNS,
    "columns of numpy": {"text": pandas.Series(TEXTS).to_numpy(), "label": pandas.Series(LABELS).to_numpy()},
    "rows": ROWS,
    "texts and labels": (TEXTS, LABELS),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_kind_of_object_gives_the_same_data_set(kind: str, tmp_path: Path) -> None:
    plain = load_text_dataset(from_objects(COLUMNS, tmp_path / "plain"))
    found = load_text_dataset(from_objects(OBJECTS[kind], tmp_path / "other"))
    assert found.digest == plain.digest
    assert found.label_names == ("não", "sim")
    assert found.train.text == plain.train.text


@pytest.mark.parametrize(
    "parts",
    [
        {"train": pandas.DataFrame(COLUMNS), "test": (TEXTS[:10], LABELS[:10])},
        {"treino": ROWS, "teste": HALF},
        {"train": COLUMNS, "validation": HALF},
        datasets.DatasetDict({"train": datasets.Dataset.from_dict(COLUMNS), "test": datasets.Dataset.from_dict(HALF)}),
    ],
    ids=["mixed", "Portuguese", "validation alone", "DatasetDict"],
)
def test_parts_are_kept_apart(parts: Any, tmp_path: Path) -> None:
    data = load_text_dataset(from_objects(parts, tmp_path))
    assert (len(data.train), len(data.test)) == (20, 10)


def test_rows_of_a_dataset_that_was_shuffled_and_cut_are_its_own(tmp_path: Path) -> None:
    shuffled = datasets.Dataset.from_dict(COLUMNS).class_encode_column("label").shuffle(seed=1).select(range(12))
    assert tables_of(shuffled)["train"]["text"].to_pylist() == shuffled["text"][:]
    data = load_text_dataset(from_objects(shuffled, tmp_path))
    assert sorted(data.train.text + data.test.text) == sorted(shuffled["text"][:])
    assert data.label_names == ("não", "sim")


def test_keys_beside_the_object_say_which_columns_mean_what(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"Assunto": ["oi"] * 20, "Corpo": TEXTS, "fila": LABELS})
    spec = from_objects({"path": frame, "text": ["Assunto", "Corpo"], "label": "fila", "name": "mails"}, tmp_path)
    data = load_text_dataset(spec)
    assert data.train.text[0].startswith("oi\ntexto")
    assert data.columns == {"text": ["Assunto", "Corpo"], "label": "fila"}
    assert data.name == "mails"
    # What was written before, and is no part any more, is gone.
    from_objects({"path": {"train": frame, "test": frame}, "name": "mails"}, tmp_path)
    assert from_objects({"path": frame, "name": "mails"}, tmp_path).path == spec.path
    assert [file.name for file in Path(spec.path).iterdir() if file.suffix] == ["train.parquet"]


def test_what_is_missing_in_a_frame_is_missing(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"text": [*TEXTS, None], "label": [None, *LABELS]})
    data = load_text_dataset(from_objects(frame, tmp_path))
    assert len(data.train) + len(data.test) == 19
    mixed = tables_of(pandas.DataFrame({"text": TEXTS[:3], "label": [1, "a", float("nan")]}))["train"]
    assert mixed["label"].to_pylist() == ["1", "a", None]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((TEXTS, LABELS[:3]), ("text: 20", "label: 3")),
        ({"test": ROWS}, ("no train part",)),
        ([], ("a list", "DataFrame")),
        (pandas.DataFrame({"text": [], "label": []}), ("no rows",)),
        (pandas.DataFrame([["a", "b"]], columns=["text", "text"]), ("same name",)),
        (object(), ("a object", "DataFrame")),
        (TEXTS, ("a list", "(texts, labels)")),
        (datasets.Dataset.from_dict(COLUMNS).to_iterable_dataset(), ("IterableDataset",)),
    ],
)
def test_what_is_no_data_set_is_refused_in_a_sentence(value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        tables_of(value)
    assert all(word in str(caught.value) for word in words), caught.value


def test_names_paths_and_specs_are_no_objects() -> None:
    assert not any(map(is_objects, ("tickets", Path("a.csv"), {"path": "a.csv"}, DatasetSpec(path="a.csv"))))
    assert all(map(is_objects, (*OBJECTS.values(), {"path": OBJECTS["pandas"]})))

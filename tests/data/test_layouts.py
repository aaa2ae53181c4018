"""Folders of tables as people, programs and the hub lay them out: the same rows, or the sentence that says what is known."""
# ruff: noqa: E501 (tables of inputs)

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as arrow
import pytest
from pyarrow import parquet

from afina.data.rows import TextDataset
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset

ROWS = [{"text": f"row {number}", "label": "ab"[number % 2]} for number in range(12)]
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)
SMALL = "text,label\nx,a\ny,b\n"


def load(path: Path, **keys: Any) -> TextDataset:
    return load_text_dataset(DatasetSpec(path=str(path), **keys))


def files(path: Path, **named: str) -> None:
    for name, content in named.items():
        file = path / name.replace("_DOT_", ".").replace("_IN_", "/").replace("_TO_", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")


def shards(path: Path, part: str, count: int, of: int | None = None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        table = arrow.Table.from_pylist(ROWS[number::count])
        parquet.write_table(table, path / f"{part}-{number:05d}-of-{of or count:05d}.parquet")


def saved(path: Path) -> None:
    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": rows, "test": rows.select([0, 1])}).save_to_disk(path)


def snapshot(path: Path) -> None:
    files(path / "snapshots" / "a1b2", train_DOT_csv=CSV, test_DOT_csv=SMALL)


def declared(path: Path) -> None:
    parts = "[{split: train, path: 'raw/first*.csv'}, {split: test, path: [raw/last.csv]}]"
    readme = f"---\nlicense: cc0-1.0\nconfigs:\n- {{config_name: default, data_files: {parts}}}\n---\nwords\n"
    files(path, README_DOT_md=readme, raw_IN_first_DOT_csv=CSV, raw_IN_last_DOT_csv=SMALL)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "two files": lambda path: files(path, train_DOT_csv=CSV, test_DOT_csv=SMALL),
    "Portuguese": lambda path: files(path, treino_DOT_csv=CSV, teste_DOT_csv=SMALL),
    "capitals": lambda path: files(path, Train_DOT_csv=CSV, TEST_DOT_csv=SMALL),
    "data": lambda path: files(path, data_IN_train_DOT_csv=CSV, data_IN_test_DOT_csv=SMALL),
    "a folder a part": lambda path: files(path, train_IN_0_DOT_csv=CSV, test_IN_0_DOT_csv=SMALL),
    "validation alone": lambda path: files(path, train_DOT_csv=CSV, dev_DOT_csv=SMALL),
    "shards": lambda path: (shards(path / "data", "train", 3), files(path, data_IN_test_DOT_csv=SMALL))[0],
    "save_to_disk": saved,
    "the hub's cache": snapshot,
    "declared": declared,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_its_parts(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path / "d")
    data = load(tmp_path / "d")
    assert sorted(data.train.text) == sorted(row["text"] for row in ROWS)
    assert len(data.test) == 2
    assert data.label_names == ("a", "b")
    assert any("no test part: tested on its validation part" in note for note in data.notes) == (
        layout == "validation alone"
    )


def test_a_single_dataset_and_a_train_part_alone_are_divided(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).class_encode_column("label").save_to_disk(tmp_path / "one")
    files(tmp_path / "two", train_DOT_csv=CSV)
    for folder in ("one", "two"):
        data = load(tmp_path / folder)
        assert (len(data.train), len(data.test)) == (10, 2)
        assert any("has no test part" in note for note in data.notes)


def test_folders_that_are_not_clear_say_what_is_known(tmp_path: Path) -> None:
    def refused(name: str, *words: str, **keys: Any) -> None:
        with pytest.raises(UsageError) as caught:
            load(tmp_path / name, **keys)
        assert all(word in str(caught.value) for word in words), caught.value

    files(tmp_path / "other", mails_DOT_csv=CSV)
    refused("other", "no train part", "mails.csv", "by its path", "train-00000-of-00001.parquet", "save_to_disk")
    shards(tmp_path / "lost", "train", 2, of=3)
    refused("lost", "2 of the 3 shards")
    files(tmp_path / "unlike", train_TO_1_DOT_csv=CSV, train_TO_2_DOT_csv="text,class\nx,a\n")
    refused("unlike", "train-2.csv has the columns text, class", "train-1.csv")
    saved(tmp_path / "saved")
    (tmp_path / "saved" / "train" / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "../../x.arrow"}]})
    )
    refused("saved", "names no data files")
    (tmp_path / "saved" / "dataset_dict.json").write_text("[")
    refused("saved", "dataset_dict.json is damaged (Expecting value")
    readme = "---\nconfigs:\n- {config_name: a, data_files: x.csv}\n- {config_name: b, data_files: y.csv}\n---\n"
    files(tmp_path / "several", README_DOT_md=readme, x_DOT_csv=CSV, y_DOT_csv=SMALL)
    refused("several", "2 configurations (a, b)", "config:")
    assert len(load(tmp_path / "several", config="a").train) == 10
    (tmp_path / "several" / "README.md").write_text(
        "---\nconfigs: [{config_name: a, data_files: ../other/mails.csv}]\n---\n"
    )
    refused("several", "no train part")


_ASKED = [{"role": "user", "content": "What is in it?"}, {"role": "assistant", "content": "Apples."}]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": _ASKED}, "holds conversations (OpenAI messages), not texts with a label; to learn the answers, write task: chat."),
        ({"messages": str(_ASKED)}, "holds conversations (OpenAI messages)"),
        ({"instruction": "Say it.", "input": "", "output": "It."}, "holds conversations (Alpaca)"),
        ({"pergunta": "O que é?", "resposta": "Maçãs."}, "holds conversations (question and answer)"),
        ({"prompt": "What?", "chosen": "Apples.", "rejected": "No."}, "holds conversations (preferences)"),
        ({"translation": {"en": "A house.", "pt": "Uma casa."}}, "holds texts to read and to write, not texts with a label; write task: seq2seq"),
        ({"id": 1, "context": "It has apples.", "question": "What?", "answers": {"text": ["apples"], "answer_start": [7]}}, "holds texts to read and to write"),
        ({"remark": "It came late", "mark": "bad"}, "no column that looks like a text; say which with text: (remark, mark)."),
    ],
)  # fmt: skip
def test_rows_of_another_task_are_told_which(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Who leaves task: out is told what the rows are, not to name a column of texts that they do not have."""
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(row)] * 8), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load_text_dataset(DatasetSpec(path=str(path)))
    assert str(refused.value).startswith(str(path)) and told in str(refused.value)


def test_a_tree_of_messages_and_answers_of_their_own_are_told_to_be_for_chat(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [row for k in range(8) for row in (
        {"message_id": f"a{k}", "parent_id": None, "text": f"What is in box {k}?", "role": "prompter"},
        {"message_id": f"b{k}", "parent_id": f"a{k}", "text": f"{k} apples.", "role": "assistant"},
        {"message_id": f"c{k}", "parent_id": f"a{k}", "text": "I do not know.", "role": "assistant"},
    )]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds conversations .*; to learn the answers, write task: chat"):
        load_text_dataset(DatasetSpec(path=str(path)))
    rows = [{"question": f"What is in box {k}?", "answer": f"{k} apples."} for k in range(30)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(UsageError, match=r"different labels .* task: chat if they are what is to be written"):
        load_text_dataset(DatasetSpec(path=str(path)))


@pytest.mark.parametrize(
    "names", [("train.parquet", "test.parquet"), ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet")]
)
def test_parts_that_number_their_labels_otherwise_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    own, other = (
        datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(labels))})
        for labels in ("ab", "ba")
    )
    first = datasets.Dataset.from_list(ROWS, features=own)
    first.to_parquet(tmp_path / names[0])
    first.to_parquet(tmp_path / names[1])
    assert load(tmp_path).label_names == ("a", "b")
    datasets.Dataset.from_list(ROWS, features=other).to_parquet(tmp_path / names[1])
    with pytest.raises(UsageError, match=r"numbered 0: 'b', 1: 'a'.*0: 'a', 1: 'b'; write the names"):
        load(tmp_path)

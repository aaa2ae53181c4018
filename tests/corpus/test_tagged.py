"""`afina data inspect` reads a file of tagged words as `task: tagging` does: a sentence a row, whatever its form."""

import json
from pathlib import Path

import pytest

from afina.corpus.inspect import inspect_file
from afina.corpus.inspect_page import inspection_page
from afina.corpus.reading import Reading
from afina.words.language import Words

SENTENCES = [[("Ana", "B-PER"), ("mora", "O"), ("em", "O"), ("Lisboa", "B-LOC")], [("Chove", "O"), ("hoje", "O")]] * 3


def kaggle() -> str:
    rows = [f"{f'Sentence: {n}' if place == 0 else ''},{word},{tag}" for n, own in enumerate(SENTENCES)
            for place, (word, tag) in enumerate(own)]  # fmt: skip
    return "\n".join(["Sentence #,Word,Tag", *rows])


def conll() -> str:
    return "\n\n".join("\n".join(f"{word} {tag}" for word, tag in own) for own in SENTENCES)


def lists() -> str:
    return "\n".join(json.dumps({"tokens": [w for w, _ in own], "ner_tags": [t for _, t in own]}) for own in SENTENCES)


def spans() -> str:
    rows: list[dict[str, object]] = [
        {"text": "Ana mora em Lisboa", "label": [[0, 3, "PER"], [12, 18, "LOC"]]}, {"text": "Chove hoje", "label": []}
    ]  # fmt: skip
    return "\n".join(json.dumps(row) for row in rows * 3)


@pytest.mark.parametrize(("name", "text"), [
    ("a.csv", kaggle()), ("a.txt", conll()), ("a.jsonl", lists()), ("a.jsonl", spans()),
])  # fmt: skip
def test_a_file_of_tagged_words_is_told_as_sentences(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text + "\n")
    found = inspect_file(tmp_path / name)
    assert (found.rows, found.lengths["row"].longest, found.empty, found.labels) == (6, 4, {}, {})
    assert found.tags == {"O": 12, "B-PER": 3, "B-LOC": 3}
    page = inspection_page(found, Words("pt"))
    assert "frases de palavras etiquetadas" in page and "Palavras por etiqueta" in page
    # What a person says of the rows goes before.
    assert inspect_file(tmp_path / name, how=Reading(plain=True)).tags == {}


def test_labels_and_lists_of_something_else_are_no_tags(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Ana mora em Lisboa", "labels": ["news", "people"]}\n' * 3)
    (tmp_path / "b.csv").write_text("text,label\n" + "Ana mora em Lisboa,news\n" * 3)
    assert [inspect_file(tmp_path / name).tags for name in ("a.jsonl", "b.csv")] == [{}, {}]

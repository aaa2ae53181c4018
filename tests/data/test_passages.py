"""Questions with passages, read from every form; what stands twice is one, and what is left out is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afina.data.hard_negatives import hard_negatives
from afina.data.rows import Passages, TextDataset
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset

PASSAGES = [f"The {name} works by {part}, and its {part} is mended here." for name, part in (
    ("lamp", "oil"), ("kettle", "steam"), ("phone", "wire"), ("clock", "spring"), ("radio", "wave"), ("stove", "gas"),
)]  # fmt: skip
QUESTIONS = [f"What does the {text.split()[1]} work by?" for text in PASSAGES]


def read(path: Path, **more: Any) -> TextDataset:
    return load_text_dataset(DatasetSpec.parse({"path": str(path), **more}, "data"), task="retrieval")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs_of(data: TextDataset) -> set[tuple[str, str]]:
    return {
        pair for rows in (data.train, data.test) for pair in zip(rows.text, rows.text_pair or [], strict=True)
    }  # fmt: skip


ROWS = list(zip(QUESTIONS, PASSAGES, strict=True))
FORMS = {
    "question, context": [{"id": "x", "question": q, "context": p} for q, p in ROWS],
    "pergunta, passagem": [{"Pergunta": q, "Passagem": p} for q, p in ROWS],
    "anchor, positive": [{"anchor": q, "positive": p} for q, p in ROWS],
    "lists": [{"query": q, "positives": [p]} for q, p in ROWS],
    "lists as text": [{"query": q, "positives": json.dumps([p])} for q, p in ROWS],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_alike(tmp_path: Path, form: str) -> None:
    data = read(written(tmp_path / "rows.jsonl", FORMS[form]))
    assert pairs_of(data) == set(ROWS)
    assert (len(data.train), len(data.test)) == (5, 1)
    assert data.passages is not None and sorted(data.passages.texts) == sorted(PASSAGES)
    for rows in (data.train, data.test):
        assert rows.text_pair == [data.passages.texts[number] for number in rows.label]
    assert any("5 questions to train on, 1 to test on" in note for note in data.notes)


def test_ids_are_looked_up_in_a_file_of_passages(tmp_path: Path) -> None:
    written(
        tmp_path / "passages.jsonl", [{"id": n, "text": text} for n, text in enumerate([*PASSAGES, PASSAGES[0] + " "])]
    )
    rows = [{"question": q, "passage_ids": [n, n + 6] if n == 0 else [n]} for n, q in enumerate(QUESTIONS)]
    path = written(tmp_path / "rows.jsonl", rows)
    data = read(path, passages="passages.jsonl")
    assert pairs_of(data) == set(ROWS), "what stands twice is one passage"
    assert any("1 passages that stand more than once" in note for note in data.notes)
    with pytest.raises(UsageError, match="row 7: no passage has the id '99'"):
        read(written(path, [*rows, {"question": "Which?", "passage_ids": [99]}]), passages="passages.jsonl")
    with pytest.raises(UsageError, match=r"missing.jsonl does not exist"):
        read(path, passages="missing.jsonl")


def test_a_question_stands_once_in_the_test_with_all_that_answers_it(tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", [{"question": q, "passage": p} for q, p in ROWS])
    written(train.with_name("test.jsonl"), [
        {"question": "What is mended?", "passage": PASSAGES[0], "negative": PASSAGES[3]},
        {"question": "What  is mended?", "passage": PASSAGES[1].replace(" ", "  "), "negative": PASSAGES[0]},
        {"question": "Unanswerable?", "passage": "", "negative": None},
        {"question": "", "passage": PASSAGES[2], "negative": ""},
    ])  # fmt: skip
    data = read(tmp_path, negatives=None)
    assert data.test.text == ["What is mended?"]
    assert data.passages is not None and data.passages.right["What is mended?"] == (0, 1)
    assert "questions of test without a passage that answers, left out: 1" in data.notes
    assert "1 of 1 test questions ask of a passage that train questions ask of too" in data.notes


def test_negatives_that_answer_are_no_negatives(tmp_path: Path) -> None:
    rows = [{"question": q, "passage": p, "negatives": [PASSAGES[0], PASSAGES[1]]} for q, p in ROWS]
    data = read(written(tmp_path / "rows.jsonl", rows))
    assert data.passages is not None
    assert data.passages.wrong[QUESTIONS[0]] == (1,) and data.passages.wrong[QUESTIONS[2]] == (0, 1)
    assert any("2 passages stand as right and as wrong" in note for note in data.notes)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"name": "a", "value": "b"}] * 6, "no column that looks like questions; say which with text:"),
        (
            [{"question": "a", "value": "b"}] * 6,
            "no column that looks like passages that answer; say which with text_pair:",
        ),
        (
            [{"question": f"a{n}", "passage": ""} for n in range(6)],
            "no question in 'question' has a passage in 'passage'",
        ),
        ([{"question": f"a{n}", "passage": f"b{n}"} for n in range(3)], "at least 5 are needed"),
        ([{"question": f"a{n}", "passage": [{"x": 1}]} for n in range(6)], "row 1: a passage in 'passage' is"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, rows: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(written(tmp_path / "rows.jsonl", rows))


WORDS = ["lamp", "kettle", "steam", "oil", "gas", "wave", "spring"]
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


@settings(max_examples=25)
@given(
    st.lists(TEXT, min_size=3, max_size=12, unique=True), st.lists(TEXT, min_size=1, max_size=4, unique=True), st.data()
)
def test_no_negative_answers_and_none_scores_too_high(
    texts: list[str], questions: list[str], data: st.DataObject
) -> None:
    some = st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=3, unique=True)
    right = {question: tuple(data.draw(some)) for question in questions}
    passages = Passages(tuple(texts), right, {})
    answers = np.array([right[question][0] for question in questions])
    share = data.draw(st.sampled_from([0.5, 0.95, 1.0]))
    found = hard_negatives(questions, answers, passages, count=2, share=share)
    assert found == hard_negatives(questions, answers, passages, count=2, share=share), "seeded"
    for question, answer, own in zip(questions, answers, found, strict=True):
        assert not set(own) & set(right[question]) and len(own) == len(set(own)) <= 2
        scores = by_hand(question, texts)
        for number in own:
            assert 0 < scores[number] <= share * scores[answer] * (1 + 1e-5)


def by_hand(question: str, texts: list[str]) -> list[float]:
    """BM25 as Lucene has it (k 1.5, b 0.75), which is bm25s's default."""
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)
    scores = []
    for words in split:
        total = 0.0
        for word in question.split():
            holding = sum(word in own for own in split)
            idf = np.log(1 + (len(split) - holding + 0.5) / (holding + 0.5))
            count = words.count(word)
            total += idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * len(words) / mean))
        scores.append(total)
    return scores


def test_given_negatives_come_first(tmp_path: Path) -> None:
    passages = Passages(tuple(PASSAGES), {QUESTIONS[0]: (0,)}, {QUESTIONS[0]: (3, 4)})
    assert hard_negatives([QUESTIONS[0]], np.array([0]), passages, count=2, share=0.95) == [[3, 4]]
    (own,) = hard_negatives([QUESTIONS[0]], np.array([0]), passages, count=4, share=0.95)
    assert own[:2] == [3, 4] and not set(own[2:]) & {0, 3, 4}

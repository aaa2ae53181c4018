"""Doubted labels and leaked test rows: planted ones are found, and where none were planted there is no alarm."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from afina.corpus.examined import ExaminedRows, RowExamination, examine
from afina.corpus.inspect import inspect_file
from afina.corpus.inspect_page import doubt_lines, inspection_page
from afina.corpus.label_noise import LabelNoise, LabelNoiseSearch, confident
from afina.corpus.near_duplicates import most_alike, signature, similar
from afina.corpus.told import noise_lines
from afina.data.files.tables import read_table
from afina.errors import UsageError
from afina.words.language import Words


@pytest.fixture
def news(shared: Path) -> tuple[list[str], list[str]]:
    return read_news(shared / "data" / "ag_news" / "train.parquet")


@cache
def read_news(path: Path) -> tuple[list[str], list[str]]:
    table = read_table(path, [])
    return table["text"].to_pylist()[:4000], [str(label) for label in table["label"].to_pylist()[:4000]]


def doubted(texts: list[str], labels: list[str]) -> np.ndarray:
    search = LabelNoiseSearch()
    for row, (text, label) in enumerate(zip(texts, labels, strict=True)):
        search.add(text, label, str(row))
    found = search.found()
    assert found is not None and found.is_told
    return np.array([int(row.place) for row in found.rows])


def test_planted_flips_are_found(news: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """One label in ten is another: of what is doubted more than half was flipped, and a third of the flips is among it."""
    monkeypatch.setattr("afina.corpus.label_noise._KEPT", 10_000)
    texts, labels = news
    random = np.random.default_rng(0)
    flipped = random.random(len(labels)) < 0.1
    changed = [
        str((int(x) + random.integers(1, 4)) % 4) if flip else x for x, flip in zip(labels, flipped, strict=True)
    ]
    rows = doubted(texts, changed)
    assert flipped[rows].mean() > 0.5 and flipped[rows].sum() > flipped.sum() / 3
    # The surest are nearly all flips, by which a person begins; without flips a twentieth is doubted at most.
    assert flipped[rows[:20]].mean() >= 0.8
    assert len(doubted(texts, labels)) < len(texts) / 20


def test_thresholds_are_those_of_the_paper() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.85])
    # t_0 = 0.6 and t_1 = (0.8 + 0.7 + 0.15) / 3 = 0.55: the third row counts for 1, the last for 0, none for neither.
    is_doubted, counted = confident(labels, np.stack([first, 1 - first], axis=1))
    assert is_doubted.tolist() == [False, False, True, False, False, True]
    assert counted[[2, 5]].tolist() == [1, 0]
    # Rows between both thresholds count for none, whatever their label.
    middle = np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])
    assert not confident(np.array([1, 0, 1]), middle)[0].any() and confident(np.array([0, 0, 1]), middle)[0].sum() == 0


def test_doubts_are_those_of_cleanlab() -> None:
    """On probabilities drawn so that classes overlap; cleanlab is no part of the environment, as it brings a tree."""
    count = pytest.importorskip("cleanlab.count", reason="needs cleanlab: pip install cleanlab")
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 3000)
    scores = random.normal(size=(3000, 4)) + 2.5 * np.eye(4)[truth]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = np.where(random.random(3000) < 0.1, random.integers(0, 4, 3000), truth)
    _, theirs = count.compute_confident_joint(
        labels, probabilities, return_indices_of_off_diagonals=True, calibrate=False
    )
    is_doubted, counted = confident(labels, probabilities)
    # Where several classes are reached cleanlab takes the likeliest of all, the paper the likeliest of those reached.
    thresholds = np.array([probabilities[labels == k, k].mean() for k in range(4)])
    same = (probabilities.argmax(axis=1) == counted) | ~(probabilities >= thresholds).any(axis=1)
    assert {*np.flatnonzero(is_doubted & same)} == {*theirs} & {*np.flatnonzero(same)} and same.mean() > 0.97


def test_how_far_a_list_is_to_be_believed_is_said_by_how_many_labels_words_give() -> None:
    for accuracy, why in ((0.88, "so that some are"), (0.39, "so that most are")):
        (_, line), *_ = noise_lines(LabelNoise(9842, 1780, accuracy, 0.34), Words())
        assert why in line


def test_labels_are_not_doubted_where_words_do_not_tell_them(news: tuple[list[str], list[str]]) -> None:
    texts, labels = news
    search = LabelNoiseSearch()
    for text, label in zip(texts[:600], np.random.default_rng(0).permutation(labels[:600]), strict=True):
        search.add(text, str(label), "")
    assert (found := search.found()) is not None and not found.is_told
    few = LabelNoiseSearch()
    for text in texts[:40]:
        few.add(text, text[:1], "")
    assert few.found() is None


def test_the_nearest_text_is_the_one_that_all_comparisons_give(news: tuple[list[str], list[str]]) -> None:
    texts = news[0][:400]
    others = np.array([signature(text) for text in texts[:200]])
    changed = np.array([signature(f"{text} Thank you.") for text in texts[150:250]])
    near, alike = most_alike(changed, others, 0.8)
    every = np.array([similar(one, others) for one in changed])
    assert np.array_equal(near, np.where(every.max(axis=1) >= 0.8, every.argmax(axis=1), -1))
    assert np.array_equal(alike[near >= 0], every.max(axis=1)[near >= 0]) and (near >= 0).sum() >= 45


def test_test_rows_among_train_rows_are_found(news: tuple[list[str], list[str]], tmp_path: Path) -> None:
    texts, labels = news[0][:300], news[1][:300]
    leaked = [texts[0].upper() + "!!", f"{texts[1]} Thanks.", *texts[200:]]
    found = examine(ExaminedRows(texts[:200], labels[:200]), ExaminedRows(leaked))
    assert (found.leaks.exact, found.leaks.near) == (1, 1)
    assert [(row.test, row.train) for row in found.leaks.rows] == [("row 1", "row 1"), ("row 2", "row 2")]
    assert RowExamination.of(found.as_dict()) == found
    assert examine(ExaminedRows(texts[:200]), ExaminedRows(leaked[2:])).leaks.share == 0

    import pyarrow as arrow
    from pyarrow import parquet

    parquet.write_table(arrow.table({"text": texts[:200], "label": labels[:200]}), tmp_path / "train.parquet")
    parquet.write_table(arrow.table({"text": leaked}), tmp_path / "test.parquet")
    inspection = inspect_file(tmp_path / "train.parquet", test=tmp_path / "test.parquet")
    warned = [line for warn, line in doubt_lines(inspection, Words("pt")) if warn]
    assert warned[0].startswith(
        "linhas de teste que estão entre as de treino: 1 de 102 palavra por palavra, 1 de 102 quase"
    )
    assert "1 of 102 word for word" in inspection_page(inspection, Words())
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UsageError, match=r"empty\.txt"):
        inspect_file(tmp_path / "train.parquet", test=tmp_path / "empty.txt")

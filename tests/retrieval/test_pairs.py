"""Pairs made of documents alone: a sentence and the rest of its passage, or a question that a model wrote, marked so."""

import json
from pathlib import Path
from typing import Any

import pytest

from afina import api
from afina.corpus.writers import GeneratedText
from afina.errors import UsageError
from afina.retrieval.build import build_index
from afina.retrieval.index import Index
from commands import afina as run_command
from commands import refused


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paired")
    (folder / "d").mkdir()
    for number in range(6):
        sentences = [f"The part {number} of the machine has the number {number}{place} on it." for place in range(9)]
        (folder / "d" / f"{number}.md").write_text(f"# Part {number}\n\n{' '.join(sentences)}\n")
    (folder / "d" / "short.txt").write_text("Too short.")
    build_index([folder / "d"], folder / "i", representation="bm25", tokens=60, overlap=25, near=0, text_language="en")
    return folder / "i"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_question_is_a_sentence_of_its_passage_that_no_neighbour_shares(index: Path, tmp_path: Path) -> None:
    made = api.rag.pairs(index, tmp_path / "p.jsonl", keep=0.5)
    rows, opened = read(tmp_path / "p.jsonl"), Index(index)
    assert (
        made.pairs == len(rows) == made.passages
        and made.left_out == len(opened) - len(rows) >= 1
        and made.by == "cloze"
    )
    stays = 0
    for row in rows:
        page = opened.edition.page_text(row["file"], row["page"])
        passage = page[row["start"] : row["stop"]]
        assert row["question"] in passage and row["made_by"] == "cloze" and "generated" not in row
        others = [opened.edition.chunk(number).text for number in range(len(opened))]
        assert sum(row["question"] in other for other in others) == 1
        left = row["passage"]
        stays += row["question"] in left
        whole = passage if row["question"] in left else passage.replace(row["question"], "")
        assert left.replace(" ", "").endswith(whole.replace(" ", ""))
    assert 0 < stays < len(rows)
    api.rag.pairs(index, tmp_path / "again.jsonl", keep=0.5)
    api.rag.pairs(index, tmp_path / "other.jsonl", keep=0.5, seed=1)
    assert read(tmp_path / "again.jsonl") == rows != read(tmp_path / "other.jsonl")


def test_pairs_are_what_an_encoder_is_tuned_on(index: Path, tmp_path: Path) -> None:
    from afina.config import StudyConfig
    from afina.study.prepare import prepare

    assert run_command("rag", "pairs", index, "--out", tmp_path / "p.jsonl").returncode == 0
    rows = read(tmp_path / "p.jsonl")
    data = {"path": str(tmp_path / "p.jsonl"), "task": "retrieval"}
    config = StudyConfig.parse({"model": "minilm", "dataset": data, "methods": ["lora"], "hard_negatives": 0}, "study")
    ready = prepare(config, config.dataset[0], config.model[0], tmp_path / "prepared")
    assert ready.train_rows + ready.test_rows == len(rows)


class _Writer:
    name, parallel = "a-writer", 1

    def write(self, prompt: str, seed: int) -> GeneratedText:
        part = prompt.partition("machine has the number ")[2].split()[0] if "machine" in prompt else ""
        asked = f"User: Which part has the number {part}?\nAssistant: The part {part[:1]}."
        return GeneratedText(asked if part else "I do not know.")


def test_questions_of_a_model_are_marked_and_belong_to_their_passage(index: Path, tmp_path: Path) -> None:
    made = api.rag.pairs(index, tmp_path / "p.jsonl", _Writer())
    rows = read(tmp_path / "p.jsonl")
    assert rows and made.pairs == len(rows) and made.by == "a-writer" and made.left_out >= 1
    for row in rows:
        assert row["generated"] is True and row["made_by"] == "a-writer"
        assert row["question"].removeprefix("Which part has the number ").rstrip("?") in row["passage"]
    assert (tmp_path / "p.generated.jsonl").is_file()


def test_what_cannot_be_is_one_sentence(index: Path, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("Short. Very short.")
    build_index([tmp_path / "d"], tmp_path / "i", representation="bm25", text_language="en")
    refused(run_command("rag", "pairs", tmp_path / "i", "--out", tmp_path / "p.jsonl"), "No question can be made")
    assert not (tmp_path / "p.jsonl").exists()
    refused(run_command("rag", "pairs", index, "--out", tmp_path / "p.csv"), "written as .jsonl")
    refused(run_command("rag", "pairs", index, "--out", tmp_path / "p.jsonl", "--keep", "2"), "0 to 1, not 2")
    refused(run_command("rag", "pairs", index, "--out", tmp_path / "p.jsonl", "--endpoint", "http://x"), "--model")
    (tmp_path / "p.jsonl").write_text("mine")
    refused(run_command("rag", "pairs", index, "--out", tmp_path / "p.jsonl"), "exists already")
    with pytest.raises(UsageError, match="wrote no question"):
        api.rag.pairs(tmp_path / "i", tmp_path / "q.jsonl", _Writer())
    assert not (tmp_path / "q.jsonl").exists()

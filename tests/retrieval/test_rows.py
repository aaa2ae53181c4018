"""Rows that teach to read: their prompts are those that are asked, and what stands in them is what the documents say."""

import json
from pathlib import Path
from typing import Any

import pytest

import afina
from afina import api
from afina.errors import UsageError
from afina.generation.settings import GenerationSettings
from afina.predictor.predictor import rows_of
from afina.retrieval.asking import build_prompt
from afina.retrieval.bare import BareWriter
from afina.retrieval.build import build_index
from afina.retrieval.citations import cite, cited, plain_answer
from afina.retrieval.index import Index
from afina.retrieval.questions import DocumentQuestion, QuestionsSpec, read_questions
from afina.retrieval.rows import RowSettings, reading_rows
from afina.retrieval.telling import hits_of, telling_rows
from commands import afina as run_command
from commands import refused

PARTS = {
    "Cleaning": "Clean the pump with warm water. Never use soap.", "Warranty": "The warranty lasts two years.",
    "Price": "The pump costs 90 reais. The hose costs 12 reais.", "Colour": "The pump is green, the hose is yellow.",
    "Weight": "The pump weighs three kilos.", "Power": "The pump needs 40 watts.", "Noise": "The pump is louder at night.",
}  # fmt: skip
ROWS = [
    {"question": "How long is the warranty?", "answer": "It lasts two years.", "key": "two years",
     "passage": "the  warranty lasts\ntwo years."},
    {"question": "What does the pump cost?", "answer": "The pump costs 90 reais.", "key": "90 reais",
     "passage": PARTS["Price"]},
    {"question": "How heavy is the pump?", "answer": "Three kilos.", "passage": PARTS["Weight"]},
    {"question": "Which colour is the hose?", "answer": "Yellow.", "passage": "The hose is purple."},
    {"question": "Who made the pump?", "answer": None},
    {"question": "How heavy is the pump?", "answer": "Twice.", "passage": PARTS["Weight"]},
    {"question": "", "answer": "x"},
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reading")
    (folder / "d").mkdir()
    (folder / "d" / "pump.md").write_text("".join(f"# {name}\n\n{text}\n\n" for name, text in PARTS.items()))
    build_index([folder / "d"], folder / "index", representation="bm25")
    write(folder / "questions.jsonl", ROWS)
    return folder


@pytest.fixture(scope="module")
def writer() -> BareWriter:
    return BareWriter("afina-small", device="cpu")


def asked(folder: Path) -> list[DocumentQuestion]:
    return read_questions(QuestionsSpec(path=str(folder / "questions.jsonl")))


def test_passages_that_tell_are_found_word_for_word_and_by_their_file(folder: Path) -> None:
    index, questions = Index(folder / "index"), asked(folder)
    assert [question.is_told for question in questions] == [True, True, True, True, False]
    found = telling_rows(index, questions)
    texts = [[index.edition.chunk(row).text for row in rows] for rows in found]
    assert [len(rows) for rows in found] == [1, 1, 1, 0, 0]
    assert PARTS["Warranty"] in texts[0][0] and PARTS["Price"] in texts[1][0]
    by_file = [
        DocumentQuestion("Which?", ("green",), file="pump.md"),
        DocumentQuestion("Which?", ("blue",), file="pump.md"),
    ]
    (green,), nothing = telling_rows(index, by_file)
    assert PARTS["Colour"] in index.edition.chunk(green).text and nothing == []


@pytest.mark.parametrize("without", [0.0, 0.5, 1.0])
def test_a_rows_prompt_is_the_one_that_is_asked_and_its_answer_holds(
    folder: Path, writer: BareWriter, without: float
) -> None:
    index, questions = Index(folder / "index"), asked(folder)
    made = reading_rows(index, questions, writer, RowSettings(passages=3, without=without, max_new_tokens=64))
    assert made.dropped == {"no passage of the index tells the answer": 1} and len(made.rows) == 4
    tells = telling_rows(index, questions)
    for row in made.rows:
        (question,) = (each for each in questions if each.row == row["row"])
        (asks, answers), right = row["messages"], tells[questions.index(question)]
        hits = hits_of(index, range(len(index)))
        given = [next(hit for hit in hits if hit.chunk.heading in line) for line in asks["content"].split("\n\n")[1:-1]]
        same = build_prompt(writer, question.text, given, GenerationSettings(max_new_tokens=64))
        assert same.messages == [asks] and len(same.given) == row["passages"] <= 3
        numbers = [each.number for each in same.given if each.hit.row in right]
        citations, wrong = cited(
            answers["content"], {each.number: (each.hit, each.text) for each in same.given}, index.terms
        )
        assert not wrong
        if row["right"] is None:
            assert not numbers and answers["content"] == "The documents do not tell."
        else:
            (citation,) = citations
            assert [citation.number] == numbers == [row["right"]] and not citation.is_weak
            assert f"“{citation.quote}” [{citation.number}]" in answers["content"]
            assert plain_answer(answers["content"]) == question.answers[0]
    if without == 1.0:
        assert made.kinds == {"without": 3, "not_told": 1}


def test_rows_are_the_same_with_the_same_seed_and_whatever_stands_beside_them(folder: Path) -> None:
    index, questions = Index(folder / "index"), asked(folder)
    first, again, other = (
        reading_rows(index, own, None, RowSettings(without=0.5, seed=seed)).rows
        for own, seed in ((questions, 0), (questions[1:], 0), (questions, 1))
    )
    assert first[1:] == again and first != other


def test_no_wrong_passage_holds_the_answer(folder: Path) -> None:
    index = Index(folder / "index")
    question = DocumentQuestion(
        "Of which colour is what costs 12 reais?", ("The hose.",), ("hose",), passages=(PARTS["Price"],)
    )
    made = reading_rows(index, [question], None, RowSettings(without=0, passages=7))
    (row,) = made.rows
    assert "Colour" not in row["messages"][0]["content"] and "costs 12 reais" in row["messages"][0]["content"]
    assert made.notes[-1] == "passages that hold the answer's words too, not taken for wrong ones: 1"


def test_what_is_learned_is_what_is_asked_token_by_token(folder: Path, tmp_path: Path) -> None:
    """A study reads the rows, and its adapter is asked in the very tokens that it was trained on."""
    for part in ("train", "test"):
        made = api.rag.rows(
            folder / "index",
            folder / "questions.jsonl",
            tmp_path / "rows" / f"{part}.jsonl",
            model="afina-small",
            most=2,
        )
    assert made.kinds.total() == 4 and made.out == tmp_path / "rows" / "test.jsonl"
    done = api.train(
        out=tmp_path / "study", model="afina-small", dataset=str(tmp_path / "rows"), task="chat", method="lora", epochs=1,
        max_length=512, precision="fp32",
    )  # fmt: skip
    trained: Any = afina.load(done.adapters[0])
    index = Index(folder / "index")
    hits = hits_of(index, range(len(index)))
    for row in made.rows:
        (question,) = (each for each in asked(folder) if each.row == row["row"])
        lines = row["messages"][0]["content"].split("\n\n")[1:-1]
        given = [next(hit for hit in hits if hit.chunk.heading in line) for line in lines]
        prompt = build_prompt(trained, question.text, given, GenerationSettings())
        learned = trained.tokens(rows_of([json.dumps([list(message.values()) for message in row["messages"]])]))
        request = trained.request(prompt.messages, trained)
        assert list(learned.ids[: len(request.prompt)]) == list(request.prompt) and prompt.tokens == row["tokens"]


def test_citations_are_written_and_taken_out_again() -> None:
    assert cite("It costs 9.", 2) == "It costs 9 [2]."
    assert plain_answer(cite("It costs 9.", 2)) == plain_answer(cite("It costs 9.", 3, "All cost 9.")) == "It costs 9."
    assert plain_answer("“All cost 9.” [1]") == "“All cost 9.”"
    assert plain_answer(" [1]. ") == ""


def test_the_command_says_what_it_left_out_and_refuses_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    index, questions, out = folder / "index", folder / "questions.jsonl", tmp_path / "rows.jsonl"
    shown = run_command("rag", "rows", index, questions, "--out", out, "--model", "afina-small", "--language", "pt")
    assert shown.returncode == 0, shown.stderr
    assert "1 ficam de fora: nenhum trecho do índice diz a resposta" in shown.stdout
    assert "perguntas que aparecem mais de uma vez, tomadas uma vez: 1" in shown.stdout
    assert len(out.read_text().splitlines()) == 4
    again = ("rag", "rows", index, questions, "--out", out)
    refused(run_command(*again), "exists already")
    (tmp_path / "plain.csv").write_text("question\nWhy?\n")
    (tmp_path / "empty.csv").write_text("question,answer\nWhy?,\n")
    (tmp_path / "lost.csv").write_text("question,answer,passage\nWhy?,Because.,Nowhere at all.\n")
    for name, said in (("plain", "no column that looks like answers"), ("empty", "no question has an answer"),
                       ("lost", "No question gives a row")):  # fmt: skip
        refused(run_command("rag", "rows", index, tmp_path / f"{name}.csv", "--out", tmp_path / "new.jsonl"), said)
        assert not (tmp_path / "new.jsonl").exists()
    refused(run_command(*again, "--force", "--model", "minilm"), "writes no text")
    refused(run_command(*again, "--force", "--lacking", "maybe"), "'lacking'")
    refused(run_command(*again, "--force", "--passage", "pasage"), "no column 'pasage'")
    with pytest.raises(UsageError, match=r"\.jsonl"):
        api.rag.rows(index, questions, tmp_path / "rows.parquet")

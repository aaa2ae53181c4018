"""One vocabulary of column names: what `afina data` finds by a name, a study finds by it, and the other way round."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import afina
from afina.corpus.inspect import inspect_file
from afina.corpus.lines import SourceFile
from afina.corpus.reading import read_interactions
from afina.data import names
from afina.data.names import plain_name
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset

ROWS = 10
Q, A = "<asked>", "<said>"
"""Stand for a question and an answer that are others in every row."""
SPOKEN = [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]
TRANSCRIPT = f"User: {Q}\nAssistant: {A}"

ANSWERED: dict[str, dict[str, Any]] = {
    **{f"pair {first} {second}": {first: Q, second: A} for first, second in (*names.PAIRS, *names.EITHER_PAIRS)},
    **{f"list {name}": {name: SPOKEN} for name in names.MESSAGES},
    **{f"chosen {name}": {"prompt": Q, name: A, "rejected": "lost"} for name in names.CHOSEN},
    **{f"rejected {name}": {"prompt": Q, "chosen": A, name: "lost"} for name in names.REJECTED},
    **{f"preferred after {name}": {name: Q, "chosen": A, "rejected": "lost"} for name in names.QUESTIONS},
    "preferred transcript": {"chosen": TRANSCRIPT, "rejected": f"User: {Q}\nAssistant: lost"},
    **{f"message of {role} {said}": {"messages": [{role: each["role"], said: each["content"]} for each in SPOKEN]}
       for role, said in zip(names.ROLE_KEYS, names.SAID_KEYS, strict=False)},
}  # fmt: skip
"""Rows that hold a question and its answer, and nothing else."""
TALKS: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    **{f"transcript {name}": ({name: TRANSCRIPT}, [["user", Q], ["assistant", A]]) for name in names.TRANSCRIPTS},
    **{f"about {name}": ({"instruction": Q, name: "red", "response": A}, [["user", f"{Q}\n\nred"], ["assistant", A]])
       for name in names.CONTEXTS},
    **{f"system {name}": ({name: "please", "question": Q, "answer": A}, [["system", "please"], ["user", Q], ["assistant", A]])
       for name in names.SYSTEMS},
    **{f"history {name}": ({"instrucao": Q, "saida": A, name: [["hi", "oh"]]},
                           [["user", "hi"], ["assistant", "oh"], ["user", Q], ["assistant", A]]) for name in names.HISTORIES},
}  # fmt: skip
LABELLED: dict[str, tuple[dict[str, Any], str]] = {
    **{f"text {name}": ({name: Q, "category": A}, Q) for name in (*names.TEXTS, *names.TITLES)},
    **{f"label {name}": ({"text": Q, name: A}, Q) for name in names.LABELS},
    **{f"body {name}": ({"title": "news", name: Q, "label": A}, f"news\n{Q}") for name in names.BODIES},
}
ACCENTS = {"sao": "são", "cao": "ção", "ario": "ário", "saida": "saída", "historico": "histórico", "dialogo": "diálogo",
           "titulo": "título", "rotulo": "rótulo", "conteudo": "conteúdo"}  # fmt: skip


def filled(value: Any, number: int, answers: int = ROWS) -> Any:
    """Return a value with a question and an answer of its own in their places, which are told apart by numbers."""
    if isinstance(value, str):
        return value.replace(Q, f"where is parcel {number}").replace(A, f"late by {number % answers}")
    if isinstance(value, dict):
        return {name: filled(part, number, answers) for name, part in value.items()}
    return [filled(part, number, answers) for part in value] if isinstance(value, list) else value


def spelled(row: dict[str, Any]) -> dict[str, Any]:
    """Spell a row's columns as a spreadsheet may: in capitals, with accents, with a blank behind."""
    made = {}
    for name, value in row.items():
        end = next((end for end in ACCENTS if name.endswith(end)), "")
        made[f"{name.removesuffix(end)}{ACCENTS.get(end, '')}".title() + " "] = value
    assert [plain_name(name) for name in made] == list(row)
    return made


def write(path: Path, row: dict[str, Any], answers: int = ROWS) -> Path:
    rows = [filled(row, number, answers) for number in range(ROWS)]
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows), encoding="utf-8")
    return path


def heard(path: Path) -> list[list[list[str]]]:
    """Return the dialogues that `afina data` reads."""
    rows = list(read_interactions(SourceFile(path)))
    assert not any(row.problem for row in rows), rows[0].problem
    return [[[each["role"], each["content"]] for each in row.messages] for row in rows]


def study(path: Path, task: str) -> list[tuple[str, str | None]]:
    """Return the texts that a study reads."""
    data = load_text_dataset(DatasetSpec(path=str(path)), task=task)
    parts = (data.train, data.test)
    return [pair for rows in parts for pair in zip(rows.text, rows.text_pair or [None] * len(rows), strict=True)]


@pytest.mark.parametrize("case", ANSWERED)
def test_a_question_and_its_answer_are_found_by_the_same_names_everywhere(case: str, tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", spelled(ANSWERED[case]))
    talks = heard(path)
    assert talks == [filled([["user", Q], ["assistant", A]], number) for number in range(ROWS)]
    assert sorted(text for text, _ in study(path, "chat")) == sorted(map(json.dumps, talks))
    assert sorted(study(path, "seq2seq")) == sorted((talk[0][1], talk[1][1]) for talk in talks)


@pytest.mark.parametrize("case", TALKS)
def test_dialogues_are_found_by_the_same_names_everywhere(case: str, tmp_path: Path) -> None:
    row, wanted = TALKS[case]
    path = write(tmp_path / "data.jsonl", spelled(row))
    assert heard(path) == [filled(wanted, number) for number in range(ROWS)]
    assert sorted(text for text, _ in study(path, "chat")) == sorted(map(json.dumps, heard(path)))


@pytest.mark.parametrize("case", LABELLED)
def test_texts_and_labels_are_found_by_the_same_names_everywhere(case: str, tmp_path: Path) -> None:
    row, wanted = LABELLED[case]
    path = write(tmp_path / "data.jsonl", spelled(row), answers=2)
    rows = list(read_interactions(SourceFile(path)))
    assert [each.text for each in rows] == [filled(wanted, number) for number in range(ROWS)]
    assert sorted(text for text, _ in study(path, "classification")) == sorted(each.text or "" for each in rows)
    assert inspect_file(path).labels == {"late by 0": 5, "late by 1": 5}


@pytest.mark.parametrize(("first", "second"), names.TEXT_PAIRS)
def test_two_texts_are_read_together_everywhere(first: str, second: str, tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", {first: Q, second: "a film", "label": A, "id": "x"}, answers=2)
    texts = [f"{text}\n{pair}" for text, pair in study(path, "classification")]
    assert sorted(row.text or "" for row in read_interactions(SourceFile(path))) == sorted(texts)


@pytest.mark.parametrize("conversation", names.CONVERSATION_IDS)
def test_messages_of_one_conversation_are_found_by_the_same_names(conversation: str, tmp_path: Path) -> None:
    place = names.CONVERSATION_IDS.index(conversation)
    role, said, turn = (own[place % len(own)] for own in (names.ROLE_KEYS, names.SAID_KEYS, names.TURNS))
    path = tmp_path / "data.jsonl"
    turns = [(0, "user", "hi"), (2, "user", "now"), (1, "assistant", "hello"), (3, "assistant", "late")]
    rows = [{conversation.upper(): n, role: who, said: what, turn: at} for n in range(ROWS) for at, who, what in turns]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = [["user", "hi"], ["assistant", "hello"], ["user", "now"], ["assistant", "late"]]
    assert heard(path) == [wanted] * ROWS
    assert [json.loads(text) for text, _ in study(path, "chat")] == [wanted] * ROWS


def test_a_text_with_its_author_is_no_message(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", {"autor": "Maria", "texto": Q, "nota": A}, answers=2)
    assert [row.text for row in read_interactions(SourceFile(path))] == [filled(Q, number) for number in range(ROWS)]


def test_a_text_with_its_label_or_headline_is_no_question_with_its_answer(tmp_path: Path) -> None:
    """`target` and `summary` may be either: labels come again, a transcript speaks for itself, a rating is of one text."""
    for row, answers in (({"text": Q, "target": A}, 2), ({"Summary": A, "Text": Q, "Score": "5"}, ROWS)):
        path = write(tmp_path / "data.jsonl", row, answers)
        assert [row.text for row in read_interactions(SourceFile(path))] == [
            filled(Q, number) for number in range(ROWS)
        ]
    path = write(tmp_path / "data.jsonl", {"text": TRANSCRIPT, "target": A})
    assert heard(path) == [filled([["user", Q], ["assistant", A]], number) for number in range(ROWS)]


def test_what_is_read_beside_a_question_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", {"question": Q, "context": "red", "answer": A})
    source = SourceFile(path)
    assert next(read_interactions(SourceFile(path))).messages[0]["content"] == filled(f"{Q}\n\nred", 0)
    assert len(list(read_interactions(source))) == ROWS
    assert source.seen["questions with what stands in 'context' under them"] == ROWS
    data = load_text_dataset(DatasetSpec(path=str(path)), task="seq2seq")
    assert "questions with what stands in 'context' under them: 10" in data.notes
    data = load_text_dataset(DatasetSpec(path=str(path)), task="language")
    assert "texts of 'question' alone, and not 'answer', which task: chat or seq2seq would learn: 10" in data.notes


def test_more_than_a_question_and_its_answer_is_refused_where_one_is_learned(tmp_path: Path) -> None:
    four = [*SPOKEN, *SPOKEN]
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "find", "arguments": {}}}]}
    for messages, told in ((four, "it is a conversation of 4 messages"), ([SPOKEN[0], call], "it calls tools")):
        path = write(tmp_path / "data.jsonl", {"messages": messages})
        with pytest.raises(UsageError, match=rf"row 1: {told}.*write task: chat; likewise row 2"):
            study(path, "seq2seq")
    path = write(tmp_path / "data.jsonl", {"messages": SPOKEN})
    with pytest.raises(UsageError, match=r"holds conversations \(OpenAI messages\), not texts; .* write task: chat\."):
        study(path, "language")


@pytest.mark.parametrize("words", names.WORDS)
@pytest.mark.parametrize("tags", names.TAGS)
def test_words_and_tags_are_found_by_their_names(words: str, tags: str, tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", spelled({words: ["a", "film"], tags: ["O", "B-X"]}))
    data = load_text_dataset(DatasetSpec(path=str(path)))
    assert (data.task, data.train.words) == ("tagging", [["a", "film"]] * len(data.train))


def test_no_reader_keeps_names_of_its_own() -> None:
    """A list of column names beside the vocabulary would be read by one command and not by the other."""
    tuples = [own for each in names.__all__ if isinstance(own := getattr(names, each), tuple)]
    known = {name for own in tuples for each in own for name in ([each] if isinstance(each, str) else each)}
    known -= {"system", "user", "assistant"}
    rooms = [Path(afina.__file__).parent / room for room in ("data", "tasks", "audit", "evaluation")]
    beside = set()
    for path in (path for room in rooms for path in room.rglob("*.py") if path.name != "names.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple):
                texts = {
                    each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
                beside |= {(path.name, *sorted(texts))} if len(known & texts) > 2 else set()
    ours = {
        ("preset_columns.py", "target", "text", "text_pair"), ("frames.py", "label", "text", "text_pair"),
        ("choices.py", "answers", "choices", "prompt"),
        ("bbq.py", "answer", "category", "choices", "condition", "context", "groups", "polarity", "question", "stereotyped"),
    }  # fmt: skip
    assert beside == ours, "these are keys of a spec, and columns that are made here"

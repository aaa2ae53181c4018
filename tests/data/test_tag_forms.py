"""Tagged words and text files as people have them, and chats as WhatsApp exports them."""

# ruff: noqa: E501 (tables of inputs)
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from afina.corpus.clean import clean
from afina.corpus.convert import convert
from afina.corpus.reading import Reading
from afina.corpus.rules import CleanSettings
from afina.data.dialogues.speakers import Speakers
from afina.data.files.literals import parsed_text
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.measure.entities import count_entities
from afina.tasks.reading import load_text_dataset

WORDS, TAGS = ["Ana", "mora", "em", "Porto", "Alegre", "."], ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"]
BIOES = ["S-PER", "O", "O", "B-LOC", "E-LOC", "O"]
PAIRS = list(zip(WORDS, TAGS, strict=True))


def load(path: Path, task: str = "auto", **spec: Any) -> Any:
    return load_text_dataset(DatasetSpec(path=str(path), **spec), task=task)


def conll(columns: str) -> str:
    sentence = "".join(columns.format(word=word, tag=tag) + "\n" for word, tag in PAIRS)
    return "-DOCSTART- -X- O O\n\n" + "\n".join([sentence] * 6)


def rows(*values: dict[str, Any]) -> str:
    return "\n".join(json.dumps(value) for _ in range(6) for value in values)


def table(header: str, line: str) -> str:
    return header + "\n" + (line + "\n") * 6


def kaggle() -> str:
    lines = [
        f"{f'Sentence: {n}' if not i else ''},{word},NN,{tag}" for n in range(6) for i, (word, tag) in enumerate(PAIRS)
    ]
    return "Sentence #,Word,POS,Tag\n" + "\n".join(lines)


TEXT = " ".join(WORDS)
SPANS = [[0, 3, "PER"], [12, 24, "LOC"]]
FORMS: dict[str, tuple[str, str, list[str], str]] = {
    "conll of 4 columns": ("a.txt", conll("{word} NN X {tag}"), TAGS, "words and tags are the first and last of 4 columns"),
    "conll of 2 columns": ("a.conll", conll("{word}\t{tag}"), TAGS, "words and tags are the first and last of 2 columns"),
    "a word a row": ("a.csv", kaggle(), TAGS, "36 rows of one word each are 6 sentences by column 'Sentence #'"),
    "doccano": ("a.jsonl", rows({"id": 1, "text": TEXT, "label": SPANS}), TAGS, "spans in column 'label' are tags of words now"),
    "spans with spaces": ("a.jsonl", rows({"text": TEXT, "entities": [{"start": 0, "end": 4, "label": "PER"}, {"start": 12, "end": 24, "label": "LOC"}]}), TAGS, "spans"),
    "bilou": ("a.jsonl", rows({"tokens": WORDS, "ner_tags": ["U-PER", "O", "O", "B-LOC", "L-LOC", "O"]}), BIOES, "tags are BILOU's, read as BIOES"),
    "an underscore": ("a.jsonl", rows({"tokens": WORDS, "ner_tags": [tag.replace("-", "_") for tag in TAGS]}), TAGS, "tags such as B_X are read as B-X"),
    "python's lists": ("a.csv", table("tokens,ner_tags", f'"{WORDS}","{TAGS}"'), TAGS, "the lists in columns 'tokens' and 'ner_tags' are written as text"),
    "numpy's lists": ("a.csv", table("tokens,ner_tags", f'"{str(WORDS).replace(",", "")}","{str(TAGS).replace(",", "")}"'), TAGS, "the lists"),
    "spaces between": ("a.csv", table("tokens,tags", f"{TEXT},{' '.join(TAGS)}"), TAGS, "words and tags in columns 'tokens' and 'tags' have spaces between them"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_words_and_tags_in_every_form(form: str, tmp_path: Path) -> None:
    name, content, wanted, note = FORMS[form]
    (tmp_path / name).write_text(content)
    data = load(tmp_path / name, "tagging")
    assert data.train.words == [WORDS] * len(data.train)
    assert len(data.train) + len(data.test) == 6
    assert all([data.label_names[tag] for tag in row] == wanted for row in data.train.label)
    assert any(told.startswith(note) for told in data.notes), data.notes
    if not form.startswith("spaces"):
        assert load(tmp_path / name).task == "tagging"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", conll("{word} NN {tag}").replace("em NN O", "em O", 1), "a.txt, line 5: 2 columns where the lines before have 3 ('em O')."),
        ("a.jsonl", rows({"text": TEXT, "label": [[0, 2, "PER"]]}), "row 1: the span 0 to 2 ('An', PER) cuts the word 'Ana'; spans begin and end with words."),
        ("a.jsonl", rows({"text": TEXT, "label": [[0, 3, "PER"], [0, 8, "LOC"]]}), "('Ana mora', LOC) overlaps another; a word has one tag."),
        ("a.jsonl", rows({"text": TEXT, "label": [[0, 99, "PER"]]}), "the span 0 to 99 (PER) is none in a text of 26 characters."),
        ("a.csv", kaggle().replace("Sentence #", "Chapter"), "has a word a row (column 'Word') and no column that says which words are one sentence; name it sentence_id"),
        ("a.csv", table("tokens,ner_tags", '"[\'Ana\' \'x\', \'y\']","[\'O\' \'O\', \'O\']"'), "row 1: column 'tokens' holds \"['Ana' 'x', 'y']\", no list that can be read; write lists as JSON does."),
    ],
)  # fmt: skip
def test_what_is_no_tagged_text_is_one_sentence(name: str, content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as refused:
        load(tmp_path / name, "tagging", label=None)
    assert told in str(refused.value)


def test_entities_of_the_old_scheme_are_those_of_the_new() -> None:
    """IOB1 writes B- only between neighbours of a type: an I- that nothing begins, begins one."""
    old, new = ["I-PER", "B-PER", "O", "I-LOC", "I-LOC"], ["B-PER", "B-PER", "O", "B-LOC", "I-LOC"]
    assert count_entities(old, new) == (3, 3, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[1, "a"]', ([1, "a"], False)), ("['a', 'it\\'s']", (["a", "it's"], True)), ("['a' 'b\\n' \"c d\"]", (["a", "b\n", "c d"], True)),
        ("[0 1\n 2]", ([0, 1, 2], True)), ("{'a': [1]}", ({"a": [1]}, True)), ("('a', 'b')", (["a", "b"], True)),
        ("['a' 'b', 'c']", (None, False)), ("__import__('os')", (None, False)), ("[f('a')]", (None, False)), ("[1", (None, False)),
        ("[" * 100_000, (None, False)), ("text", (None, False)), ("['a', 'b' ...]", (None, False)),
    ],
)  # fmt: skip
def test_literals_are_read_and_nothing_is_run(text: str, value: tuple[Any, bool]) -> None:
    assert parsed_text(text) == value


# -- text files ------------------------------------------------------------------------------------------------------

LINES = [f"Once there was box {n}." for n in range(10)]


@pytest.mark.parametrize(
    ("content", "wanted", "note"),
    [
        ("\n".join(LINES), LINES, "10 lines are a text each"),
        ("\n\n".join("\n".join(LINES[n : n + 2]) for n in range(0, 10, 2)), ["\n".join(LINES[n : n + 2]) for n in range(0, 10, 2)],
         "5 paragraphs between blank lines are a text each"),
    ],
)  # fmt: skip
def test_text_files_are_corpora(content: str, wanted: list[str], note: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content + "\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(content.encode()))
    for name in ("a.txt", "b.txt.gz"):
        data = load(tmp_path / name, "language")
        assert sorted([*data.train.text, *data.test.text]) == wanted
        assert note in data.notes


@pytest.mark.parametrize(
    ("line", "form"),
    [("{text}@{label}", "text@label"), ("__label__{label} {text}", "__label__X text (fastText)"), ("{text};{label}", "text;label"),
     ("{text}\t{label}", "text, tab, label"), ("{label}\t{text}", "label, tab, text")],
)  # fmt: skip
def test_lines_of_a_text_and_its_label(line: str, form: str, tmp_path: Path) -> None:
    lines = [line.format(text=f"at café, me@home {n} .", label=("pos", "neg")[n % 2]) for n in range(20)]
    (tmp_path / "a.txt").write_bytes("\n".join(lines).encode("cp1252"))
    data = load(tmp_path / "a.txt")
    assert data.label_names == ("neg", "pos")
    assert data.train.text[0].startswith("at café, me@home")
    assert all(
        int(text.split()[-2]) % 2 == 1 - label for text, label in zip(data.train.text, data.train.label, strict=True)
    )
    assert f"the lines are read as {form}" in data.notes


def test_a_text_file_that_could_be_anything_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(LINES))
    with pytest.raises(
        UsageError, match=r"does not say what is to be learned: set task: language \(each line or paragraph"
    ):
        load(tmp_path / "a.txt")


# -- WhatsApp --------------------------------------------------------------------------------------------------------

ANDROID = """12/03/2024 14:01 - As mensagens e as chamadas são protegidas com a criptografia de ponta a ponta.
12/03/2024 14:02 - Loja Sol: Boa tarde!
12/03/2024 14:03 - Rita: Têm o azul?
É para hoje: urgente.
12/03/2024 14:04 - Loja Sol: Temos.
12/03/2024 14:04 - Loja Sol: Custa 10 reais.
12/03/2024 14:05 - Rita: <Mídia oculta>
12/03/2024 14:06 - Loja Sol: Obrigado!
13/03/2024 09:00 - Rita: E o verde?
13/03/2024 09:01 - Loja Sol: Também. <Mensagem editada>
"""
IPHONE = """[12/03/24, 14:03:05] Rita: Têm o azul?
[12/03/24, 14:04:45] Loja Sol: \u200eTemos.
\u200e[12/03/24, 14:05:00] Rita: \u200eimagem ocultada
[12/03/24, 14:06:45] Loja Sol: Custa 10 reais.
"""
AMERICAN = """3/12/24, 2:03\u202fPM - Rita: Blue?
3/12/24, 2:04\u202fPM - Loja Sol: Yes.
3/13/24, 9:00\u202fAM - Rita: Green?
3/13/24, 9:01\u202fAM - Loja Sol: Yes: 10.
"""
TALKS = {
    "android": (ANDROID, [
        [("user", "Têm o azul?\nÉ para hoje: urgente."), ("assistant", "Temos.\nCusta 10 reais.\nObrigado!")],
        [("user", "E o verde?"), ("assistant", "Também.")]]),
    "iphone": (IPHONE, [[("user", "Têm o azul?"), ("assistant", "Temos.\nCusta 10 reais.")]]),
    "american": (AMERICAN, [[("user", "Blue?"), ("assistant", "Yes.")], [("user", "Green?"), ("assistant", "Yes: 10.")]]),
}  # fmt: skip


@pytest.mark.parametrize("kind", TALKS)
def test_whatsapps_chats_are_conversations(kind: str, tmp_path: Path) -> None:
    content, wanted = TALKS[kind]
    path = tmp_path / "chat.txt"
    path.write_text(content, encoding="utf-8")
    how = Reading(speakers=Speakers(assistant=("Loja Sol",)))
    report = clean(path, tmp_path / "a.jsonl", CleanSettings(near_duplicates=None), how)
    kept = [json.loads(line)["messages"] for line in report.out.read_text(encoding="utf-8").splitlines()]
    assert [[(each["role"], each["content"]) for each in talk] for talk in kept] == wanted
    assert report.seen.get("pictures, sound and deleted messages, left out", 0) == (0 if kind == "american" else 1)


def test_a_study_asks_who_answers_and_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    lines = [f"{day:02d}/03/2024 14:0{minute} - {name}: {said} {day}" for day in range(1, 9)
             for minute, (name, said) in enumerate([("Rita", "Têm o"), ("Loja Sol", "Temos o")])]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        load(path, "chat")
    assert str(refused.value) == (
        f"{path}, line 1: it is not known who answers; the chat is written by 'Rita' (8), 'Loja Sol' (8): say who answers "
        "(assistant: NAME among the keys of a study's dataset, --assistant NAME of afina data)."
    )
    with pytest.raises(UsageError, match="nobody is called 'Loja'; the chat is written by"):
        load(path, "chat", assistant="Loja")
    with pytest.raises(UsageError, match=r"none of its 8 rows can be read \(it is not known who answers"):
        convert(path, tmp_path / "b.jsonl")  # and not as loose texts
    for given in ({"assistant": "Loja Sol"}, {"assistant": ["loja sol"], "user": "Rita"}, {"user": "Rita"}):
        data = load(path, "chat", **given)
        assert json.loads(data.train.text[0]) == [["user", "Têm o 1"], ["assistant", "Temos o 1"]]
        assert len(data.train) + len(data.test) == 8


# -- columns that mean nothing ---------------------------------------------------------------------------------------


def test_columns_of_objects_are_left_alone(tmp_path: Path) -> None:
    """`{name: ..., date: ...}` is no label, no text and no conversation, whatever its fields are called."""
    from datasets import Dataset

    rows = [{"author": {"name": "a", "names": "x", "date": n}, "conversation": {"id": n}, "text": f"a text {n}", "label": n % 2}
            for n in range(20)]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        data = load(tmp_path / name)
        assert (data.task, data.label_names, data.train.text[0][:6]) == ("classification", ("0", "1"), "a text")
    objects = [{"who": {"name": "a", "date": n}, "conversation": {"id": n}, "note": n} for n in range(6)]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, objects)))
    with pytest.raises(UsageError, match="has no conversations: a column messages"):
        load(tmp_path / "b.jsonl", "chat")

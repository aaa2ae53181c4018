"""Reading, inspecting, cleaning and converting dialogues: every form, whatever is wrong with it, nothing lost."""

import json
import random
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from afina.corpus.clean import clean
from afina.corpus.convert import convert
from afina.corpus.inspect import inspect_file
from afina.corpus.inspect_page import inspection_page
from afina.corpus.languages import language_of
from afina.corpus.lines import SourceFile
from afina.corpus.near_duplicates import PERMUTATIONS, first_of_each, signature, similar
from afina.corpus.personal import find_personal, is_cnpj, is_cpf, mask_personal
from afina.corpus.reading import Reading, read_interactions
from afina.corpus.rules import CleanSettings, repetition
from afina.data.dialogues.conversations import Columns
from afina.data.dialogues.speakers import Speakers
from afina.errors import UsageError
from afina.words.language import Words
from commands import afina, refused
from data_commands import rows_of, run

EXCHANGE = [
    {"role": "user", "content": "Do you sell kettles?"},
    {"role": "assistant", "content": "Yes, in three sizes."},
]


def write(path: Path, content: str | bytes | list[Any]) -> Path:
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def dialogues(path: Path, **options: Any) -> list[list[tuple[str, str]]]:
    rows = read_interactions(SourceFile(path), Reading(plain=False, **options))
    return [[(m["role"], m["content"]) for m in each] for row in rows for each in (row.messages, *row.others)]


# -- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"messages": EXCHANGE},
        {"messages": [one | {"content": [{"type": "text", "text": one["content"]}]} for one in EXCHANGE]},
        {
            "conversations": [
                {"from": "human", "value": EXCHANGE[0]["content"]},
                {"from": "gpt", "value": EXCHANGE[1]["content"]},
            ]
        },
        {"instruction": "Do you sell kettles?", "input": "", "output": "Yes, in three sizes."},
        {"question": "Do you sell kettles?", "answer": "Yes, in three sizes."},
        {"Pergunta": "Do you sell kettles?", "Resposta": "Yes, in three sizes."},
        {"text": "User: Do you sell kettles?\nAssistant: Yes, in three sizes."},
        {"text": "Cliente: Do you sell kettles? Atendente: Yes, in three sizes."},
        {"text": "### Comment: Do you sell kettles? ### REPLY: Yes, in three sizes. ### END."},
        {
            "text": "<|im_start|>user\nDo you sell kettles?<|im_end|>\n<|im_start|>assistant\nYes, in three sizes.<|im_end|>"
        },
        {"text": "<s>[INST] Do you sell kettles? [/INST] Yes, in three sizes.</s>"},
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_every_form_of_a_row_is_the_same_dialogue(tmp_path: Path, row: dict[str, Any], suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    if suffix == ".parquet":
        parquet.write_table(arrow.Table.from_pylist([row, row]), path)
    else:
        write(path, json.dumps([row, row], indent=1) if suffix == ".json" else [row, row])
    expected = [(message["role"], message["content"]) for message in EXCHANGE]
    assert dialogues(path) == [expected, expected]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])  # a parquet column holds values of one type
def test_text_in_parts_may_stand_beside_plain_text(tmp_path: Path, suffix: str) -> None:
    asked = EXCHANGE[0] | {"content": [{"type": "text", "text": EXCHANGE[0]["content"]}]}
    row = {"messages": [asked, EXCHANGE[1]]}
    path = write(tmp_path / f"rows{suffix}", json.dumps([row], indent=1) if suffix == ".json" else [row])
    assert dialogues(path) == [[(message["role"], message["content"]) for message in EXCHANGE]]


def test_one_turn_a_row_is_put_together_and_in_order(tmp_path: Path) -> None:
    turns = ("7,2,Atendente,Sim", "7,1,Cliente,Abre hoje?", "8,1,Cliente,Oi", "8,2,Atendente,Ola")
    content = "\n".join(("conversation_id,turn,speaker,text", *turns, ""))
    path = write(tmp_path / "turns.csv", content)
    assert dialogues(path) == [[("user", "Abre hoje?"), ("assistant", "Sim")], [("user", "Oi"), ("assistant", "Ola")]]
    apart = write(tmp_path / "apart.csv", content + "7,3,Cliente,E amanha?\n")
    assert "stand apart" in list(read_interactions(SourceFile(apart)))[-1].problem


def test_transcripts_with_dates_bold_names_and_answers_of_several_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path / "chat.txt",
        "Conversation 1\n[10:32] Usuário: Quanto custa?\n"
        "12/03/2024 10:33 - **Atendente:** Depende:\n\n- chaleira: 90\nModel: X200\n"
        "\nUser: And now?\nAssistant: Now too.\n---\nUSER 2: Bye\nBOT: Bye!\n",
    )
    assert dialogues(path) == [
        [("user", "Quanto custa?"), ("assistant", "Depende:\n\n- chaleira: 90\nModel: X200")],
        [("user", "And now?"), ("assistant", "Now too.")],
        [("user", "Bye"), ("assistant", "Bye!")],
    ]


def test_own_names_and_separators(tmp_path: Path) -> None:
    path = write(
        tmp_path / "chat.txt", "Maria: oi\nJoão: olá\n\nMaria: e então?\nJoão: sim\n@@\nMaria: fim\nJoão: fim\n"
    )
    row = next(iter(read_interactions(SourceFile(path), Reading(plain=False))))
    assert "Maria and João" in row.problem
    found = dialogues(path, speakers=Speakers(("maria",), ("João",), "@@"))
    assert [len(each) for each in found] == [4, 2]


@given(st.lists(st.tuples(st.text("bcd ?:\n", min_size=1), st.text("xyz .\n", min_size=1)), min_size=1, max_size=5))
def test_transcripts_keep_what_is_said(turns: list[tuple[str, str]]) -> None:
    turns = [("q" + ask, "r" + reply) for ask, reply in turns]
    text = "\n".join(f"User: {ask}\nAssistant: {reply}" for ask, reply in turns)
    found = [message for dialogue in Speakers(separator="====").dialogues(text) for message in dialogue]
    said = [part for turn in turns for part in turn]
    assert ["".join(m["content"].split()) for m in found] == ["".join(part.split()) for part in said]


# -- bad input -------------------------------------------------------------------------------------------------------


def test_mixed_encodings_are_read_and_counted(tmp_path: Path) -> None:
    line = "User: É grátis?\nAssistant: Não, são três.\n\n"
    path = write(tmp_path / "mixed.txt", b"\xef\xbb\xbf" + line.encode() + line.encode("cp1252") + line.encode())
    source = SourceFile(path)
    found = list(read_interactions(source, Reading(plain=False)))
    assert [row.all_text for row in found] == ["É grátis?\nNão, são três."] * 3
    assert list(source.seen.values()) == [2]
    for encoding in ("utf-16", "utf-32"):
        assert dialogues(write(tmp_path / "wide.txt", line.encode(encoding)))[0][0] == ("user", "É grátis?")
    semicolons = write(tmp_path / "excel.csv", "pergunta;resposta\r\nÉ grátis?;Não\r\n".encode("latin-1"))
    assert dialogues(semicolons) == [[("user", "É grátis?"), ("assistant", "Não")]]


def test_twice_encoded_text_is_mended_and_other_text_left(tmp_path: Path) -> None:
    good = "Não há ação em São Luís — “certo”?"
    path = write(
        tmp_path / "a.jsonl",
        [
            {"question": good.encode().decode("cp1252", "replace"), "answer": "Ã is a letter"},
            {"question": good, "answer": "x y"},
        ],
    )
    clean(path, tmp_path / "b.jsonl", CleanSettings(near_duplicates=None))
    first, second = rows_of(tmp_path / "b.jsonl")
    assert second["messages"][0]["content"] == good
    assert first["messages"][1]["content"] == "Ã is a letter"
    mojibake = "A instalação é grátis".encode().decode("cp1252")
    write(path, [{"question": mojibake, "answer": "Sim"}])
    clean(path, tmp_path / "c.jsonl")
    assert rows_of(tmp_path / "c.jsonl")[0]["messages"][0]["content"] == "A instalação é grátis"


@pytest.mark.covered("size", [256 << 20], [256 << 20, 2 << 30])
def test_a_line_that_is_too_long_for_memory_is_passed_over(size: int, tmp_path: Path) -> None:
    """A sparse file: the line is really read to its end, in pieces."""
    path = write(tmp_path / "huge.jsonl", [{"messages": EXCHANGE}])
    with path.open("r+b") as file:
        file.seek(0, 2)
        start = file.tell()
        file.truncate(start + size)
        file.seek(0, 2)
        file.write(b"\n" + json.dumps({"messages": EXCHANGE}).encode() + b"\n")
    tracemalloc.start()
    found = list(read_interactions(SourceFile(path), Reading(plain=False)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [bool(row.problem) for row in found] == [False, True, False]
    assert found[1].place == "line 2"
    assert f"{size + 1:,} bytes" in found[1].problem
    assert peak < 100 << 20


def test_bad_rows_are_rejects_and_the_others_go_on(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        b'{"messages": [\n\n[1, 2]\n{"messages": [{"role": "oracle", "content": "x"}]}\n{"a": 1}\n{"messages": []}\n'
        b'{"question": "a \\ud800 b", "answer": "c"}\n',
    )
    report = convert(path, tmp_path / "b.parquet")
    assert (report.written, report.rejected) == (1, 6)
    reasons = [row["reason"] for row in rows_of(report.rejects or path)]
    for part in (
        "not valid JSON",
        "empty line",
        "not a JSON object",
        "unknown role 'oracle'",
        "its columns: a",
        "no messages",
    ):
        assert sum(part in reason for reason in reasons) == 1, part
    csv = write(tmp_path / "a.csv", "question,answer\na,b,c\nd,e\n")
    assert convert(csv, tmp_path / "c.jsonl").rejected == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "just words\nand more\n", "none of its"),
        ("a.txt", "", "is empty"),
        ("a.json", '[{"question": "a", "answer": "b"}, {"question', "item 2"),
        ("a.csv", 'question,answer\n"a,b\nc,d\n', "lines 2 to"),
        ("a.csv", "a,a\n1,2\n", "two columns of the same name"),
        ("a.parquet", "PAR1 no", "no readable parquet"),
        ("a.pkl", "x", "pickled"),
    ],
)
def test_a_file_that_cannot_be_cleaned_gives_one_sentence_and_no_result(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(UsageError, match=said):
        clean(path, tmp_path / "out.parquet")
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_settings_and_columns_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "ask,reply\na,b\n")
    assert dialogues(path, columns=Columns(question="ask", answer="reply")) == [[("user", "a"), ("assistant", "b")]]
    with pytest.raises(UsageError, match="did you mean 'reply'"):
        dialogues(path, columns=Columns(question="ask", answer="repli"))
    with pytest.raises(UsageError, match="split, drop, keep"):
        CleanSettings(several="divide")
    for out, said in (("a.csv", "parquet or"), ("there.jsonl", "exists already")):
        (tmp_path / "there.jsonl").touch()
        with pytest.raises(UsageError, match=said):
            convert(path, tmp_path / out)


def test_an_interrupted_cleaning_leaves_no_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"messages": EXCHANGE}] * 500)

    def interrupt(rows: int) -> None:
        raise KeyboardInterrupt

    for act in (clean, convert):
        with pytest.raises(KeyboardInterrupt):
            act(path, tmp_path / "b.parquet", tick=interrupt)  # type: ignore[operator]
        assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


# -- cleaning --------------------------------------------------------------------------------------------------------

LOOP = "I am sorry to hear that. " * 12


def test_every_rule_removes_what_it_says_and_keeps_it_with_the_reason(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.txt",
        "User: Where is my parcel 1?\nAssistant: On its way to you, it left our depot in Goias this morning.\n\n"
        "User: Where is my parcel 1?\nAssistant: On its way to you, it left our  depot in Goias this morning!\n\n"
        "User: Where is my parcel 1?\nAssistant: On its way to you, it left our depot in Goias this evening.\n\n"
        "User: \nAssistant: Hello there\n\nUser: Anybody?\nAssistant:\n\n"
        f"User: Talk\nAssistant: {LOOP}\n\n"
        "Assistant: Welcome!\nUser: Is it big?\nUser: The kettle?\nAssistant: Two litres.\nUser: Hello, do you ship?\n"
        "Assistant: We do, write to ana@example.com.\nUser: Good\n",
    )
    report = clean(path, tmp_path / "b.parquet", CleanSettings(personal="mask"))
    removed = {rule.name: rule.removed for rule in report.rules if rule.removed}
    assert removed == {
        "order": 2, "no question": 1, "no answer": 1, "repetition": 1, "duplicate": 1, "near-duplicate": 1,
    }  # fmt: skip
    kept = rows_of(report.out)
    assert [[m["content"] for m in row["messages"]] for row in kept][1:] == [
        ["Is it big?\nThe kettle?", "Two litres."],
        ["Hello, do you ship?", "We do, write to [EMAIL]."],
    ]
    rejects = rows_of(report.rejects or path)
    assert report.read + sum(rule.added for rule in report.rules) == report.kept + len(rejects)
    assert all(row["reason"] for row in rejects)
    everything = " ".join(m["content"] for row in (*kept, *rejects) for m in row["messages"])
    for part in ("Welcome!", "Anybody?", "Good", "Hello there", "evening", "depot in Goias this morning!"):
        assert part in everything


@pytest.mark.parametrize(("several", "kept"), [("split", 2), ("drop", 0), ("keep", 1)])
def test_rows_of_several_dialogues(tmp_path: Path, several: str, kept: int) -> None:
    both = "User: Is it big?\nAssistant: Very.\n---\nUser: Is it red?\nAssistant: Never."
    path = write(tmp_path / "a.jsonl", [{"text": both}, {"messages": EXCHANGE}])
    report = clean(path, tmp_path / "b.jsonl", CleanSettings(several=several))
    assert report.kept == kept + 1
    if several == "keep":
        assert len(rows_of(report.out)[0]["messages"]) == 4


def test_pairs_limits_and_personal_rows(tmp_path: Path) -> None:
    talk = [
        *EXCHANGE,
        {"role": "user", "content": "And red ones?"},
        {"role": "assistant", "content": "Call (62) 99876-5432"},
    ]
    path = write(
        tmp_path / "a.jsonl", [{"messages": [{"role": "system", "content": "Be kind."}, *talk], "topic": "kettles"}]
    )
    report = clean(path, tmp_path / "b.jsonl", CleanSettings(pairs=True))
    roles = [[message["role"] for message in row["messages"]] for row in rows_of(report.out)]
    assert roles == [["system", "user", "assistant"]] * 2
    assert rows_of(report.out)[0]["extra"] == {"topic": "kettles"}
    dropped = clean(path, tmp_path / "c.jsonl", CleanSettings(pairs=True, personal="drop"))
    assert (dropped.kept, rows_of(dropped.rejects or path)[0]["reason"]) == (1, "personal data (1 phone)")
    called = [*talk[:1], {"role": "tool", "content": "3"}, *talk[2:]]
    lone = clean(write(tmp_path / "f.jsonl", [{"messages": called}]), tmp_path / "g.jsonl", CleanSettings(pairs=True))
    assert (lone.kept, rows_of(lone.rejects or path)[0]["reason"]) == (1, "no answer")
    short = clean(path, tmp_path / "d.jsonl", CleanSettings(pairs=True, min_words=4))
    assert short.kept == 1
    counted = clean(path, tmp_path / "e.jsonl", CleanSettings(pairs=True, max_tokens=45), tokens=len)
    assert (counted.kept, rows_of(counted.rejects or path)[0]["reason"]) == (1, "50 tokens, where 45 are the most")


def test_result_can_be_read_again_and_stays_the_same(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        [{"messages": EXCHANGE, "generated": True, "topic": "é"}, {"question": "a b", "answer": "c d"}],
    )
    first = convert(path, tmp_path / "b.parquet")
    assert first.generated == 1
    again = convert(first.out, tmp_path / "c.jsonl")
    last = clean(again.out, tmp_path / "d.parquet")
    wanted = [(row["messages"], row["generated"], row["extra"]) for row in rows_of(first.out)]
    assert [(row["messages"], row["generated"]) for row in rows_of(last.out)] == [each[:2] for each in wanted]
    assert json.loads(rows_of(last.out)[0]["extra"])["topic"] == "é"
    assert inspect_file(last.out).generated == 1


def test_plain_texts_keep_their_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "text,label\nThe kettle leaks.,complaint\nLovely lamp!,praise\nThe kettle leaks.,complaint\n",
    )
    report = convert(path, tmp_path / "b.parquet")
    assert [(row["text"], row["label"]) for row in rows_of(report.out)][1] == ("Lovely lamp!", "praise")
    with pytest.raises(UsageError, match="--plain"):
        clean(path, tmp_path / "c.parquet")
    assert clean(path, tmp_path / "c.parquet", how=Reading(plain=True)).kept == 2


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 12 MB is cleaned in a part of that."""
    draw = random.Random(0)
    words = [f"word{number}" for number in range(5_000)]
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        for _ in range(200):
            said = [" ".join(draw.choices(words, k=3_500)) for _ in range(2)]
            file.write(json.dumps({"question": said[0], "answer": said[1]}) + "\n")
    size = path.stat().st_size
    assert size > 10 << 20
    tracemalloc.start()
    clean(path, tmp_path / "out.jsonl", CleanSettings(max_words=None, near_duplicates=None, max_repetition=None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 2
    assert len(rows_of(tmp_path / "out.jsonl")) == 200


# -- near-duplicates, repetition -------------------------------------------------------------------------------------


def test_signatures_estimate_the_share_of_common_pieces() -> None:
    draw = np.random.default_rng(0)
    errors = []
    for _ in range(60):
        words = [f"w{number}" for number in draw.integers(0, 10_000, 80)]
        changed = list(words)
        for place in draw.choice(80, draw.integers(0, 30), replace=False):
            changed[place] = "other"
        one, two = " ".join(words), " ".join(changed)
        pieces = [{text[at : at + 5] for at in range(len(text) - 4)} for text in (one, two)]
        exact = len(pieces[0] & pieces[1]) / len(pieces[0] | pieces[1])
        errors.append(float(similar(signature(one), signature(two)[None])[0]) - exact)
    # The standard error of 128 draws is at most 0.044.
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.05


def test_bands_find_what_comparing_all_pairs_finds() -> None:
    draw = random.Random(1)
    texts = []
    for number in range(120):
        words = [f"t{number}x{place}" for place in range(60)]
        texts.append(" ".join(words))
        for _ in range(2):
            other = list(words)
            other[draw.randrange(60)] = "changed"
            texts.append(" ".join(other))
    signatures = np.stack([signature(text) for text in texts])
    first = first_of_each(signatures, 0.8)
    expected = []
    for row, own in enumerate(signatures):
        kept = [place for place in range(row) if expected[place] == place]
        alike = [place for place in kept if (signatures[place] == own).mean() >= 0.8]
        expected.append(alike[0] if alike else row)
    assert first.tolist() == expected
    assert signatures.shape == (360, PERMUTATIONS)
    assert 60 < len(set(expected)) <= 120


def test_near_duplicates_ignore_case_and_punctuation_only() -> None:
    def alike(one: str, two: str) -> float:
        return float(similar(signature(one), signature(two)[None])[0])

    assert alike("Where is my parcel?", "where IS my parcel!!") == 1
    assert alike("", "x") < 0.1
    assert alike("日本語のテキストです", "日本語のテキストです。") == 1
    assert alike("The kettle is red and large.", "We ship to all of Brazil within a week.") < 0.2


def test_repetition_tells_a_loop_from_prose() -> None:
    assert repetition(LOOP) > 0.85
    assert repetition("ha" * 200) > 0.85
    assert (
        repetition("It left our depot this morning and will reach you tomorrow, if the roads are as they should be.")
        == 0
    )
    assert repetition("no no no") == 0


# -- personal data and languages -------------------------------------------------------------------------------------


def _with_check_digits(digits: list[int], weights: list[range | list[int]]) -> list[int]:
    for weight in weights:
        rest = sum(a * b for a, b in zip(digits, weight, strict=True)) % 11
        digits = [*digits, 0 if rest < 2 else 11 - rest]
    return digits


@given(st.lists(st.integers(0, 9), min_size=9, max_size=9).filter(lambda digits: len(set(digits)) > 1))
def test_cpf_by_its_check_digits(first: list[int]) -> None:
    digits = _with_check_digits(first, [range(10, 1, -1), range(11, 1, -1)])
    text = "".join(map(str, digits))
    assert is_cpf(text)
    for place in (9, 10):
        wrong = [*digits]
        wrong[place] = (wrong[place] + 1) % 10
        assert not is_cpf("".join(map(str, wrong)))
    formatted = f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"
    assert mask_personal(f"CPF {formatted}, ou {text}.") == "CPF [CPF], ou [CPF]."


def test_cnpj_by_its_check_digits() -> None:
    assert is_cnpj("00.000.000/0001-91")
    assert not is_cnpj("00.000.000/0001-92")
    assert is_cnpj("12.ABC.345/01DE-35")  # the tax office's own example of one with letters
    assert not is_cnpj("12.ABC.345/01DF-35")
    assert find_personal("CNPJ 00.000.000/0001-91 e 12ABC34501DE35") == {"cnpj": 2}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to ana.souza+loja@mail.example.com.br.", {"email": 1}),
        ("call (62) 99876-5432 or +55 62 3521-1000", {"phone": 2}),
        ("call (415) 555-1234, +1 415-555-1234 or +44 20 7946 0958", {"phone": 3}),
        ("111.111.111-11 and 123.456.789-00 are no CPF", {}),
        ("order 12345678901, R$ 1.234,56 on 2024-03-12 at 10:30, 3.14159 2,000 rows, 192.168.100.100", {}),
        ("see @norte and a@b, version 10.20.30", {}),
        ("2+2=4, 1999-2004, 55-60 and 100 2000 3000", {}),
    ],
)
def test_personal_data_is_found_and_other_figures_are_not(text: str, found: dict[str, int]) -> None:
    assert dict(find_personal(text)) == found
    assert find_personal(mask_personal(text)) == {}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my parcel, and when will it be here?", "en"),
        ("Onde está o meu pedido? Ele não chegou até agora.", "pt"),
        ("¿Dónde está mi pedido? No ha llegado todavía.", "es"),
        ("Où est mon colis ? Il n'est pas encore arrivé chez nous.", "fr"),
        ("Dov'è il mio pacco? Non è ancora arrivato.", "it"),
        ("Wo ist mein Paket, und wann kommt es bei mir an?", "de"),
        ("荷物はどこですか", "ja"),
        ("我的包裹在哪里", "zh"),
        ("Где моя посылка?", "ru"),
        ("12345 !!!", "unknown"),
        ("kettle", "unknown"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language


def test_languages_of_real_sentences(shared: Path) -> None:
    for folder, column, language, least in (("stsb_pt", "sentence1", "pt", 0.9), ("alpaca", "output", "en", 0.97)):
        file = next(iter((shared / "data" / folder).glob("t*.parquet")))
        found = [language_of(text) for text in parquet.read_table(file)[column].to_pylist()[:800]]
        assert found.count(language) / len(found) > least
        wrong = len(found) - found.count(language) - found.count("unknown")
        assert wrong / len(found) < 0.015


# -- inspecting, and the commands ------------------------------------------------------------------------------------


def test_inspection_counts_what_is_there(tmp_path: Path) -> None:
    rows = [
        {"question": "Where is my parcel?", "answer": "On its way."},
        {"question": "where is my parcel", "answer": "On its way"},
        {"question": "", "answer": "Hello"},
        {"question": "Quem é você?", "answer": "Eu sou a Nina, escreva para nina@example.com", "generated": True},
    ]
    path = write(tmp_path / "a.jsonl", rows)
    found = inspect_file(path)
    assert (found.rows, found.dialogues, found.duplicates, found.near_duplicates, found.generated) == (4, 4, 1, 0, 1)
    assert (found.empty, found.personal, found.languages["pt"]) == ({"question": 1}, {"email": 1}, 1)
    assert found.lengths["question"].total == 4 + 4 + 0 + 3
    assert sum(found.lengths["row"].counts) == 4
    assert inspect_file(path, tokens=len, tokenizer="letters").lengths["answer"].longest == len(rows[3]["answer"])
    page = inspection_page(found, Words())
    assert "nina@example.com" in page
    assert "http" not in page
    html = write(tmp_path / "x.jsonl", [{"question": "<script>alert(1)</script> a@b.com", "answer": "x"}])
    assert "<script>" not in inspection_page(inspect_file(html), Words())


def test_labels_of_real_texts(shared: Path, tmp_path: Path) -> None:
    table = parquet.read_table(shared / "data" / "ag_news" / "test.parquet").slice(0, 1_500)
    parquet.write_table(table, tmp_path / "news.parquet")
    found = inspect_file(tmp_path / "news.parquet")
    assert found.labels == Counter(map(str, table["label"].to_pylist()))
    assert found.languages["en"] > 1_480


def test_commands_at_a_terminal(tmp_path: Path) -> None:
    for verb in ("inspect", "clean", "convert", "generate"):
        assert "Example" in run(verb, "--help")
    text = "Cliente: Meu CPF é 529.982.247-25\nAtendente: Obrigada!\n\nUser: Anybody?\n"
    path = write(tmp_path / "chat.txt", text)
    shown = run(
        "inspect", path, "--html", tmp_path / "page.html", "--json", tmp_path / "figures.json", "--tokenizer", "minilm"
    )
    assert "rows without answer: 1" in shown
    assert max(map(len, shown.splitlines())) <= 80 or str(tmp_path) in shown
    assert "tokens of minilm" in (tmp_path / "page.html").read_text()
    assert json.loads((tmp_path / "figures.json").read_text())["personal"] == {"cpf": 1}
    assert json.loads(run("inspect", path, "--format", "json"))["languages"]
    assert "1 of 2 rows kept" in run("clean", path, "--out", tmp_path / "b.parquet", "--personal", "mask")
    assert "[CPF]" in rows_of(tmp_path / "b.parquet")[0]["messages"][0]["content"]
    assert "2 rows written" in run("convert", path, "--out", tmp_path / "c.jsonl")
    plain = write(tmp_path / "plain.txt", "one\ntwo\n")
    refused(afina("data", "clean", plain, "--out", tmp_path / "d.parquet"), "no line says who speaks", "--user")

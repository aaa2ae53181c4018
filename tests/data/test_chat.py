"""Conversations: templates, which tokens are trained, the forms in which they are kept, and studies of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afina.backbone.load import load_tokenizer
from afina.data.templates.named import TEMPLATES, ChatTemplate, Message, load_template, make_template
from afina.data.tokens.preview import learned
from afina.data.tokens.sequences import conversations, source_and_target, whole_texts
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.reading import load_text_dataset
from families import tokenizer

TALK = [Message("user", "where is my parcel"), Message("assistant", "late"),
        Message("user", "please help"), Message("assistant", "refund the order")]  # fmt: skip
CASE = {"user": "### Comment: {content}\n", "assistant": "### REPLY: {content}\n### END.\n"}
JINJA = (
    "{% if messages[0].role == 'system' %}{{ '<sep> ' + messages[0].content + ' ' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<cls> ' + m.content + ' ' }}"
    "{% elif m.role == 'assistant' %}{{ 'a: ' + m.content | trim + ' ' + eos_token + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a: ' }}{% endif %}"
)
Speaker = Callable[[str], Path]


def with_jinja(source: str = JINJA) -> Any:
    own = tokenizer("llama")
    own.chat_template = source
    own.pad_token = "<pad>"
    return own


def said(tokens: Tokens, own: Any, row: int = 0) -> str:
    """Return what is trained of a row, as text."""
    assert tokens.targets is not None
    targets = tokens.targets[tokens.offsets[row] : tokens.offsets[row + 1]]
    return str(own.decode(targets[targets != IGNORED]))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


# -- templates -------------------------------------------------------------------------------------------------------


def every_template() -> list[Any]:
    return [pytest.param(lambda wanted=wanted: make_template(wanted, tokenizer("llama")), id=name)
            for name, wanted in [*((name, name) for name in TEMPLATES), ("case", CASE)]] + [
        pytest.param(lambda: make_template(None, with_jinja()), id="tokenizer")
    ]  # fmt: skip


@pytest.mark.parametrize("make", every_template())
def test_pieces_are_the_text_and_prompts_are_its_beginning(make: Callable[[], ChatTemplate]) -> None:
    made = make()
    for template in (made, load_template(json.loads(json.dumps(made.state())))):
        pieces = template.render(TALK)
        text = "".join(piece for piece, _ in pieces)
        answers = [piece for piece, trained in pieces if trained]
        assert len(answers) == 2
        for index, answer in zip((1, 3), answers, strict=True):
            assert answer.strip().startswith(TALK[index].content)
            assert answer.endswith(template.stop[0])
            before = template.prompt(TALK[:index])
            # What is written after the prompt is what is trained: not one character between them.
            assert text.startswith(before + answer)
        assert "where is my parcel" not in "".join(answers)


def test_the_case_of_the_literature_is_written_as_it_was() -> None:
    template = make_template(CASE, tokenizer("llama"))
    pieces = template.render(TALK[:2])
    assert pieces == [
        ("### Comment: where is my parcel\n### REPLY:", False), (" late\n### END.", True), ("\n", False),
    ]  # fmt: skip
    assert template.stop == ("### END.",)
    assert template.prompt(TALK[:1]) == "### Comment: where is my parcel\n### REPLY:"


def test_alpaca_begins_with_its_sentence_unless_the_system_says_another() -> None:
    template = make_template("alpaca", tokenizer("llama"))
    assert template.prompt(TALK[:1]).startswith("Below is an instruction")
    own = template.prompt([Message("system", "Be kind."), *TALK[:1]])
    assert own == "Be kind.\n\n### Instruction:\nwhere is my parcel\n\n### Response:\n"


def test_the_tokenizers_own_template_is_what_transformers_writes() -> None:
    own = with_jinja()
    template = make_template(None, own)
    talk = [Message("system", "please"), *TALK]
    theirs = own.apply_chat_template([message._asdict() for message in talk], tokenize=False)
    assert "".join(piece for piece, _ in template.render(talk)) == theirs
    assert template.stop == ("</s>",)
    assert not template.marks


def test_a_template_that_rewrites_earlier_answers_keeps_its_trained_ones_right() -> None:
    """As those of models that think do: what was thought stands in the last answer alone."""
    thinking = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ 'q: ' + m.content + '\n' }}{% else %}{{ 'a: ' }}"
        "{% if loop.last %}{{ '<think></think>' }}{% endif %}{{ m.content + '<end>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'a: ' }}{% endif %}"
    )
    pieces = make_template(None, with_jinja(thinking)).render(TALK)
    assert [piece for piece, trained in pieces if trained] == [" late<end>", " <think></think>refund the order<end>"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("chatlm", "none called 'chatlm'; did you mean 'chatml'"),
        ({"user": "{content}"}, "'assistant' is required"),
        ({"user": "{content}", "asistant": "{content}."}, "unknown key 'asistant'; did you mean 'assistant'"),
        ({"user": "a", "assistant": "{content}."}, "user: 'a' should hold {content} once"),
        ({"user": "{content}", "assistant": "say {content} "}, "has nothing behind {content}"),
        (None, "tokenizer has no chat template; set template: to one of"),
    ],
)
def test_a_bad_template_is_one_sentence(wanted: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("{", r"\{").replace("}", r"\}")):
        make_template(wanted, tokenizer("llama"))


def test_tokenizer_templates_that_cannot_be_learned_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing behind an answer"):
        make_template(None, with_jinja("{% for m in messages %}{{ m.content }}{% endfor %}"))
    refusing = "{% if messages|length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + JINJA
    template = make_template(None, with_jinja(refusing))
    with pytest.raises(UsageError, match=r"Conversation 1: .*refuses the conversation: one turn only"):
        conversations(with_jinja(), [TALK], template, 60)


# -- which tokens are trained ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", every_template())
def test_the_assistants_tokens_are_trained_and_no_others(make: Callable[[], ChatTemplate]) -> None:
    own, template = with_jinja(), make()
    tokens = conversations(own, [TALK, TALK[:2]], template, 400)
    end = own.decode(own(template.stop[0], add_special_tokens=False)["input_ids"])
    assert said(tokens, own) == f"late {end} refund the order {end}"
    assert said(tokens, own, 1) == f"late {end}"
    assert (tokens.turns, tokens.endless, tokens.cut) == (3, 0, 0)
    assert tokens.labels.tolist() == tokens.trained.tolist()
    text = "".join(piece for piece, _ in template.render(TALK))
    assert tokens.ids[: tokens.offsets[1]].tolist() == own(text, add_special_tokens=False)["input_ids"]


def test_real_tokens_across_a_boundary(shared: Path) -> None:
    """A tokenizer of bytes and pieces: prompt and answer join to the text, and what is trained is the answer."""
    own, _ = load_tokenizer(str(shared / "data/stories260k"))
    talk = [Message("user", "Tell me of Lily"), Message("assistant", "Lily has a red ball."), *TALK]
    for wanted in ("plain", CASE):
        template = make_template(wanted, own)
        tokens = conversations(own, [talk], template, 500)
        start = own(template.prompt(talk[:1]))["input_ids"]
        assert tokens.ids[0] == own.bos_token_id
        assert tokens.ids[: len(start)].tolist() == start
        assert tokens.targets is not None
        assert (tokens.targets[: len(start) - 1] == IGNORED).all()
        assert said(tokens, own).startswith("Lily has a red ball.")
        assert said(tokens, own).rstrip().endswith(template.stop[0])
        assert "Tell" not in said(tokens, own)


def test_what_is_too_long_is_counted() -> None:
    own = with_jinja()
    template = make_template("plain", own)
    whole = conversations(own, [TALK], template, 400)
    cut = conversations(own, [TALK, TALK[:2]], template, int(whole.offsets[-1]) - 3)
    assert (cut.turns, cut.endless, cut.cut) == (3, 1, 1)
    assert said(cut, own) == "late </s> refund"
    none = conversations(own, [TALK], template, 5)
    assert (len(none), none.cut) == (0, 0)  # rows that are left out are counted as such, not as cut
    described = learned(cut, own, template.stop)
    assert "1 of 3 answers lose their end; raise max_length to keep it" in described.sentences()
    assert (described.ended, described.looked_at) == (1, 2)


def test_long_texts_become_pieces_that_lose_no_token() -> None:
    own = with_jinja()
    text = "the cat sat on my mat please help team"
    tokens = whole_texts(own, [text, "a film"], 5)
    assert len(tokens) == 4
    trained = " ".join(said(tokens, own, row) for row in range(3))
    assert trained == " ".join(["cat sat on my mat please help team", "</s>"])
    assert np.diff(tokens.offsets).max() == 5
    assert said(tokens, own, 3) == "film </s>"


def test_sources_and_targets_are_limited_each() -> None:
    own = tokenizer("t5")
    tokens = source_and_target(own, ["the cat sat on my mat", "a film"], ["good", "the film is terrible please"], 5)
    assert own.decode(tokens.ids[:5]) == "the cat sat on </s>"
    assert [said(tokens, own, row) for row in (0, 1)] == ["good </s>", "the film is terrible please"]
    assert (tokens.cut, tokens.endless, tokens.turns) == (1, 1, 2)


# -- forms of data ---------------------------------------------------------------------------------------------------

TURNS = [["user", "where is my parcel"], ["assistant", "late"]]
FORMS: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    "openai": ({"messages": [{"role": role, "content": content} for role, content in TURNS]}, TURNS),
    "parts": ({"messages": [{"role": role, "content": [{"type": "text", "text": own}]} for role, own in TURNS]}, TURNS),
    "sharegpt": ({"conversations": [
        {"from": "system", "value": "please"}, {"from": "human", "value": TURNS[0][1]}, {"from": "gpt", "value": "late"},
        {"from": "human", "value": "help"},
    ]}, [["system", "please"], *TURNS]),
    "alpaca": ({"instruction": "sort", "input": "b a", "output": "a b"}, [["user", "sort\n\nb a"], ["assistant", "a b"]]),
    "no input": ({"instruction": "sort", "input": "", "output": "a b"}, [["user", "sort"], ["assistant", "a b"]]),
    "questions": ({"question": TURNS[0][1], "answer": "late"}, TURNS),
    "a json text": ({"messages": json.dumps([{"role": role, "content": own} for role, own in TURNS])}, TURNS),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_conversations_come_in_many_forms(form: str, tmp_path: Path) -> None:
    row, wanted = FORMS[form]
    data = load_text_dataset(DatasetSpec(path=write(tmp_path / "data.jsonl", [row] * 6)), task="chat")
    assert len(data.train) + len(data.test) == 6
    assert all(json.loads(text) == wanted for text in data.train.text)


def test_columns_are_named_where_their_names_are_unusual(tmp_path: Path) -> None:
    rows = [{"pergunta": "onde", "resposta": "aqui", "conversa": FORMS["openai"][0]["messages"]}] * 6
    path = write(tmp_path / "data.jsonl", rows)
    pair = load_text_dataset(DatasetSpec(path=path, text="pergunta", target="resposta"), task="chat")
    assert json.loads(pair.train.text[0]) == [["user", "onde"], ["assistant", "aqui"]]
    talk = load_text_dataset(DatasetSpec(path=path, messages="conversa"), task="chat")
    assert json.loads(talk.train.text[0]) == TURNS
    both = load_text_dataset(DatasetSpec(path=path, text="pergunta", target="resposta"), task="seq2seq")
    assert (both.train.text[0], both.train.text_pair) == ("onde", ["aqui"] * len(both.train))


def test_what_says_nothing_is_left_out_and_told(tmp_path: Path) -> None:
    good, alone = FORMS["openai"][0], {"messages": [{"role": "user", "content": "hello"}]}
    blank = {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "late"}]}
    data = load_text_dataset(DatasetSpec(path=write(tmp_path / "data.jsonl", [good] * 6 + [alone, blank])), task="chat")
    assert len(data.train) + len(data.test) == 6
    assert "2 train rows with an empty text, or with nothing that is said, left out" in data.notes


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "a"} for role in roles]}


@pytest.mark.parametrize(
    ("row", "task", "message"),
    [
        (turns("user", "user"), "chat", "row 2: message 2 is the user's and follows the user's"),
        (turns("assistant"), "chat", "row 2: message 1 is the assistant's and is the first"),
        (
            turns("user", "assistant", "assistant"),
            "chat",
            "row 2: message 3 is the assistant's and follows the assistant's",
        ),
        (turns("user", "assistant", "system"), "chat", "row 2: message 3 is the system's; it stands before"),
        (turns("user", "tool"), "chat", "row 2: message 2 is a tool's and follows the user's; a tool answers a call"),
        (turns("user", "oracle"), "chat", "row 2: message 2 has the unknown role 'oracle'; roles are system"),
        ({"messages": [{"speaker": "user"}]}, "chat", "row 2: a message should have role and content"),
        ({"messages": "User: hi"}, "chat", "row 2: column 'messages' should hold a list of messages"),
        ({"words": "a"}, "seq2seq", "no columns that look like a text to read and one to write"),
    ],
)
def test_bad_conversations_are_one_sentence(row: dict[str, Any], task: str, message: str, tmp_path: Path) -> None:
    rows = [FORMS["a json text"][0] if isinstance(row.get("messages"), str) else FORMS["openai"][0], row]
    path = write(tmp_path / "data.jsonl", [row] * 6 if task == "seq2seq" else rows)
    with pytest.raises(UsageError, match=message):
        load_text_dataset(DatasetSpec(path=path), task=task)


def test_columns_that_are_no_conversation(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", [{"words": "a"}] * 6)
    for spec, message in (
        ({}, "has no conversations: a column messages"),
        ({"messages": "word"}, "no column 'word' for messages; did you mean 'words'"),
        ({"text": "words"}, "text: and target: go together"),
        ({"text": "words", "target": "answr"}, "no column 'answr'"),
    ):
        with pytest.raises(UsageError, match=message):
            load_text_dataset(DatasetSpec(path=path, **spec), task="chat")

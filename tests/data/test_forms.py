"""Conversations as people have them: every form gives the messages that are in it, and what is not learned is not."""
# ruff: noqa: E501 (tables of inputs)

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afina.corpus.clean import clean
from afina.corpus.convert import convert
from afina.corpus.lines import SourceFile
from afina.corpus.reading import read_interactions
from afina.data.dialogues.conversations import interactions
from afina.data.dialogues.forms import Columns
from afina.data.dialogues.interaction import RawRow
from afina.data.dialogues.messages import Message
from afina.data.dialogues.speakers import Speakers
from afina.data.dialogues.turns import ordered, written_out
from afina.data.templates.named import load_template, make_template
from afina.data.tokens.sequences import conversations
from afina.data.tokens.tokens import IGNORED
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.generation.template import PlainTemplate, check_messages, template_of
from afina.tasks.chat import ChatTask
from afina.tasks.reading import load_text_dataset
from families import tokenizer

ASKED, SAID = ["user", "where is my parcel"], ["assistant", "late"]
CALL = {"type": "function", "function": {"name": "find", "arguments": {"a": 1}}}
CALLED = ["assistant", "", {"tool_calls": [{"id": "c", **CALL}]}]


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def node(name: str, parent: str | None, children: list[str], role: str = "", said: Any = None) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [said]}
    own = {"author": {"role": role}, "content": content, "weight": 1.0} if role else None
    return {"id": name, "message": own, "parent": parent, "children": children}


TALK = [message(*ASKED), message(*SAID)]
WRONG = message("assistant", "lost")
AGAIN = ["user", "please help"]
MAPPING = {
    "root": node("root", None, ["q"]),
    "q": node("q", "root", ["other", "a"], *ASKED),
    "other": node("other", "q", [], "assistant", "lost"),
    "a": node("a", "q", [], *SAID),
}
FORMS: dict[str, tuple[dict[str, Any], list[list[Any]], str]] = {
    "parts and texts mixed": ({"messages": [message("user", [{"type": "text", "text": ASKED[1]}]), TALK[1]]}, [ASKED, SAID], ""),
    "python text": ({"messages": str(TALK)}, [ASKED, SAID], "lists of messages that are Python text, not JSON: 6"),
    "history": ({"instruction": AGAIN[1], "input": "", "output": "refund", "history": [[ASKED[1], "late"]]},
                [ASKED, SAID, AGAIN, ["assistant", "refund"]], ""),
    "prompt and completion": ({"prompt": TALK[:1], "completion": TALK[1:]}, [ASKED, SAID], ""),
    "preferences": ({"prompt": ASKED[1], "chosen": "late", "rejected": "lost"}, [ASKED, SAID],
                    "preferences, of which what was chosen is read and what was rejected is not: 6"),
    "preferences as messages": ({"chosen": TALK, "rejected": [TALK[0], WRONG]}, [ASKED, SAID], "preferences, of"),
    "chatgpt": ({"title": "t", "mapping": MAPPING, "current_node": "a"}, [ASKED, SAID],
                "conversations with edits or other answers, of which the last branch is read: 6"),
    "tools": ({"messages": [TALK[0], message("assistant", None, tool_calls=[
                  {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}]),
                  message("tool", "late", tool_call_id="c"), TALK[1]]},
              [ASKED, CALLED, ["tool", "late", {"tool_call_id": "c"}], SAID], ""),
    "the old calls": ({"messages": [TALK[0], message("assistant", None, function_call={"name": "find", "arguments": '{"a": 1}'})]},
                      [ASKED, ["assistant", "", {"tool_calls": [CALL]}]], ""),
    "sharegpt's tools": ({"conversations": [
                  {"from": "human", "value": ASKED[1]}, {"from": "function_call", "value": '{"name": "find", "arguments": {"a": 1}}'},
                  {"from": "observation", "value": "late"}, {"from": "gpt", "value": "late"}],
                  "tools": '[{"name": "find", "parameters": {}}]'},
              [["tools", "", {"tools": [{"name": "find", "parameters": {}}]}], ASKED, ["assistant", "", {"tool_calls": [CALL]}],
               ["tool", "late"], SAID], ""),
    "the assistant first": ({"conversations": [{"from": "gpt", "value": "hello"}, {"from": "human", "value": ASKED[1]},
                                               {"from": "gpt", "value": "late"}]}, [ASKED, SAID],
                            "first messages that are the assistant's, before any question, left out: 6"),
    "a system turn": ({"messages": [message("system", "please"), *TALK]}, [["system", "please"], ASKED, SAID], ""),
    "a key that is not used": ({"messages": [{**TALK[0], "timestamp": 3}, TALK[1]]}, [ASKED, SAID],
                               "messages with the key 'timestamp', which is not used: 6"),
    "weight 0": ({"messages": [TALK[0], {**WRONG, "weight": 0}, message(*AGAIN), {**TALK[1], "weight": 1}]},
                 [ASKED, ["assistant", "lost", {"weight": 0}], AGAIN, SAID],
                 "answers that are read and not learned (weight 0): 6"),
    "axolotl's train": ({"conversations": [{"from": "human", "value": ASKED[1]}, {"from": "gpt", "value": "lost", "train": False},
                                           {"from": "human", "value": AGAIN[1]}, {"from": "gpt", "value": "late", "train": True}]},
                        [ASKED, ["assistant", "lost", {"weight": 0}], AGAIN, SAID], "answers that are read and not"),
    "a struct and a number of the conversation": ({"conversation": "7", "who": {"name": "a", "date": 1}, "question": ASKED[1],
                                                   "answer": "late"}, [ASKED, SAID], ""),
}  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def load(path: Path, **spec: Any) -> Any:
    return load_text_dataset(DatasetSpec(path=str(path), **spec), task="chat")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("through", ["", "a.jsonl", "a.parquet", "clean"])
def test_a_study_and_afina_data_read_the_same_of_every_form(form: str, through: str, tmp_path: Path) -> None:
    row, wanted, note = FORMS[form]
    path = write(tmp_path / "data.jsonl", [row] * 6)
    if through == "clean":
        path = clean(path, tmp_path / "a.jsonl").out
        assert [json.loads(line) for line in path.read_text().splitlines()], "one of six equal rows is kept"
        path.write_text(path.read_text() * 6)
    elif through:
        report = convert(path, tmp_path / through)
        assert report.written == 6
        path = report.out
    data = load(path)
    assert [json.loads(text) for text in (*data.train.text, *data.test.text)] == [wanted] * 6
    if not through:
        assert any(told.startswith(note) for told in data.notes), data.notes


def test_calls_of_other_arguments_do_not_get_one_anothers(tmp_path: Path) -> None:
    """A column of objects gives each the keys of all: `{"a": 1}` would become `{"a": 1, "b": null}`."""
    rows = [{"messages": [TALK[0], message("assistant", "", tool_calls=[{"function": {"name": "find", "arguments": own}}])]}
            for own in ({"a": 1}, {"b": [2]}, {"c": {"d": 3}}) for _ in range(2)]  # fmt: skip
    path = write(tmp_path / "data.jsonl", rows)
    for source in (path, convert(path, tmp_path / "a.parquet").out, convert(path, tmp_path / "a.jsonl").out):
        data = load(source)
        texts = {*data.train.text, *data.test.text}
        found = [json.loads(text)[1][2]["tool_calls"][0]["function"]["arguments"] for text in texts]
        assert sorted(map(str, found)) == ["{'a': 1}", "{'b': [2]}", "{'c': {'d': 3}}"]


def test_a_parquet_file_is_widened_for_what_later_rows_have(tmp_path: Path) -> None:
    rows = [{"messages": TALK}] * 700 + [{"messages": [TALK[0], {**WRONG, "weight": 0}, message(*AGAIN), TALK[1]]}]
    out = convert(write(tmp_path / "data.jsonl", rows), tmp_path / "a.parquet").out
    found = [row.messages for row in read_interactions(SourceFile(out))]
    assert len(found) == 701
    assert (found[0], found[700][1]) == (TALK, {**WRONG, "weight": 0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "data.jsonl"]


TREE = [
    {"message_id": "a", "parent_id": None, "message_tree_id": "a", "text": ASKED[1], "role": "prompter", "rank": None},
    {"message_id": "b", "parent_id": "a", "message_tree_id": "a", "text": "lost", "role": "assistant", "rank": 1},
    {"message_id": "c", "parent_id": "a", "message_tree_id": "a", "text": "late", "role": "assistant", "rank": 0},
    {"message_id": "d", "parent_id": "b", "message_tree_id": "a", "text": "so?", "role": "prompter", "rank": None},
]


def test_trees_of_answers_give_the_best_ranked(tmp_path: Path) -> None:
    data = load(write(tmp_path / "data.jsonl", TREE * 6))
    assert [json.loads(text) for text in data.train.text] == [[ASKED, SAID]] * 5
    assert "replies that are not the best-ranked to their message (or the first), which are not read: 6" in data.notes
    tree = {"role": "prompter", "text": ASKED[1], "replies": [
        {"role": "assistant", "text": "lost", "rank": 1}, {"role": "assistant", "text": "late", "rank": 0}]}  # fmt: skip
    data = load(write(tmp_path / "data.jsonl", [{"message_tree_id": "a", "prompt": tree}] * 6))
    assert [json.loads(text) for text in data.train.text] == [[ASKED, SAID]] * 5
    with pytest.raises(UsageError, match="row 3: its parent_id b is no message of the tree before it"):
        load(write(tmp_path / "data.jsonl", [TREE[0], TREE[2], TREE[3]]))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "message 2 has a part of the type 'image_url'; only texts"),
        ({"content": "late", "weight": 0.5}, "message 2 has weight: 0.5; an answer is learned (1) or not (0)"),
        ({"content": "late", "train_detail": [{"end_offset": 2}]}, "message 2 has the key 'train_detail', which weighs parts"),
        ({"content": "late", "weight": 0, "train": True}, "message 2 is to be learned by one of its keys and not by another"),
        ({"content": None, "tool_calls": [{"function": {"arguments": "{}"}}]}, "message 2 calls a tool without a name"),
        ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}, "'f' with arguments that are no JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_is_refused_with_its_row(answer: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "data.jsonl", [{"messages": TALK}, {"messages": [TALK[0], {"role": "assistant", **answer}]}]
    )
    with pytest.raises(UsageError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}, row 2: message 2")
    assert told in str(refused.value)


def test_rows_of_which_nothing_is_learned_are_left_out_and_said(tmp_path: Path) -> None:
    unlearned = {"messages": [TALK[0], {**TALK[1], "weight": 0}]}
    data = load(write(tmp_path / "data.jsonl", [{"messages": TALK}] * 6 + [unlearned]))
    assert len(data.train) + len(data.test) == 6
    assert "conversations of which no answer is to be learned (weight 0), left out: 1" in data.notes


# -- which tokens are learned ----------------------------------------------------------------------------------------

WITH_TOOLS = (
    "{% if tools %}{{ 'tools: ' + tools | tojson + ' ' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'a: ' }}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "{{ '<call> ' + c.function.name + ' ' + c.function.arguments | tojson + ' ' }}{% endfor %}{% else %}{{ m.content + ' ' }}{% endif %}"
    "{{ eos_token + '\n' }}{% else %}{{ m.role + ': ' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'a: ' }}{% endif %}"
)
PLAIN = WITH_TOOLS.replace("{% if m.tool_calls %}", "{% if false %}")


def own_template(source: str, **options: Any) -> Any:
    own = tokenizer("llama")
    own.chat_template = source
    own.pad_token = "<pad>"
    return own, make_template(None, own, **options)


def learned(messages: list[Message], source: str = WITH_TOOLS) -> list[str]:
    _own, template = own_template(source)
    template = load_template(json.loads(json.dumps(template.state())))
    return [text for text, trained in template.render(messages) if trained]


def test_answers_of_weight_0_are_read_and_not_learned() -> None:
    talk = [Message(*ASKED), Message("assistant", "terrible", {"weight": 0}), Message(*AGAIN), Message(*SAID)]
    assert learned(talk) == [" late </s>"]
    for wanted in (None, "plain", "chatml"):
        own, _ = own_template(WITH_TOOLS)
        tokens = conversations(own, [talk], make_template(wanted, own), 400)
        assert tokens.targets is not None
        said = own.decode(tokens.targets[tokens.targets != IGNORED])
        assert said.startswith("late")
        assert "terrible" not in said
        assert "terrible" in own.decode(tokens.ids)


def test_calls_are_learned_and_what_tools_give_is_not() -> None:
    called = Message("assistant", "", {"tool_calls": [{"id": "c", **CALL}]})
    talk = [
        Message("tools", "", {"tools": [CALL]}),
        Message(*ASKED),
        called,
        Message("tool", "late"),
        Message("assistant", "so"),
    ]
    assert learned(talk) == [' <call> find {"a": 1} </s>', " so </s>"]
    _own, template = own_template(WITH_TOOLS)
    assert template.prompt(talk[:2]).startswith('tools: [{"type": "function"')


@pytest.mark.parametrize(
    ("source", "messages", "told"),
    [
        (PLAIN, [Message(*ASKED), Message(*CALLED)], "does not write calls of tools; take a model whose own template does"),
        (PLAIN.replace("{% if tools %}", "{% if false %}"), [Message("tools", "", {"tools": [CALL]}), Message(*ASKED),
                                                            Message(*SAID)], "does not write which tools there are"),
        (WITH_TOOLS.replace("{% if m.role == 'assistant' %}", "{% if m.role == 'system' %}{{ raise_exception('no system') }}"
                            "{% elif m.role == 'assistant' %}"), [Message("system", "be"), Message(*ASKED), Message(*SAID)],
         "takes no system turn (no system): merge it into the first user turn (system: merge)"),
        (WITH_TOOLS.replace("{% if m.role == 'assistant' %}", "{% if m.role == 'system' %}{% elif m.role == 'assistant' %}"),
         [Message("system", "be"), Message(*ASKED), Message(*SAID)], "takes no system turn: merge it into the first user turn"),
    ],
)  # fmt: skip
def test_what_a_template_would_leave_out_is_refused(source: str, messages: list[Message], told: str) -> None:
    with pytest.raises(UsageError, match="chat template") as refused:
        learned(messages, source)
    assert told in str(refused.value)
    with pytest.raises(UsageError, match="formats have no place for tools"):
        own, _ = own_template(source)
        make_template("chatml", own).render([Message(*ASKED), Message(*CALLED)])


@pytest.mark.parametrize(
    ("source", "messages", "told"),
    [
        (PLAIN, [Message(*ASKED), Message(*CALLED), Message("tool", "7")], "does not write calls of tools; leave calls of"),
        (WITH_TOOLS.replace("{% else %}{{ m.role", "{% elif m.role != 'tool' %}{{ m.role"),
         [Message(*ASKED), Message(*CALLED), Message("tool", "7")], "does not write what tools give; leave calls of"),
        (WITH_TOOLS.replace("{% else %}{{ m.role", "{% elif m.role != 'system' %}{{ m.role"),
         [Message(*ASKED), Message(*SAID), Message("system", "be kind"), Message(*ASKED)], "say it in the first user turn"),
    ],
)  # fmt: skip
def test_what_a_template_would_leave_out_of_a_question_is_refused(
    source: str, messages: list[Message], told: str
) -> None:
    """In the words of who asks, and never answered without it."""
    own, template = own_template(source)
    with pytest.raises(UsageError, match=told):
        template.prompt(messages)
    if "tool" in told:
        with pytest.raises(UsageError, match="template has no place for tools; leave calls of"):
            make_template("chatml", own).prompt(messages)


def test_the_system_is_merged_where_that_is_asked() -> None:
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + WITH_TOOLS
    talk = [Message("system", "be kind"), Message(*ASKED), Message(*SAID)]
    _own, template = own_template(refusing, merge_system=True)
    for made in (template, load_template(json.loads(json.dumps(template.state())))):
        assert made.render(talk) == [
            ("user: be kind\n\nwhere is my parcel\na:", False),
            (" late </s>", True),
            ("\n", False),
        ]
        assert made.prompt(talk[:2]) == "user: be kind\n\nwhere is my parcel\na:"
        assert made.render(talk[1:])[0] == ("user: where is my parcel\na:", False)
    # Who talks with an adapter may ask for it, whatever template that was trained with.
    own, trained = own_template(refusing)
    for task in (None, ChatTask(trained)):
        assert template_of(task, own, merge_system=True).prompt(talk[:2]) == made.prompt(talk[:2])


def test_a_prompt_may_have_calls_of_tools_and_what_they_gave() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    asked = [message(*ASKED), message("assistant", None, tool_calls=[call]), message("tool", "late", tool_call_id="c")]
    turns = check_messages(asked, None)
    assert turns[1].details["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    # What is null in a file's row is an empty column; what somebody asks with is said.
    null = {**call, "function": {"name": "find", "arguments": '{"a": null}'}}
    (said,) = check_messages([asked[0], message("assistant", None, tool_calls=[null]), asked[2]], None)[1].details[
        "tool_calls"
    ]
    assert said["function"]["arguments"] == {"a": None}
    _, template = own_template(WITH_TOOLS)
    assert template.prompt(turns).endswith('a: <call> find {"a": 1} </s>\ntool: late\na:')
    with pytest.raises(UsageError, match="nothing says how tools are written"):
        PlainTemplate().prompt(turns)
    with pytest.raises(UsageError, match="Message 1, the user's, has no content; give a text"):
        check_messages([message("user", None)], None)
    with pytest.raises(UsageError, match="Message 2 has the key 'loss_scale'"):
        check_messages([asked[0], {**message("assistant", "a"), "loss_scale": [1]}, asked[0]], None)


KEYS = ["messages", "conversations", "role", "content", "from", "value", "tool_calls", "function", "name", "arguments", "weight", "mapping",
        "current_node", "message", "parts", "parent", "parent_id", "message_id", "text", "prompt", "chosen", "completion", "instruction",
        "output", "history", "tools", "extra", "replies", "message_tree_id"]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["user", "gpt", "function_call", "[1]", "{'a': 1}", "", "[[["])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=4), min_size=1, max_size=3))
def test_whatever_rows_hold_a_dialogue_or_a_problem_comes_of_them(rows: list[dict[str, Any]]) -> None:
    seen: Counter[str] = Counter()
    for row in interactions((RawRow("row 1", values) for values in rows), "it", Speakers(), Columns(), seen):
        assert row.problem or row.messages
        for said in (row.messages, *row.others):
            messages, problem = ordered(said, seen)
            text = written_out(row, messages)
            assert not (text and problem)
            assert [Message(*each).content for each in json.loads(text or "[]") if each[0] != "tools"] == [
                m.content for m in messages
            ]

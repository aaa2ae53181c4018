"""Whatever turns a conversation has, each that says something reaches the model, or the conversation is refused."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from afina.data.dialogues.messages import Message as Turn
from afina.data.templates.named import make_template
from afina.errors import UsageError
from afina.generation.template import check_messages, template_of
from afina.serve.endpoints.chat import ChatMessage
from examples import examples
from families import tokenizer
from served import save, served

CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
EACH = "{% for m in messages %}"
CALLS = "{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}"
ALL = f"{EACH}{{{{ m.role }}}} {{{{ m.content }}}}{CALLS} </s>{{% endfor %}}"
ENDS = "{% if add_generation_prompt %}assistant{% endif %}"
TEMPLATES = {
    # As Llama 3's, Mistral's and others' own do: what has no place in them is passed over, at some places alone.
    "all": ALL,
    "strips": ALL.replace("m.content", "(m.content | trim)"),
    "the first system turn": ALL.replace(EACH, "{% if messages[0].role == 'system' %}{{ messages[0].content }} {% endif %}"
                                         "{% for m in messages if m.role != 'system' %}"),
    "a call or words": ALL.replace("{{ m.content }}", "{% if not m.tool_calls %}{{ m.content }}{% endif %}"),
    "one call": ALL.replace("in m.tool_calls", "in (m.tool_calls or [])[:1]"),
    "a tool's first result": ALL.replace("{{ m.content }}", "{% if m.role != 'tool' or loop.index0 == 2 %}{{ m.content }}"
                                         "{% endif %}"),
    "no tools": ALL.replace(EACH, "{% for m in messages if m.role != 'tool' %}"),
    "by turns": ALL.replace(EACH, EACH + "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
                            "{{ raise_exception('roles must alternate') }}{% endif %}"),
    "without thoughts": ALL.replace("m.content", "m.content.split('z')[-1]"),
}  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxy"


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Turns in any order, each said by a letter of its own, in any of the forms that a client may send."""
    letters = iter(LETTERS)

    def said() -> Any:
        letter = next(letters)
        return draw(st.sampled_from([letter, f" {letter} ", [{"type": "text", "text": letter}]]))

    turns: list[dict[str, Any]] = []
    for role in draw(st.lists(st.sampled_from(["system", "developer", "user", "assistant", "tool"]), max_size=5)):
        turn: dict[str, Any] = {"role": role, "content": said()}
        if role == "tool":
            turn["tool_call_id"] = "c"
        if role == "assistant" and (calls := draw(st.integers(0, 2))):
            turn["tool_calls"] = [
                {"id": "c", "type": "function", "function": {"name": "on", "arguments": json.dumps({next(letters): 1})}}
                for _ in range(calls)
            ]
            turn["content"] = draw(st.sampled_from([turn["content"], None, ""]))
        elif draw(st.integers(0, 9)) == 0:
            turn["content"] = draw(st.sampled_from([None, [], "", 3, {"text": "x"}, [{"type": "image_url"}]]))
        turns.append(turn)
    return [*turns, {"role": "user", "content": said()}]


def wanted(messages: list[dict[str, Any]]) -> set[str]:
    """Return the letters that a conversation says."""
    return {letter for turn in messages for letter in letters_of(turn)}


def letters_of(turn: dict[str, Any]) -> Iterator[str]:
    content = turn.get("content")
    texts = [part["text"] for part in content] if isinstance(content, list) else [content or ""]
    yield from (text.strip() for text in texts if text.strip())
    for call in turn.get("tool_calls", ()):
        yield from json.loads(call["function"]["arguments"])


@pytest.fixture(scope="module")
def asked(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give servers by their templates, each with the prompts that its engine is asked, and what asks them."""
    base, folder = speaker("llama"), tmp_path_factory.mktemp("turns")
    chat = {"name": "chat", "template": make_template("chatml", tokenizer("llama")).state()}
    found: dict[str, tuple[httpx2.Client, list[list[int]]]] = {}
    with ExitStack() as stack:
        for name in ("", "the first system turn", "a call or words"):
            place = base
            if name:
                place = shutil.copytree(base, folder / name.replace(" ", "-"))
                (place / "chat_template.jinja").write_text(TEMPLATES[name] + ENDS)
            shelf = folder / f"shelf-{len(found)}"
            save(place, shelf / "plain", "lora", CHOICES)
            save(place, shelf / "chat", "ia3", chat)
            server, client = stack.enter_context(served(place, adapters=shelf))
            engine, prompts = server.house.engine(), list[list[int]]()
            submit = engine.submit

            def spied(ask: Any, submit: Any = submit, prompts: list[list[int]] = prompts) -> Any:
                prompts.append(list(ask.prompt))
                return submit(ask)

            engine.submit = spied
            found[name] = client, prompts
            stack.callback(
                lambda engine=engine: [engine.running, engine.waiting] == [0, 0] or pytest.fail("a row is stuck")
            )
        yield found


@pytest.mark.parametrize("template", ["", "the first system turn", "a call or words"])
@pytest.mark.parametrize("adapter", ["plain", "chat"])
@examples(12, 80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations())
def test_every_turn_reaches_the_model_or_is_refused(
    asked: Any, template: str, adapter: str, messages: list[dict[str, Any]]
) -> None:
    client, prompts = asked[template]
    prompts.clear()
    body = {"model": adapter, "messages": messages, "max_tokens": 1}
    found = client.post("/v1/chat/completions", json=body)
    assert found.status_code in (200, 400), found.text
    if found.status_code == 200:
        words = tokenizer("llama").convert_ids_to_tokens(prompts[0])
        assert {*words} >= wanted(messages), (words, messages)
    else:
        error = found.json()["error"]
        assert error["message"] and "{'" not in error["message"] and "None" not in error["message"], error


@pytest.mark.parametrize("name", TEMPLATES)
@examples(12, 80)
@given(messages=conversations())
def test_no_template_leaves_a_turn_out_without_a_word(name: str, messages: list[dict[str, Any]]) -> None:
    own = tokenizer("llama")
    own.chat_template = TEMPLATES[name] + ENDS
    template = template_of(None, own)
    try:
        turns = check_messages([ChatMessage.model_validate(turn).plain() for turn in messages], own)
        prompt = template.prompt(turns)
    except ValueError:  # pydantic's and ours
        return
    words = {*own.tokenize(prompt)}
    assert words >= wanted(messages), (words, messages)


def test_what_is_left_out_is_named_where_it_stands() -> None:
    own = tokenizer("llama")
    call = {"type": "function", "function": {"name": "on", "arguments": {"a": 1}}}
    user, answer = Turn("user", "b"), Turn("assistant", "c")
    for name, turns, words in (
        ("the first system turn", [user, answer, Turn("system", "d"), user],
         "leaves out what message 3 (system) says, there; say it in the first user turn."),
        ("a call or words", [user, Turn("assistant", "d", {"tool_calls": [call]}), user],
         "leaves out what message 2 (assistant) says, there; say it in a user's turn, or leave it out."),
        ("one call", [user, Turn("assistant", "", {"tool_calls": [call, call]}), user],
         "leaves out a call in message 2 (assistant), there"),
        ("a tool's first result", [user, Turn("assistant", "", {"tool_calls": [call]}), Turn("tool", "d"), Turn("tool", "e")],
         "leaves out what message 4 (tool) says, there"),
    ):  # fmt: skip
        own.chat_template = TEMPLATES[name] + ENDS
        template = template_of(None, own)
        with pytest.raises(UsageError, match=re.escape(words)):
            template.prompt(turns)
        own.chat_template = TEMPLATES["all"] + ENDS
        assert template_of(None, own).prompt(turns).endswith("assistant")

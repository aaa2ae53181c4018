"""What a client sends to say nothing changes nothing: keys that are null, and OpenAI's defaults."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai.types.chat.chat_completion_stream_options_param import ChatCompletionStreamOptionsParam
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as CompletionParams
from openai.types.embedding_create_params import EmbeddingCreateParams

from afina.serve.endpoints.chat import ChatMessage
from afina.serve.http.bodies import as_body
from afina.serve.http.endpoint import ENDPOINTS
from afina.serve.http.refusals import Refusal
from served import save, served

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
BODIES = {name: own.body for name, own in ENDPOINTS.items() if own.body is not None}
WANTED: dict[str, Any] = {
    "model": "own", "messages": [{"role": "user", "content": "a cat"}], "prompt": "a cat", "input": "a cat",
    "inputs": "a cat", "query": "a cat", "documents": ["a cat"], "lora_name": "own", "lora_path": "/nowhere",
}  # fmt: skip
THEIRS = {CHAT: ChatParams, COMPLETION: CompletionParams, "/v1/embeddings": EmbeddingCreateParams}
DEFAULTS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"modalities": ["text"]}), (CHAT, {"service_tier": "auto"}), (CHAT, {"service_tier": "default"}),
    (CHAT, {"tool_choice": "none"}), (CHAT, {"tool_choice": "auto", "parallel_tool_calls": True}),
    (CHAT, {"reasoning_effort": "none"}), (CHAT, {"verbosity": "medium"}), (CHAT, {"stream_options": None}),
    (CHAT, {"response_format": {"type": "text", "json_schema": None}}), (COMPLETION, {"suffix": ""}),
    (COMPLETION, {"suffix": None, "logit_bias": {}, "echo": False, "best_of": 1}),
]  # fmt: skip
MEANT: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"modalities": ["text", "audio"]}), (CHAT, {"service_tier": "flex"}), (CHAT, {"service_tier": 0}),
    (CHAT, {"tool_choice": "required"}), (CHAT, {"reasoning_effort": "low"}), (CHAT, {"verbosity": "high"}),
    (CHAT, {"store": True}), (CHAT, {"store": 0}), (COMPLETION, {"suffix": " "}),
    (CHAT, {"stream": True, "stream_options": {"include_obfuscation": True}}),
    (CHAT, {"response_format": {"type": "text", "json_schema": {}}}), (CHAT, {"temprature": None}),
    (CHAT, {"messages": None}), (CHAT, {"model": None}),
]  # fmt: skip


def right(place: str, **more: Any) -> dict[str, Any]:
    """Return a body that a path takes."""
    return {key: value for key, value in WANTED.items() if key in BODIES[place].model_fields} | more


@pytest.fixture(scope="module")
def client(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("nothing")
    task = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
    save(speaker("llama"), folder / "own", "lora", task)
    with served(speaker("llama"), adapters=folder) as (_, made):
        yield made


@pytest.mark.parametrize("place", BODIES)
def test_a_key_that_is_null_is_as_if_it_were_not_there(place: str) -> None:
    """Every key of ours that may be left out, and every one that we know of OpenAI's."""
    kind = BODIES[place]
    optional = [key for key, field in kind.model_fields.items() if not field.is_required()]
    assert optional
    for key in (*optional, *kind.unsupported):
        body = right(place)
        without = {own: value for own, value in body.items() if own != key}
        assert as_body(kind, {**body, key: None}) == as_body(kind, without), key


@pytest.mark.parametrize("place", THEIRS)
def test_no_key_of_openais_is_unknown(place: str) -> None:
    """Its client's own list: a version of it with a new key fails here."""
    theirs = THEIRS[place]
    for key in theirs.__optional_keys__ | theirs.__required_keys__:
        as_body(BODIES[place], {key: None} | right(place))
    if place != "/v1/embeddings":
        within = dict.fromkeys(ChatCompletionStreamOptionsParam.__optional_keys__)
        body = as_body(BODIES[place], right(place, stream=True, stream_options=within))
        assert not body.with_usage


def test_a_key_of_a_message_that_is_null_is_as_if_it_were_not_there() -> None:
    optional = [key for key, field in ChatMessage.model_fields.items() if not field.is_required()]
    body = right(CHAT, messages=[{"role": "user", **dict.fromkeys(optional), "content": "a cat"}])
    assert as_body(BODIES[CHAT], body) == as_body(BODIES[CHAT], right(CHAT))


@pytest.mark.parametrize(("place", "more"), DEFAULTS, ids=[str(more)[:60] for _, more in DEFAULTS])
def test_openais_defaults_may_be_said(client: httpx2.Client, place: str, more: dict[str, Any]) -> None:
    asked = {"max_tokens": 2, "temperature": 0}
    plain, found = (client.post(place, json=right(place, **asked, **own)) for own in ({}, more))
    assert found.status_code == 200, found.text
    assert found.json()["choices"] == plain.json()["choices"]


@pytest.mark.parametrize(("place", "more"), MEANT, ids=[str(more)[:60] for _, more in MEANT])
def test_what_means_something_and_is_not_done_is_refused(place: str, more: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        as_body(BODIES[place], right(place) | more)
    assert caught.value.status == 400 and str(caught.value.param).split(".")[0] in (*more, "stream_options")

"""Each refusal that a client can get is provoked once, has OpenAI's form, and stands in the documents' table."""

import ast
import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import afina
from afina.serve.endpoints.classify import Classify
from afina.serve.http.house import ServeLimits
from served import save, served, until

SERVE = Path(afina.__file__).parent / "serve"
TABLE = Path(__file__).parents[2] / "docs" / "how_to" / "serve.md"
TWO = {"name": "classification", "label_names": ["late", "broken"]}
CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
ELSEWHERE = {("503", "documents_unavailable")}
"""Provoked where answers come from documents (test_grounded.py)."""


@pytest.fixture(scope="module")
def told() -> list[str]:
    """Give what the servers told whoever runs them."""
    return []


@pytest.fixture(scope="module")
def labels(
    family_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, told: list[str]
) -> Iterator[httpx2.Client]:
    """Give a client with an admin's key, of a server that takes little."""
    base, shelf = family_folder("bert"), tmp_path_factory.mktemp("labels")
    save(base, shelf / "two", "lora", TWO)
    save(base, shelf / "whole", "full", TWO)
    record = save(base, shelf / "single", "ia3", TWO) / "afina.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"facts": {"columns": {"text": "text"}}}))
    limits = ServeLimits(texts=3, body=8000)
    keys = shelf / "keys.yaml"
    keys.write_text("- {name: ana, key: secret-of-ana, rate: 1}\n- {name: bia, key: secret-of-bia}\n")
    with served(base, adapters=shelf, keys=keys, admin_key="secret-of-admin", limits=limits, tell=told.append) as both:
        both[1].headers["authorization"] = "Bearer secret-of-admin"
        yield both[1]


@pytest.fixture(scope="module")
def writes(
    speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, told: list[str]
) -> Iterator[tuple[Any, httpx2.Client]]:
    """Give a server of what writes, and a client of it."""
    shelf = tmp_path_factory.mktemp("writes")
    save(speaker("llama"), shelf / "anna", "lora", CHOICES)
    with served(speaker("llama"), adapters=shelf, limits=ServeLimits(texts=3, queue=1), tell=told.append) as both:
        yield both


def said(found: httpx2.Response) -> tuple[str, str]:
    """Return a refusal's status and code; it says who is wrong, and its number."""
    error = found.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and found.headers["x-request-id"]
    assert error["type"] == {429: "rate_limit_error", 401: "authentication_error"}.get(
        found.status_code, "server_error" if found.status_code >= 500 else "invalid_request_error"
    )
    # Whoever may come again is told when.
    assert ("retry-after" in found.headers) == (found.status_code == 429 or error["code"] in ("stopping", "broken_off"))
    return str(found.status_code), error["code"]


def test_what_labels_refuses(labels: httpx2.Client, monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    body = {"model": "two", "input": "x"}

    def ask(more: dict[str, Any], **settings: Any) -> tuple[str, str]:
        return said(labels.post("/v1/classify", json=body | more, **settings))

    assert ask({"input": ["x"] * 4}) == ("400", "invalid_value")
    assert ask({"input": "x" * 9000}) == ("413", "body_too_large")
    assert ask({"inptu": "x"}) == ("400", "unknown_parameter")
    assert ask({"tools": [1]}) == ("400", "unsupported_parameter")
    assert said(labels.post("/v1/classify", json={"input": "x"})) == ("400", "missing_required_parameter")
    assert ask({"model": "whole"}) == ("404", "model_not_found")
    assert ask({}, headers={"authorization": "Bearer secret-of-nobody"}) == ("401", "invalid_api_key")
    ana, bia = ({"authorization": f"Bearer secret-of-{name}"} for name in ("ana", "bia"))
    assert labels.post("/v1/classify", json=body, headers=ana).status_code == 200
    assert ask({}, headers=ana) == ("429", "rate_limit_exceeded")
    assert said(labels.get("/metrics", headers=bia)) == ("403", "admin_only")
    assert said(labels.get("/v1/classify")) == ("405", "method_not_allowed")
    assert labels.get("/v1/classify").headers["allow"] == "POST"
    # Not an empty answer that leads elsewhere.
    assert said(labels.post("/v1/classify/", json=body)) == said(labels.get("/v2")) == ("404", "not_found")

    async def fault(*_: Any) -> Any:
        raise RuntimeError("the secret of this fault")

    with monkeypatch.context() as patch:
        patch.setattr(Classify, "answer", fault)
        found = labels.post("/v1/classify", json=body)
    assert said(found) == ("500", "internal") and "secret" not in found.text and "secret of this fault" in told[-1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"content-type": "text/plain"}, "application/json"),
        ({"content-type": "application/json; charset=iso-8859-1"}, "UTF-8, not as iso-8859-1"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "sent as gzip"),
    ],
)
def test_a_body_that_says_to_be_something_else_is_not_read(
    labels: httpx2.Client, kind: dict[str, str], words: str
) -> None:
    found = labels.post("/v1/classify", content=b'{"model": "two", "input": "x"}', headers=kind)
    assert said(found) == ("415", "not_json") and words in found.text
    plain = {"content-type": 'Application/JSON; charset="UTF-8"'}
    assert (
        labels.post("/v1/classify", content='{"model": "two", "input": "ç"}'.encode(), headers=plain).status_code == 200
    )


def test_what_loads_refuses(labels: httpx2.Client, tmp_path: Path) -> None:
    for name, path, key, words in (
        ("bert", tmp_path, "lora_path", "base model's name"), ("new", "a\0b", "lora_path", "NUL"),
        ("new", tmp_path, "lora_path", "no adapter"), ("new", "x" * 5000, "lora_path", "4000"),
        ("a/b", tmp_path, "lora_name", "pattern"), ("new", "~nobody-here/x", "lora_path", "cannot be read"),
        ("two", tmp_path, "lora_name", "load_inplace"),
    ):  # fmt: skip
        found = labels.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(path)})
        assert said(found) == ("400", "invalid_value"), found.text
        assert found.json()["error"]["param"] == key and words in found.json()["error"]["message"]
    found = labels.post("/v1/unload_lora_adapter", json={"lora_name": "nobody"})
    assert said(found) == ("404", "model_not_found")


WRONG: list[tuple[str, str, str, dict[str, Any]]] = [
    ("/v1/classify", "input", "should be a valid string or a valid list, not 3", {"input": 3}),
    ("/v1/classify", "input.1", "should be a valid string, not 3", {"input": ["x", 3, 4]}),
    ("/v1/classify", "input", "should have at least 1 item, not []", {"input": []}),
    ("/v1/classify", "choices.1", 'should have at least 2 items, not ["c"]', {"choices": [["a", "b"], ["c"]]}),
    ("/v1/completions", "prompt.1", "should be a valid integer, not 'x'", {"prompt": [1, "x"]}),
    ("/v1/completions", "prompt.0.1", "should be greater than or equal to 0, not -2", {"prompt": [[1, -2]]}),
    ("/v1/completions", "prompt", 'should be a valid string or a valid list, not {"a": 1}', {"prompt": {"a": 1}}),
    ("/v1/completions", "model", "should be a valid string, not null", {"prompt": "x", "model": None}),
    ("/v1/completions", "stop", "should have at least 1 character, not ''", {"prompt": "x", "stop": ""}),
    ("/v1/chat/completions", "messages.0.content.0.type", "should be 'text', not 'image_url'",
     {"messages": [{"role": "user", "content": [{"type": "image_url", "text": "x"}]}]}),
    ("/v1/chat/completions", "response_format", "should be an object with keys, not 'text'",
     {"messages": [{"role": "user", "content": "x"}], "response_format": "text"}),
    ("/v1/chat/completions", "messages.0", "'name' is not supported here", {"messages": [{"role": "user", "name": "a"}]}),
    ("/predict", "inputs.0", 'should have at most 2 items, not ["a", "b", "c"]', {"inputs": [["a", "b", "c"]]}),
    ("/v1/chat/completions", "messages.0.role", "is required", {"messages": [{"content": "x"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "param", "words", "more"), WRONG, ids=[f"{own[0]} {own[1]}" for own in WRONG])
def test_a_wrong_key_is_named_where_it_stands(
    labels: httpx2.Client, path: str, param: str, words: str, more: dict[str, Any]
) -> None:
    """As the body has it, and not by the forms that the key may have."""
    given = {"input": "x"} if path == "/v1/classify" else {}
    error = labels.post(path, json={"model": "two"} | given | more).json()["error"]
    assert error["param"] == param and error["message"].removeprefix(f"'{param}'").lstrip(":. ").startswith(words)


def test_what_writes_refuses(writes: tuple[Any, httpx2.Client], monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = writes
    body = {"model": "anna", "prompt": "a cat", "max_tokens": 2}

    def ask(**more: Any) -> httpx2.Response:
        return client.post("/v1/completions", json=body | more)

    for more, code in (
        ({"echo": True}, "unsupported_value"), ({"best_of": 2}, "unsupported_value"), ({"n": 4}, "invalid_value"),
        ({"prompt": ["x", "y"], "n": 2}, "invalid_value"), ({"prompt": "parcel " * 90}, "context_length_exceeded"),
        ({"prompt": [10**6]}, "invalid_value"), ({"stream_options": {"include_usage": True}}, "invalid_value"),
    ):  # fmt: skip
        assert said(ask(**more)) == ("400", code), more
    found = client.post("/v1/completions", content=b'{"model": NaN}', headers={"content-type": "application/json"})
    assert said(found) == ("400", "invalid_json")
    assert said(client.get("/v1/models", headers={"host": "evil.example"})) == ("421", "wrong_host")

    # One waits while the engine does something else, which is the most here.
    engine, go_on = server.house.engine(), threading.Event()
    engine.do(lambda: go_on.wait(20))
    first: list[httpx2.Response] = []
    waiting = threading.Thread(target=lambda: first.append(ask()))
    waiting.start()
    assert until(lambda: engine.waiting == 1)
    assert said(ask()) == ("429", "queue_full")
    go_on.set()
    waiting.join()
    assert first[0].status_code == 200

    # A fault in the middle of a stream is an event of it, and no secret.
    def fault(*_: Any) -> Any:
        raise RuntimeError("the secret of this fault")

    with monkeypatch.context() as patch:
        patch.setattr("afina.serve.endpoints.completions.usage", fault)
        found = ask(stream=True, stream_options={"include_usage": True})
    assert (
        found.status_code == 200 and '"code":"internal"' in found.text.splitlines()[-2] and "secret" not in found.text
    )
    assert "[DONE]" not in found.text


def test_more_answers_than_may_wait_are_never_told_to_come_again(writes: tuple[Any, httpx2.Client]) -> None:
    """They were 429 for ever on a server that nobody else asked."""
    body = {"model": "anna", "max_tokens": 2}
    for more, param in (({"prompt": ["a", "b"]}, "prompt"), ({"prompt": "a", "n": 2}, "n")):
        found = writes[1].post("/v1/completions", json=body | more)
        assert said(found) == ("400", "invalid_value") and found.json()["error"]["param"] == param
        assert "That is 2 answers, and 1 may wait here" in found.text


def test_the_prompt_that_is_wrong_is_named(speaker: Callable[[str], Path]) -> None:
    with served(speaker("llama")) as (_, client):
        _wrong_prompts(client)


def _wrong_prompts(client: httpx2.Client) -> None:
    for prompt, param, words in (
        ("", "prompt", "The prompt is empty"), (["a cat", ""], "prompt.1", "Prompt 2 is empty"),
        (["a cat", "a " * 90], "prompt.1", "Prompt 2 has 90 tokens"), ("a " * 90, "prompt", "The prompt has 90 tokens"),
        ([[5], [10**6]], "prompt.1", "in the prompt"),
    ):  # fmt: skip
        found = client.post("/v1/completions", json={"model": "llama", "prompt": prompt, "max_tokens": 1})
        error = found.json()["error"]
        assert (error["param"], words in error["message"]) == (param, True), error
        # A number is no token by the name of nothing.
        assert "None" not in error["message"]
    for messages in ([{"role": "user", "content": "a " * 90}], [{"role": "user", "content": "a"}] * 70):
        error = client.post("/v1/chat/completions", json={"model": "llama", "messages": messages}).json()["error"]
        assert (error["param"], error["code"]) == ("messages", "context_length_exceeded"), error


def test_a_refusal_calls_nothing_by_its_place_on_the_servers_machine(
    labels: httpx2.Client, writes: tuple[Any, httpx2.Client], family_folder: Callable[..., Path]
) -> None:
    """Who asks over a network has a name, and whose folders there are is not theirs to know."""
    for client, path, body in (
        (labels, "/v1/classify", {"model": "single", "input": "a", "pairs": "b"}),
        (labels, "/v1/rerank", {"model": "single", "query": "a", "documents": ["b"]}),
        (labels, "/predict", {"model": "single", "inputs": ["a", "b"]}),
        (labels, "/v1/chat/completions", {"model": "bert", "messages": [{"role": "user", "content": "a"}]}),
        (writes[1], "/v1/completions", {"model": "anna", "prompt": [10**6]}),
        (writes[1], "/v1/completions", {"model": "llama", "prompt": [10**6]}),
    ):  # fmt: skip
        found = client.post(path, json=body)
        assert found.status_code == 400 and "/" not in found.json()["error"]["message"].replace("/v1/", ""), found.text


def test_what_takes_too_long_is_timed_whoever_it_waits_for(
    family_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: Any) -> None:
        await asyncio.sleep(5)

    monkeypatch.setattr(Classify, "answer", late)
    with served(family_folder("bert"), limits=ServeLimits(deadline=0.3)) as (_, client):
        assert said(client.post("/v1/classify", json={"model": "bert", "input": "x"})) == ("504", "deadline")
        head = "POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n"
        with socket.create_connection((client.base_url.host, client.base_url.port)) as own:
            own.settimeout(10)
            own.sendall(head.encode() + b"{")
            answer = b""
            while b"request_timeout" not in answer and (more := own.recv(4096)):
                answer += more
        assert answer.startswith(b"HTTP/1.1 408 ") and b'"request_timeout"' in answer


def test_who_is_broken_off_is_told_and_who_comes_later_too(speaker: Callable[[str], Path]) -> None:
    with served(speaker("llama")) as (server, client):
        body = {"model": server.house.bases.name, "prompt": "a cat", "max_tokens": 2}
        engine, go_on = server.house.engine(), threading.Event()
        engine.do(lambda: go_on.wait(20))
        found: list[httpx2.Response] = []
        asking = threading.Thread(target=lambda: found.append(client.post("/v1/completions", json=body)))
        asking.start()
        assert until(lambda: engine.waiting == 1)
        closing = threading.Thread(target=engine.close)
        closing.start()
        go_on.set()
        closing.join()
        asking.join()
        assert said(found[0]) == ("503", "broken_off")
        assert said(client.post("/v1/completions", json=body)) == ("503", "stopping")


def test_an_answer_is_sent_back_as_clients_have_it(writes: tuple[Any, httpx2.Client]) -> None:
    """OpenAI's client sends a message whole, `refusal` and what it cites among it."""
    server, client = writes
    asked: list[Any] = [{"role": "user", "content": "a cat"}]
    settings: Any = {"model": "anna", "max_tokens": 3, "temperature": 0}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as own:
        answer = own.chat.completions.create(messages=asked, **settings).choices[0].message
        turn = {"role": "user", "content": "the lamp"}
        whole = own.chat.completions.create(messages=[*asked, answer, turn], **settings)
    plain: list[Any] = [*asked, {"role": "assistant", "content": answer.content}, turn]
    body = settings | {"messages": plain}
    found = client.post("/v1/chat/completions", json=body).json()
    assert whole.choices[0].message.content == found["choices"][0]["message"]["content"]
    assert whole.usage is not None and whole.usage.prompt_tokens == found["usage"]["prompt_tokens"]
    plain[1] |= {"citations": [{"number": 1}], "cited_but_not_given": [], "tells": True, "annotations": []}
    assert client.post("/v1/chat/completions", json=body).json()["choices"] == found["choices"]
    plain[1]["refusal"] = "No."
    assert said(client.post("/v1/chat/completions", json=body)) == ("400", "invalid_value")


def test_the_documents_name_each_refusal_and_this_file_provokes_it() -> None:
    named = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE))
    here = set(re.findall(r'\("(\d{3})", "(\w+)"\)', Path(__file__).read_text(encoding="utf-8")))
    # Codes that are compared in a loop stand with one status.
    here |= {("400", code) for code in ("unsupported_value", "context_length_exceeded")} | {("408", "request_timeout")}
    assert named == here | ELSEWHERE
    assert {code for _, code in named} == {code for path in SERVE.rglob("*.py") for code in codes(path)}


def codes(path: Path) -> Iterator[str]:
    """Yield the codes of the refusals in a file."""
    places = {"Refusal": None, "wrong": "invalid_value", "busy": "rate_limit_exceeded"}
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in places:
            given = [own.value for own in call.keywords if own.arg == "code"] + call.args[2:3]
            found = [own.value for one in given for own in ast.walk(one) if isinstance(own, ast.Constant)]
            # Those that are handed on, and what is said of a comparison's two sides.
            yield from (str(one) for one in found if isinstance(one, str) and re.fullmatch("[a-z_]+", one))
            if not given and places[call.func.id] is not None:
                yield str(places[call.func.id])

"""Chats and completions over HTTP, as OpenAI's own client asks for them: each is what its adapter writes alone."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

import afina
from afina.serve.http.house import ServeLimits
from served import save, served

METHODS = {"anna": "lora", "bert": "prefix", "carl": "ia3", "dora": "prompt", "emil": "loreft"}
CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
PROMPTS = ["where is my parcel", "the lamp is broken please help me", "a cat"]


@pytest.fixture(scope="module")
def shelf(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writers")
    for seed, (name, method) in enumerate(METHODS.items()):
        save(speaker("llama"), folder / name, method, CHOICES, seed=seed)
    return folder


@pytest.fixture(scope="module")
def alone(shelf: Path) -> dict[str, list[str]]:
    """Give what each adapter, and the base, writes after each prompt by itself: no two write the same."""
    loaded: dict[str, Any] = {}
    for name in METHODS:
        loaded[name] = afina.load(shelf / name, beside=next(iter(loaded.values()), None))
    first = loaded["anna"]
    found = {name: [one.text for one in own.generate(PROMPTS, max_new_tokens=8)] for name, own in loaded.items()}
    bare = first.generate(PROMPTS, adapters=[None] * len(PROMPTS), max_new_tokens=8)
    found["llama"] = [one.text for one in bare]
    assert len({tuple(texts) for texts in found.values()}) == len(METHODS) + 1
    return found


@pytest.fixture(scope="module")
def running(speaker: Callable[[str], Path], shelf: Path) -> Iterator[tuple[Any, httpx2.Client]]:
    with served(speaker("llama"), adapters=shelf) as both:
        yield both


@pytest.fixture(scope="module")
def client(running: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running[0].url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_each_model_writes_what_it_writes_alone(client: openai.OpenAI, alone: dict[str, list[str]]) -> None:
    for name, texts in alone.items():
        found = client.completions.create(model=name, prompt=PROMPTS, max_tokens=8, temperature=0)
        assert [choice.text for choice in found.choices] == texts, name
        assert found.usage is not None and found.usage.completion_tokens <= 8 * len(PROMPTS)
        assert {choice.finish_reason for choice in found.choices} <= {"stop", "length"}


def test_a_stream_has_the_same_text_and_says_what_was_used(client: openai.OpenAI, shelf: Path) -> None:
    messages: Any = [{"role": "system", "content": "help"}, {"role": "user", "content": PROMPTS[0]}]
    settings: Any = {"model": "carl", "messages": messages, "max_completion_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**settings)
    own = afina.load(shelf / "carl")
    assert whole.choices[0].message.content == own.generate([messages], max_new_tokens=8)[0].text
    chunks = list(client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert all(chunk.usage is None for chunk in chunks[:-1]) and chunks[0].choices[0].delta.role == "assistant"
    plain = list(client.chat.completions.create(**settings, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in plain)


def test_seeds_choices_stops_and_log_probabilities(client: openai.OpenAI, alone: dict[str, list[str]]) -> None:
    settings: Any = {"model": "anna", "prompt": PROMPTS[0], "max_tokens": 8}
    drawn = [client.completions.create(**settings, seed=3, n=3, temperature=1.5) for _ in range(2)]
    texts = [[choice.text for choice in one.choices] for one in drawn]
    assert texts[0] == texts[1] and len(set(texts[0])) > 1
    assert client.completions.create(**settings, seed=4, temperature=1.5).choices[0].text == texts[0][1]
    greedy = alone["anna"][0]
    word = greedy.split()[2]
    stopped = client.completions.create(**settings, temperature=0, stop=[word]).choices[0]
    assert greedy.startswith(stopped.text) and word not in stopped.text and stopped.finish_reason == "stop"
    message: Any = [{"role": "user", "content": PROMPTS[0]}]
    chat = client.chat.completions.create(
        model="anna", messages=message, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2
    )
    said = chat.choices[0].logprobs
    assert said is not None and said.content is not None and said.content
    for one in said.content:
        assert one.logprob <= 0 and len(one.top_logprobs) == 2
        assert one.top_logprobs[0].token == one.token and one.top_logprobs[0].logprob >= one.top_logprobs[1].logprob
    log = client.completions.create(**settings, temperature=0, logprobs=1).choices[0].logprobs
    assert log is not None and len(log.tokens or []) == len(log.token_logprobs or []) == len(log.text_offset or []) > 0


def test_asyncio_asks_for_all_at_once(running: Any, alone: dict[str, list[str]]) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=f"{running[0].url}/v1", api_key="none", max_retries=0) as client:

            async def one(name: str, place: int) -> None:
                stream = await client.completions.create(
                    model=name, prompt=PROMPTS[place], max_tokens=8, temperature=0, stream=True
                )
                pieces = [chunk.choices[0].text async for chunk in stream]
                assert "".join(pieces) == alone[name][place], name

            await asyncio.gather(*(one(name, place) for name in alone for place in range(len(PROMPTS))))

    asyncio.run(ask())


REFUSED: list[tuple[int, str, dict[str, Any]]] = [
    (404, "model_not_found", {"model": "gpt-4o"}),
    (400, "unsupported_parameter", {"tools": [{"type": "function"}]}),
    (400, "unsupported_parameter", {"logit_bias": {"5": 1}}),
    (400, "unknown_parameter", {"temprature": 1}),
    (400, "invalid_value", {"response_format": {"type": "json_object"}}),
    (400, "invalid_value", {"response_format": {"type": "text", "schema": {}}}),
    (400, "invalid_value", {"temperature": 3}),
    (400, "invalid_value", {"n": 0}),
    (400, "invalid_value", {"n": True}),
    (400, "invalid_value", {"top_logprobs": 3}),
    (400, "invalid_value", {"max_tokens": 4, "max_completion_tokens": 4}),
    (400, "invalid_value", {"stream_options": {"include_usage": True}}),
    (400, "invalid_value", {"messages": []}),
    (400, "invalid_value", {"messages": [{"role": "assistant", "content": "x"}]}),
    (400, "invalid_value", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}),
    (400, "context_length_exceeded", {"messages": [{"role": "user", "content": "parcel " * 100}]}),
]


@pytest.mark.parametrize(("status", "code", "change"), REFUSED, ids=[str(own[2])[:60] for own in REFUSED])
def test_what_is_not_obeyed_is_refused(running: Any, status: int, code: str, change: dict[str, Any]) -> None:
    body = {"model": "anna", "messages": [{"role": "user", "content": "a cat"}], "max_tokens": 4} | change
    found = running[1].post("/v1/chat/completions", json=body)
    assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text


def test_what_changes_nothing_may_be_said(running: Any) -> None:
    body = {"model": "anna", "messages": [{"role": "user", "content": "a cat"}], "max_tokens": 2, "user": "ana"}
    body |= {"response_format": {"type": "text"}, "tools": None, "store": False, "n": 1, "stop": None}
    assert running[1].post("/v1/chat/completions", json=body).status_code == 200
    long = running[1].post("/v1/completions", json={"model": "anna", "prompt": "parcel " * 100})
    assert long.status_code == 400 and "100 tokens" in long.text and "takes 6" in long.text


def test_prometheus_reads_all_that_the_documents_name(running: Any) -> None:
    _, client = running
    assert client.post("/v1/completions", json={"model": "anna", "prompt": "a cat", "max_tokens": 3}).status_code == 200
    families = [*text_string_to_metric_families(client.get("/metrics").text)]
    # When a counter was made is told beside it.
    named = {f"{one.name}_total" if one.type == "counter" else one.name for one in families}
    named = {name for name in named if not name.endswith("_created")}
    text = (Path(__file__).parents[2] / "docs" / "how_to" / "serve.md").read_text(encoding="utf-8")
    asked = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bafina_\w+", text)}
    assert named == asked - {"afina_adapter"} and all(one.documentation for one in families)
    for one in families:
        rows = [each for each in one.samples if each.name == f"{one.name}_bucket"]
        counts = {
            str(each.labels.get("adapter")): each.value for each in one.samples if each.name == f"{one.name}_count"
        }
        for each, beyond in pairwise(rows):
            last = each.labels["le"] == "+Inf"
            assert each.value == counts[str(each.labels.get("adapter"))] if last else each.value <= beyond.value


def test_who_goes_away_frees_the_row(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = running
    engine = server.house.engine()
    turn = engine._batch.turn

    def slowly() -> Any:
        time.sleep(0.02)  # 50 tokens take a second: nobody ends by being done
        return turn()

    monkeypatch.setattr(engine._batch, "turn", slowly)
    body = {"model": "bert", "prompt": "a cat", "max_tokens": 50, "temperature": 0, "stream": True}
    for _ in range(3):
        with client.stream("POST", "/v1/completions", json=body) as response:
            assert next(response.iter_lines()).startswith("data: ")
    with pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/completions", json=body | {"stream": False}, timeout=0.2)
    ends = time.monotonic() + 10
    while (engine.running or engine.waiting) and time.monotonic() < ends:
        time.sleep(0.01)
    with engine.counters.steady() as counts:
        assert counts.ended["bert", "cancelled"] == 4
    assert not any(version.users for version in server.house.shelf.there())


def test_a_deadline_ends_what_is_written(speaker: Callable[[str], Path], shelf: Path) -> None:
    with served(speaker("llama"), adapters=shelf, preload=True, limits=ServeLimits(deadline=1.5)) as (server, client):
        body = {"model": "anna", "prompt": "a cat", "max_tokens": 50, "temperature": 0}
        assert client.post("/v1/completions", json=body | {"max_tokens": 1}).status_code == 200
        engine = server.house.engine()
        for stream in (False, True):
            engine.do(lambda: time.sleep(1.7))
            found = client.post("/v1/completions", json=body | {"stream": stream})
            text = found.text.removeprefix("data: ").partition("\n\n")[0] if stream else found.text
            assert json.loads(text)["error"]["code"] == "deadline", found.text
            assert found.status_code == (200 if stream else 504)


def test_a_reload_under_a_stream_changes_nothing_of_it(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    base = speaker("llama")
    old, new = save(base, tmp_path / "old", "lora", CHOICES, 1), save(base, tmp_path / "new", "ia3", CHOICES, 2)
    wanted = {path.name: afina.load(path).generate(["a cat"], max_new_tokens=30)[0].text for path in (old, new)}
    assert wanted["old"] != wanted["new"]
    with served(base, admin_key="secret-of-admin") as (server, client):
        admin = {"authorization": "Bearer secret-of-admin"}

        def load(path: Path) -> None:
            body = {"lora_name": "own", "lora_path": str(path), "load_inplace": True}
            assert client.post("/v1/load_lora_adapter", json=body, headers=admin).status_code == 200

        def metered(name: str) -> list[float]:
            text = client.get("/metrics", headers=admin).text
            return [
                float(value) for value in re.findall(rf'^afina_{name}{{.*adapter="own".*}} (\S+)$', text, re.MULTILINE)
            ]

        body = {"model": "own", "prompt": "a cat", "max_tokens": 30, "temperature": 0}
        load(old)
        (before,) = metered("adapter_version")
        with client.stream("POST", "/v1/completions", json=body | {"stream": True}) as response:
            lines = response.iter_lines()
            first = next(lines)
            held = server.house.shelf.current("own")
            load(new)
            fresh = client.post("/v1/completions", json=body).json()["choices"][0]["text"]
            events = [json.loads(line[6:]) for line in (first, *lines) if line.startswith("data: {")]
        assert "".join(event["choices"][0]["text"] for event in events) == wanted["old"]
        assert fresh == wanted["new"]
        ends = time.monotonic() + 10
        while held.predictor is not None and time.monotonic() < ends:
            time.sleep(0.01)
        assert held.predictor is None and held.retired
        # Counts are by name, over all versions; a gauge says which version it is now, as the access log does of each.
        assert metered("adapter_version") == [before + 1] == [server.house.shelf.current("own").number]
        assert metered("rows_total") == [2]

"""A server answers as the commands do, tells adapters and callers apart, and refuses in OpenAI's form."""

import asyncio
import gc
import json
import shutil
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import torch

import afina
from afina import api
from afina.errors import UsageError
from afina.serve import adapters
from afina.serve.http.house import ServeLimits
from afina.serve.http.keys import read_keys
from afina.serve.http.refusals import Refusal
from afina.serve.http.server import bound
from served import save, served, until

Loader = Callable[..., Path]
TWO = {"name": "classification", "label_names": ["late", "broken"]}
THREE = {"name": "classification", "label_names": ["a", "b", "c"]}
TEXTS = ["my parcel is late", "where is the lamp please help", "the kettle"]


@pytest.fixture(scope="module")
def shelf(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of adapters of one base, by four methods, and one of another base."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, method, state in (
        ("two", "lora", TWO), ("three", "ia3", THREE), ("runs/four", "prefix", {**TWO, "label_names": ["w", "z"]}),
        ("number", "bitfit", {"name": "regression", "mean": 2.0, "deviation": 3.0}),
    ):  # fmt: skip
        place = folder / name / "adapter" if "/" in name else folder / name
        save(family_folder("bert"), place, method, state)
    save(family_folder("distilbert"), folder / "stranger", "lora", TWO)
    return folder


@pytest.fixture(scope="module")
def running(family_folder: Loader, shelf: Path) -> Iterator[tuple[Any, httpx2.Client]]:
    """Give a server of that folder, which nothing changes."""
    with served(family_folder("bert"), adapters=shelf) as both:
        yield both


def test_texts_are_labelled_as_by_predict(running: Any, shelf: Path) -> None:
    _, client = running
    for name in ("two", "three", "number"):
        found = client.post("/v1/classify", json={"model": name, "input": TEXTS}).json()
        own = afina.load(shelf / name)
        for told, alone in zip(found["data"], own.predict(TEXTS), strict=True):
            wanted = alone.shown(None).answer
            assert told.pop("index") >= 0 and told.keys() == wanted.keys()
            assert told["label"] == (pytest.approx(wanted["label"], abs=1e-4) if name == "number" else wanted["label"])
            assert told.get("probabilities") == pytest.approx(wanted.get("probabilities"), abs=2e-4)
    assert found["cut"] == 0 and found["usage"]["total_tokens"] > len(TEXTS)
    found = client.post("/v1/classify", json={"model": "two", "input": "the kettle", "at_least": 1.0}).json()
    assert found["data"][0]["label"] is None and found["data"][0]["decided"] is False


def test_vectors_have_length_one_and_are_the_adapters(running: Any, shelf: Path) -> None:
    server, client = running
    asking = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    own = afina.load(shelf / "two")
    for model, wanted in (("two", own.embed(TEXTS)), ("bert", None)):
        found = asking.embeddings.create(model=model, input=TEXTS)  # which asks for base64
        vectors = np.array([one.embedding for one in found.data])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        if wanted is not None:
            wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
            np.testing.assert_allclose(vectors, wanted, atol=1e-4)
        plain = client.post("/embed", json={"model": model, "inputs": TEXTS, "normalize": True}).json()
        np.testing.assert_allclose(plain, vectors, atol=1e-5)
    asking.close()


def test_clients_of_embeddings_inference_are_answered(running: Any, shelf: Path) -> None:
    _, client = running
    alone = client.post("/adapters/three/predict", json={"inputs": TEXTS[0]}).json()
    wanted = afina.load(shelf / "three").predict(TEXTS[:1])[0].probabilities
    assert {one["label"]: one["score"] for one in alone} == pytest.approx(wanted, abs=1e-4)
    assert [one["score"] for one in alone] == sorted((one["score"] for one in alone), reverse=True)
    batch = client.post("/predict", json={"model": "three", "inputs": [[text] for text in TEXTS]}).json()
    assert [one["label"] for one in batch[0]] == [one["label"] for one in alone] and len(batch) == len(TEXTS)
    assert client.post("/predict", json={"inputs": "the kettle"}).status_code == 400  # of which adapter?


def test_documents_are_put_in_order(running: Any) -> None:
    _, client = running
    documents = ["the cat sat", "my parcel is late", "great film"]
    for model, score in (("bert", "cosine"), ("number", "number"), ("two", "broken"), ("three", "b")):
        body = {"model": model, "query": "my parcel is late", "documents": documents, "return_documents": True}
        found = client.post("/v1/rerank", json=body | ({"label": "b"} if model == "three" else {})).json()
        scores = [one["relevance_score"] for one in found["results"]]
        assert scores == sorted(scores, reverse=True) and found["score"] == score
        assert all(one["document"]["text"] == documents[one["index"]] for one in found["results"])
    assert client.post("/v1/rerank", json={**body, "label": None}).status_code == 400  # of three labels which?


def test_models_are_listed_with_their_parent(running: Any) -> None:
    server, client = running
    asking = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    listed = {one.id: one.parent for one in asking.models.list()}
    assert listed == {"bert": None, "stranger": "bert"} | dict.fromkeys(("two", "three", "four", "number"), "bert")
    assert asking.models.retrieve("two").id == "two"
    with pytest.raises(openai.NotFoundError):
        asking.models.retrieve("five")
    asking.close()
    refused = client.post("/v1/classify", json={"model": "stranger", "input": "x"})
    assert refused.status_code == 404
    assert "adapts" in (sentence := refused.json()["error"]["message"]) and "not bert" in sentence


def test_who_is_asked_to_write_and_cannot_says_what_to_ask_instead(running: Any) -> None:
    _, client = running
    for model in ("two", "bert"):
        found = client.post("/v1/completions", json={"model": model, "prompt": "the kettle"})
        assert found.status_code == 400
        assert "/v1/classify" in found.json()["error"]["message"]
        assert "task:" not in found.text


WRONG: list[tuple[int, str, dict[str, Any]]] = [
    (404, "model_not_found", {"model": "two ", "input": "x"}),
    (404, "model_not_found", {"model": "../two", "input": "x"}),
    (400, "unknown_parameter", {"model": "two", "input": "x", "inputs": "y"}),
    (400, "missing_required_parameter", {"input": "x"}),
    (400, "invalid_value", {"model": "two", "input": ""}),
    (400, "invalid_value", {"model": "two", "input": []}),
    (400, "invalid_value", {"model": "two", "input": ["x", 3]}),
    (400, "invalid_value", {"model": 3, "input": "x"}),
    (400, "invalid_value", {"model": "bert", "input": "x"}),
    (400, "invalid_value", {"model": "two", "input": "x", "pairs": ["y", "z"]}),
    (400, "invalid_value", {"model": "number", "input": "x", "at_least": 0.5}),
]


@pytest.mark.parametrize(("status", "code", "body"), WRONG, ids=[str(own[2]) for own in WRONG])
def test_what_is_wrong_is_refused_in_openais_form(running: Any, status: int, code: str, body: dict[str, Any]) -> None:
    _, client = running
    found = client.post("/v1/classify", json=body)
    assert (found.status_code, found.json()["error"]["code"]) == (status, code), found.text
    assert set(found.json()["error"]) == {"message", "type", "param", "code"} and found.headers["x-request-id"]


def test_bodies_that_are_none_are_refused(running: Any) -> None:
    _, client = running
    header = {"content-type": "application/json"}
    for raw in (b"", b"{", b"[]", b"3", b'{"model": "two", "model": "two"}', b'{"a": NaN}', b"\xff", b'{"a":' * 90_000):
        found = client.post("/v1/classify", content=raw, headers=header)
        assert found.status_code == 400 and found.json()["error"]["code"] == "invalid_json", raw[:20]
    half = b'{"model": "two", "input": "\\ud800"}'
    assert client.post("/v1/classify", content=half, headers=header).json()["error"]["code"] == "invalid_json"
    assert client.post("/v1/classify", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.get("/v1/classify").status_code == 405 and client.get("/v2").status_code == 404
    long = client.post("/v1/embeddings", json={"model": "bert", "input": "parcel " * 100})
    assert long.status_code == 400 and "takes 64" in long.text and "102 tokens" in long.text


def test_a_mark_of_the_encoding_before_a_body_is_no_part_of_it(running: Any) -> None:
    _, client = running
    body = json.dumps({"model": "two", "input": "x"}).encode("utf-8-sig")
    assert client.post("/v1/classify", content=body, headers={"content-type": "application/json"}).status_code == 200


def test_requests_that_come_together_share_passes_and_are_counted(running: Any) -> None:
    server, client = running
    before = client.get("/metrics").text
    codes: list[int] = []

    def ask(name: str) -> None:
        with httpx2.Client(base_url=server.url, timeout=60) as own:
            codes.append(own.post("/v1/classify", json={"model": name, "input": "the kettle"}).status_code)

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("two", "three", "four") * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = client.get("/metrics").text
    assert codes == [200] * 24

    def counted(text: str, start: str) -> float:
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(start))

    for name in ("two", "three", "four"):
        line = f'afina_requests_total{{adapter="{name}",path="/v1/classify",status="200"}}'
        assert counted(after, line) - counted(before, line) == 8
    passes = "afina_rows_a_step_count"
    assert counted(after, passes) - counted(before, passes) < 24


def test_small_answers_are_sent_at_once() -> None:
    """asyncio sets TCP_NODELAY on connections of a socket whose protocol is named; without it each answer takes 40 ms."""

    async def no_delay() -> list[int]:
        seen: list[int] = []

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            seen.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        place = bound("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=place):
            reader, writer = await asyncio.open_connection(*place.getsockname())
            await reader.read()
            writer.close()
        return seen

    (seen,) = asyncio.run(no_delay())
    assert seen


def test_keys_see_their_own_adapters_alone(family_folder: Loader, shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(
        "- {name: ana, key: secret-of-ana, adapters: [two]}\n"
        "- {name: bia, key: secret-of-bia, adapters: [three, bert], rate: 3}\n"
    )
    log = tmp_path / "log.jsonl"
    settings: Any = {"keys": tmp_path / "keys.yaml", "admin_key": "secret-of-admin", "log": log}
    with served(family_folder("bert"), adapters=shelf, **settings) as (_, client):

        def ask(key: str, model: str) -> httpx2.Response:
            header = {"authorization": f"Bearer {key}"}
            return client.post("/v1/classify", json={"model": model, "input": "the secret kettle"}, headers=header)

        assert ask("secret-of-ana", "two").status_code == 200 and ask("secret-of-bia", "three").status_code == 200
        hidden, absent = ask("secret-of-ana", "three"), ask("secret-of-ana", "nothing")
        assert hidden.status_code == absent.status_code == 404
        assert hidden.json()["error"]["message"].replace("three", "nothing") == absent.json()["error"]["message"]
        assert ask("secret-of-ann", "two").status_code == 401
        assert client.get("/v1/models").status_code == 401
        header = {"authorization": "Bearer secret-of-ana"}
        assert [one["id"] for one in client.get("/v1/models", headers=header).json()["data"]] == ["two"]
        assert client.get("/metrics", headers=header).status_code == 403
        assert client.get("/health").status_code == 200
        codes = [ask("secret-of-bia", "three").status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        refused = ask("secret-of-bia", "three")
        assert int(refused.headers["retry-after"]) >= 1 and refused.json()["error"]["type"] == "rate_limit_error"
        admin = {"authorization": "Bearer secret-of-admin"}
        assert client.get("/metrics", headers=admin).status_code == 200
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line.get("key") for line in lines} == {"ana", "bia", "admin-key", None}
    assert "secret" not in text and all(line["request"] and line["seconds"] >= 0 for line in lines)


@pytest.mark.parametrize("of", ["key", "server"])
def test_a_key_may_ask_less_than_once_a_minute(of: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(f"- {{name: ana, key: secret-of-ana{', rate: 0.5' if of == 'key' else ''}}}\n")
    caller = read_keys(file, None, None, None if of == "key" else 0.5).who("Bearer secret-of-ana")
    caller.count()
    with pytest.raises(Refusal, match=r"0\.5 times a minute") as refused:
        caller.count()
    assert refused.value.retry_after == pytest.approx(120, rel=0.01)


def test_folders_that_come_change_and_go_are_noticed(family_folder: Loader, tmp_path: Path) -> None:
    base, shelf = family_folder("bert"), tmp_path / "shelf"
    save(base, shelf / "own", "lora", TWO, seed=1)
    with served(adapters=shelf, limits=ServeLimits(watch=0.05)) as (server, client):  # the base is the adapters' own

        def ask(name: str) -> dict[str, Any]:
            found = client.post("/v1/classify", json={"model": name, "input": "the kettle"})
            return found.json()["data"][0]["probabilities"] if found.status_code == 200 else found.json()["error"]

        first = ask("own")
        assert ask("new")["code"] == "model_not_found"
        save(base, shelf / "new", "ia3", THREE)
        assert set(ask("new")) == {"a", "b", "c"}  # at once, as nobody knew the name
        held = server.house.shelf.take("own")
        weights = [own.detach().clone() for own in held.loaded().adapter.parameters()]
        save(base, shelf / "own", "bitfit", TWO, seed=2)
        assert until(lambda: ask("own") != first)
        assert held.predictor is not None and held.retired  # whoever holds the old one keeps it
        now = list(held.predictor.adapter.parameters())
        assert all(torch.equal(one, other) for one, other in zip(weights, now, strict=True))
        server.house.shelf.give_back(held)
        assert held.predictor is None
        (shelf / "own" / "adapter_model.safetensors").write_bytes(b"broken")
        assert until(lambda: "cannot be loaded" in ask("own").get("message", ""))
        assert str(tmp_path) not in ask("own")["message"]
        shutil.rmtree(shelf / "own")
        assert until(lambda: "no model" in ask("own").get("message", ""))


def test_an_admin_loads_and_unloads(family_folder: Loader, tmp_path: Path) -> None:
    base = family_folder("bert")
    one, other = save(base, tmp_path / "one", "lora", TWO), save(base, tmp_path / "other", "lora", THREE)
    with served(base, admin_key="secret-of-admin") as (_, client):
        admin = {"authorization": "Bearer secret-of-admin"}

        def load(folder: Path, code: int = 200, **more: Any) -> None:
            body = {"lora_name": "own", "lora_path": str(folder), **more}
            assert client.post("/v1/load_lora_adapter", json=body, headers=admin).status_code == code

        def labels() -> int:
            found = client.post("/v1/classify", json={"model": "own", "input": "x"})
            return len(found.json()["data"][0]["probabilities"]) if found.status_code == 200 else found.status_code

        assert client.post("/v1/load_lora_adapter", json={"lora_name": "own", "lora_path": "x"}).status_code == 403
        load(one)
        assert labels() == 2
        load(other, 400)
        load(other, load_inplace=True)
        assert labels() == 3
        load(tmp_path, 400, load_inplace=True)
        assert labels() == 3
        gone = client.post("/v1/unload_lora_adapter", json={"lora_name": "own"}, headers=admin)
        assert gone.status_code == 200 and labels() == 404


def test_of_two_who_load_a_name_at_one_time_one_is_refused(family_folder: Loader, tmp_path: Path) -> None:
    base = family_folder("bert")
    body = {"lora_name": "own", "lora_path": str(save(base, tmp_path / "one", "lora", TWO))}
    with served(base, admin_key="secret-of-admin") as (_, client), ThreadPoolExecutor(4) as threads:
        client.headers["authorization"] = "Bearer secret-of-admin"
        codes = threads.map(lambda _: client.post("/v1/load_lora_adapter", json=body).status_code, range(4))
        assert sorted(codes) == [200, 400, 400, 400]


def test_a_name_that_is_taken_away_while_it_loads_leaves_nothing_in_memory(
    family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = family_folder("bert")
    save(base, tmp_path / "own", "lora", TWO)
    with served(base, adapters=tmp_path) as (server, client):
        shelf, real = server.house.shelf, adapters.load

        def load(*given: Any, **more: Any) -> Any:
            shelf.drop("own")
            return real(*given, **more)

        with monkeypatch.context() as patch:
            patch.setattr(adapters, "load", load)
            found = client.post("/v1/classify", json={"model": "own", "input": "x"})
        assert found.status_code == 404 and not shelf.there()


@pytest.mark.always
def test_versions_that_nobody_holds_leave_memory(family_folder: Loader, tmp_path: Path) -> None:
    base = family_folder("bert")
    one, other = save(base, tmp_path / "one", "lora", TWO), save(base, tmp_path / "other", "prefix", THREE)
    with served(base) as (server, client):
        shelf, gone, versions = server.house.shelf, [], []
        for turn in range(20):
            shelf.put("own", (one, other)[turn % 2])
            answer = client.post("/v1/classify", json={"model": "own", "input": "the kettle"}).json()
            assert len(answer["data"][0]["probabilities"]) == 2 + turn % 2
            versions.append(shelf.current("own"))
            gone.append(weakref.ref(versions[-1].loaded().adapter))
        shelf.drop("own")
        assert until(lambda: all(own.users == 0 and own.predictor is None for own in versions))
        assert until(lambda: gc.collect() >= 0 and not any(own() is not None for own in gone))
        assert not shelf.there() and shelf.names() == []


def test_limits_are_said_with_their_status(family_folder: Loader, shelf: Path) -> None:
    limits = ServeLimits(queue=4, body=2000, deadline=1.5, stuck=0.3)
    with served(family_folder("bert"), adapters=shelf, limits=limits) as (server, client):
        server.house.shelf.give_back(server.house.shelf.take("two"))

        def ask(text: str | list[str]) -> httpx2.Response:
            return client.post("/v1/classify", json={"model": "two", "input": text})

        assert ask("x" * 3000).status_code == 413
        assert ask(["the kettle"] * 100).status_code == 200  # more than may wait, where nobody does
        blocked, go_on = threading.Event(), threading.Event()

        def hold(rows: int, seconds: float) -> None:
            if rows == 1:  # not the last pass of the hundred, which may still be on its way here
                blocked.set()
                go_on.wait(20)

        server.house.encoders._told = hold
        late = ask("the kettle")  # answered, and the thread stops behind it
        assert late.status_code == 200 and blocked.wait(5)
        assert ask("the kettle").status_code == 504
        health = client.get("/health")
        assert health.status_code == 503 and "no turn" in health.json()["status"]
        server.house.encoders._rows_in += 4
        full = ask("the kettle")
        assert full.status_code == 429 and full.headers["retry-after"]
        server.house.encoders._rows_in -= 4
        go_on.set()
        assert until(lambda: client.get("/health").status_code == 200)
        server.house.encoders.stop()
        assert client.get("/ready").status_code == 503 and ask("the kettle").status_code == 503


def test_what_runs_is_finished_when_told_to_stop(family_folder: Loader, shelf: Path) -> None:
    with served(family_folder("bert"), adapters=shelf, limits=ServeLimits(gather=0.5)) as (server, client):
        found: list[int] = []
        asking = threading.Thread(
            target=lambda: found.append(
                client.post("/v1/classify", json={"model": "two", "input": "the kettle"}).status_code
            )
        )
        asking.start()
        assert until(lambda: server.house.encoders.rows_waiting > 0)
        server.stop()
        asking.join()
        assert found == [200]
        with pytest.raises(httpx2.ConnectError):
            client.get("/health")


def test_what_cannot_be_served_is_said_in_a_sentence(family_folder: Loader, shelf: Path, tmp_path: Path) -> None:
    for settings, part in (
        ({}, "BASE"), ({"adapters": tmp_path / "none"}, "is no folder"), ({"adapters": shelf}, "several models"),
        ({"base": str(family_folder("bert")), "adapters": shelf, "preload": True}, "adapts"),
        ({"base": str(family_folder("bert")), "host": "256.1.1.1"}, "cannot be had"), ({"port": 70000}, "--port"),
        ({"base": "minilm", "api_key": "short"}, "too short"), ({"base": "minilm", "rate": 0.0}, "--rate"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=part):
            api.serve(**{"port": 0} | settings)


def test_a_port_is_one_servers(running: Any) -> None:
    port = int(running[0].url.rpartition(":")[2])
    with pytest.raises(UsageError, match="cannot be had"):
        api.serve("minilm", port=port)

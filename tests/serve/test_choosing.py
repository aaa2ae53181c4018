"""Adapters that choose among answers label texts as `afina predict` does, while the same model writes for others."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import afina
from afina.predictor.chooser import Chooser
from afina.serve.choosing import Question
from served import save, served

LABELLED = {"name": "choices", "answers": 3, "label_names": ["late", "broken", "a cat"], "prompt": "{text} is"}
FREE = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
TEXTS = ["my parcel is", "where is the lamp please help", "the kettle"] * 9
EACH = [["late", "broken", "please"], ["a cat", "the lamp is broken"], ["late", "please help"]] * 9


@pytest.fixture(scope="module", params=["llama", "t5"])
def shelf(request: Any, speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("choosers")
    for name, method, state in (("three", "lora", LABELLED), ("free", "prefix", FREE), ("writer", "ia3", FREE)):
        save(speaker(request.param), folder / name, method, state)
    return folder


@pytest.fixture(scope="module")
def running(shelf: Path) -> Iterator[tuple[Any, httpx2.Client]]:
    with served(adapters=shelf) as both:
        yield both


def test_choices_are_those_of_predict_and_rows_that_are_written_do_not_notice(running: Any, shelf: Path) -> None:
    server, client = running
    wanted = {name: afina.load(shelf / name) for name in ("three", "free", "writer")}
    alone = wanted["writer"].generate(["where is my parcel"], max_new_tokens=40)[0].text
    body = {"model": "writer", "prompt": "where is my parcel", "max_tokens": 40, "temperature": 0, "stream": True}
    with client.stream("POST", "/v1/completions", json=body) as response:
        lines = response.iter_lines()
        first = next(lines)
        own = client.post("/v1/classify", json={"model": "three", "input": TEXTS, "at_least": 0.4}).json()
        given = client.post("/v1/classify", json={"model": "free", "input": TEXTS, "choices": EACH}).json()
        events = [json.loads(line[6:]) for line in (first, *lines) if line.startswith("data: {")]
    assert "".join(event["choices"][0]["text"] for event in events) == alone
    steps = server.house.engine().counters
    assert steps.steps > 0 and steps.ended["writer", "length"] + steps.ended["writer", "stop"] >= 1
    for name, found, choices in (("three", own, None), ("free", given, EACH)):
        predictions = wanted[name].predict(TEXTS, choices=choices)
        for told, one in zip(found["data"], predictions, strict=True):
            shown = one.shown(0.4 if name == "three" else None).answer
            assert told.pop("index") >= 0 and told["probabilities"] == pytest.approx(shown["probabilities"], abs=2e-4)
            assert list(told["probabilities"]) == list(shown["probabilities"]), "as predict has them"
            assert told["label"] == shown["label"]
        assert found["usage"]["prompt_tokens"] > len(TEXTS) and found["cut"] == 0
    shared = client.post("/v1/classify", json={"model": "free", "input": TEXTS[0], "choices": EACH[0]}).json()
    assert shared["data"][0]["label"] == given["data"][0]["label"]
    scores = client.post("/adapters/three/predict", json={"inputs": TEXTS[0]}).json()
    assert {one["label"]: one["score"] for one in scores} == pytest.approx(
        wanted["three"].predict(TEXTS[:1])[0].probabilities, abs=1e-4
    )
    assert server.house.choosing == 0


def test_choices_that_cannot_be_are_refused_by_their_key(running: Any) -> None:
    _, client = running
    for param, body in (
        ("choices", {"model": "free", "input": "x"}),
        ("choices", {"model": "three", "input": "x", "choices": ["late", "broken"]}),
        ("choices", {"model": "free", "input": "x", "choices": ["late", "late"]}),
        ("choices", {"model": "free", "input": "x", "choices": ["late", " "]}),
        ("choices", {"model": "free", "input": ["x", "y"], "choices": [["late", "broken"]]}),
        ("choices", {"model": "free", "input": ["x"], "choices": [["late"]]}),
        ("choices", {"model": "free", "input": ["x"], "choices": []}),
        ("choices", {"model": "free", "input": ["x"], "choices": [["late"] * 2, "broken"]}),
        ("input", {"model": "three", "input": ["x", " "]}),
        ("model", {"model": server_name(client), "input": "x"}),
    ):
        found = client.post("/v1/classify", json=body)
        assert found.status_code == 400, (body, found.text)
        error = found.json()["error"]
        assert (error["param"] or "").split(".")[0] == param, (body, error)
    for path, body in (
        ("/v1/embeddings", {"model": "three", "input": "x"}),
        ("/predict", {"model": "free", "inputs": "x"}),
        ("/predict", {"model": "three", "inputs": "x", "raw_scores": True}),
    ):
        found = client.post(path, json=body)
        assert found.status_code == 400 and found.json()["error"]["type"] == "invalid_request_error", found.text


@pytest.fixture(scope="module")
def wide(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Give a server of a model that reads thousands of tokens, with an adapter that has no labels of its own."""
    base = tmp_path_factory.mktemp("wide") / "wide"
    shutil.copytree(speaker("llama"), base)
    settings = json.loads((base / "config.json").read_text()) | {"max_position_embeddings": 8192}
    (base / "config.json").write_text(json.dumps(settings))
    save(base, base.parent / "shelf" / "free", "lora", FREE, max_length=4000)
    with served(base, adapters=base.parent / "shelf") as (_, client):
        yield client


def test_a_text_with_very_many_choices_is_refused_with_both_numbers(wide: httpx2.Client) -> None:
    """All of them go through the model at one time, while those who write wait."""
    body = {"model": "free", "choices": [f"late{number}" for number in range(64)]}
    found = wide.post("/v1/classify", json=body | {"input": "parcel " * 127})
    assert found.status_code == 200 and found.json()["usage"]["total_tokens"] == 64 * 128 == 8192
    found = wide.post("/v1/classify", json=body | {"input": "parcel " * 128})
    error = found.json()["error"]
    assert (found.status_code, error["param"], error["code"]) == (400, "input", "context_length_exceeded")
    assert f"{64 * 129:,} tokens" in error["message"] and "8,192" in error["message"]


def test_long_choices_are_counted_read_apart_and_not_read_whole(
    wide: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = ["parcel " * 700, "late " * 700]
    assert [len(one.texts) for one in Question(["a cat"] * 3, None, [long] * 3).parts(2)] == [1, 1, 1]
    assert [len(one.texts) for one in Question(["a cat"] * 3, None, [["late", "broken"]] * 3).parts(2)] == [3]
    readers, plain = list[str](), Chooser.read

    def read(own: Chooser, *given: Any) -> Any:
        readers.append(threading.current_thread().name)
        return plain(own, *given)

    monkeypatch.setattr(Chooser, "read", read)
    found = wide.post("/v1/classify", json={"model": "free", "input": ["a cat"] * 3, "choices": long})
    assert found.status_code == 200 and found.json()["usage"]["total_tokens"] == 3 * 2 * 702
    assert len(readers) == 3 and not any(name.startswith("afina-engine") for name in readers)
    began = time.process_time()
    found = wide.post(
        "/v1/classify", json={"model": "free", "input": "a cat", "choices": ["late", "parcel " * 500_000]}
    )
    assert found.status_code == 400 and "fills all 4000 tokens" in found.text and len(found.text) < 400
    assert time.process_time() - began < 1, "all of it takes three seconds"


def test_models_say_who_labels(running: Any) -> None:
    _, client = running
    listed = {one["id"]: (one["writes"], one["classifies"]) for one in client.get("/v1/models").json()["data"]}
    assert listed.pop(server_name(client)) == (True, False)
    assert listed == {"three": (True, True), "free": (True, False), "writer": (True, False)}


def server_name(client: httpx2.Client) -> str:
    """Return the base's name."""
    return next(one["id"] for one in client.get("/v1/models").json()["data"] if one["parent"] is None)

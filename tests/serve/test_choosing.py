"""Adapters that choose among answers label texts as `afina predict` does, while the same model writes for others."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import afina
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


def test_models_say_who_labels(running: Any) -> None:
    _, client = running
    listed = {one["id"]: (one["writes"], one["classifies"]) for one in client.get("/v1/models").json()["data"]}
    assert listed.pop(server_name(client)) == (True, False)
    assert listed == {"three": (True, True), "free": (True, False), "writer": (True, False)}


def server_name(client: httpx2.Client) -> str:
    """Return the base's name."""
    return next(one["id"] for one in client.get("/v1/models").json()["data"] if one["parent"] is None)

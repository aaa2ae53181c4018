"""Whatever a body holds, it gets an answer or a refusal in OpenAI's form: never a fault of the server, never a stuck row."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from afina.serve.http.endpoint import ENDPOINTS
from examples import examples
from served import save, served

PLACES = [name for name, own in ENDPOINTS.items() if own.body is not None]
NAMES = ["own", "labels", "llama", "nobody", "", "../own"]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["a cat", "user", "parcel " * 90, "float", "text", 1, 2, 0.5, *NAMES])
)  # fmt: skip
WORDS = st.sampled_from(["role", "content", "type", "text", "include_usage", "name"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
RIGHT: dict[str, Any] = {
    "model": "own", "messages": [{"role": "user", "content": "a cat"}], "prompt": "a cat", "input": "a cat",
    "inputs": "a cat", "query": "a cat",
    "documents": ["a cat", "a lamp"], "max_tokens": 3, "lora_name": "labels", "lora_path": "/nowhere",
}  # fmt: skip


@pytest.fixture(scope="module")
def client(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    base, folder = speaker("llama"), tmp_path_factory.mktemp("fuzz")
    save(base, folder / "own", "lora", {"name": "choices", "answers": 2, "label_names": None, "prompt": None})
    save(base, folder / "labels", "lora", {"name": "classification", "label_names": ["a", "b"]})
    with served(base, adapters=folder, admin_key="secret-of-admin") as (server, made):
        made.headers["authorization"] = "Bearer secret-of-admin"
        yield made
        engine = server.house.engine()
        assert not engine.running and not engine.waiting and not server.house.encoders.rows_waiting
        assert not any(version.users for version in server.house.shelf.there())


@pytest.mark.parametrize("place", PLACES)
@examples(6, 25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_is_a_fault(client: httpx2.Client, place: str, data: st.DataObject) -> None:
    own = ENDPOINTS[place].body
    assert own is not None
    keys = [*own.model_fields, *sorted(own.unsupported)[:4], "other"]
    body = {key: value for key, value in RIGHT.items() if key in own.model_fields}
    body |= data.draw(st.dictionaries(st.sampled_from(keys), VALUES, max_size=3))
    if "model" in own.model_fields and data.draw(st.booleans()):
        body["model"] = data.draw(st.sampled_from(NAMES))
    raw = json.dumps(body).encode()
    if data.draw(st.integers(0, 9)) == 0:
        raw = raw[: data.draw(st.integers(0, len(raw)))] + data.draw(st.binary(max_size=3))
    found = client.post(place.replace("{model}", "own"), content=raw, headers={"content-type": "application/json"})
    assert found.status_code in (200, 400, 404), found.text
    if found.status_code != 200:
        assert set(found.json()["error"]) == {"message", "type", "param", "code"} and found.json()["error"]["message"]
    elif not found.headers["content-type"].startswith("text/event-stream"):
        found.json()
    else:
        assert "data: [DONE]" in found.text

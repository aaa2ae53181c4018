"""What a request asks beside its texts is obeyed or refused, whatever kind of adapter it asks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import afina
from afina.errors import UsageError
from served import save, served

TAG = {"name": "tagging", "label_names": ["O", "B-a", "I-a"]}
FREE = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
LONG = "lamp " * 80


@pytest.fixture(scope="module")
def shelf(family_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    save(family_folder("bert"), folder / "tag", "lora", TAG)
    save(family_folder("bert"), folder / "vector", "lora", {"name": "embedding"})
    return folder


@pytest.fixture(scope="module")
def client(family_folder: Callable[..., Path], shelf: Path) -> Iterator[httpx2.Client]:
    with served(family_folder("bert"), adapters=shelf) as (_, made):
        yield made


def refused(found: httpx2.Response) -> tuple[Any, Any, str]:
    """Return what is said of a refusal."""
    error = found.json()["error"]
    return error["code"], error["param"], error["message"]


def test_who_tags_takes_no_second_texts(client: httpx2.Client, shelf: Path) -> None:
    """They were passed over, and the answer was that of the first texts alone."""
    body = {"model": "tag", "input": ["my lamp", "a cat"]}
    found = client.post("/v1/classify", json=body | {"pairs": ["the lamp", "x"]})
    assert refused(found) == ("invalid_value", "pairs", "tag tags the words of one text at a time; it takes no pairs.")
    assert client.post("/v1/classify", json=body).status_code == 200
    with pytest.raises(UsageError, match="wants no second texts"):
        afina.load(shelf / "tag").predict(["my lamp"], ["a cat"])


@pytest.mark.parametrize("model", ["bert", "vector"])
def test_who_orders_by_vectors_has_no_label_to_order_by(client: httpx2.Client, model: str) -> None:
    """The label was passed over, and the score was the cosine's."""
    body = {"model": model, "query": "a lamp", "documents": ["the lamp", "a cat"]}
    found = client.post("/v1/rerank", json=body | {"label": "late"})
    assert refused(found) == ("invalid_value", "label", f"{model} orders by vectors and has no labels.")
    assert client.post("/v1/rerank", json=body | {"label": None}).json()["score"] == "cosine"


def test_a_text_that_is_cut_before_each_of_its_answers_is_one(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    """It was counted once for each answer."""
    save(speaker("llama"), tmp_path / "free", "lora", FREE)
    save(speaker("llama"), tmp_path / "named", "lora", FREE | {"answers": 3, "label_names": ["late", "cat", "lamp"]})
    three, two = ["late", "cat", "lamp"], ["late", "cat"]
    with served(speaker("llama"), adapters=tmp_path) as (_, client):
        for texts, choices, cut in (
            ([LONG], [three], 1), ([LONG, "a", LONG], [two, three, two], 2), (["a"], [three], 0),
        ):  # fmt: skip
            body = {"model": "free", "input": texts, "choices": choices}
            assert client.post("/v1/classify", json=body).json()["cut"] == cut
            assert afina.load(tmp_path / "free").predict(texts, choices=choices).cut == cut  # type: ignore[attr-defined]
        code, param, said = refused(client.post("/predict", json={"model": "named", "inputs": LONG}))
        assert (code, param) == ("context_length_exceeded", "input") and said.startswith("The text, with an answer")
        said = refused(client.post("/predict", json={"model": "named", "inputs": [[LONG], ["a"]]}))[2]
        assert said.startswith("1 of 2 texts, with an answer behind it, has more than the 60 tokens")

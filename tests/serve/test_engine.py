"""The engine: rows of many adapters come and go, and each is written as if it were alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afina.adapters.adapter import build_adapter
from afina.backbone.load import Backbone, load_backbone
from afina.generation.generate import encode_prompt, write
from afina.generation.rows import Request, Written
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from afina.serve.engine import Engine
from afina.serve.reply import Ask
from pairs import stir

METHODS = ["lora", "prompt", "loreft", "prefix", "parallel", "llama-adapter", "ia3", "pfeiffer", "bitfit", "ptuning"]
TEXT = "where is my parcel and the lamp please help a cat"


@pytest.fixture(scope="module")
def backbone(speaker: Callable[[str], Path]) -> Backbone:
    loaded = load_backbone(str(speaker("llama")), speaks=True)
    loaded.generation = type(loaded.generation)(eos_token_id=None)
    loaded.tokenizer.eos_token = None  # every answer is as long as it may be
    return loaded


@pytest.fixture(scope="module")
def adapters(backbone: Backbone) -> list[Any]:
    made = [build_adapter(make_method(name, {}, {"rank": 3, "length": 3}), backbone, 1, seed=0) for name in METHODS]
    for adapter in made:
        stir(adapter)
    return made


@pytest.fixture
def engine(backbone: Backbone) -> Iterator[Engine]:
    with Engine(backbone, prompt_tokens_a_turn=4) as running:
        yield running


def alone(backbone: Backbone, ask: Ask) -> Written:
    request = Request(ask.prompt, ask.adapter, ask.stop, 0, ask.tokenizer)
    (written,) = (piece.written for piece in write(backbone, [request], ask.settings) if piece.written is not None)
    return written


def some_asks(backbone: Backbone, adapters: list[Any]) -> list[Ask]:
    ids = encode_prompt(backbone, TEXT)
    return [
        Ask(
            prompt=ids[: 2 + number % 9], adapter=adapter, name=str(number),
            settings=GenerationSettings(max_new_tokens=3 + number % 7, temperature=(number % 3) * 0.9, seed=number),
        )
        for number, adapter in enumerate([None, *adapters, None, *adapters])
    ]  # fmt: skip


def test_rows_of_all_methods_come_and_go_and_are_what_they_are_alone(backbone: Backbone, adapters: list[Any]) -> None:
    asks = some_asks(backbone, adapters)
    expected = [alone(backbone, ask) for ask in asks]
    with Engine(backbone, prompt_tokens_a_turn=4, most_rows=7, most_idle=2) as engine:
        replies = [engine.submit(ask) for ask in asks]
        assert [reply.result() for reply in replies] == expected
        assert engine.counters.tokens_out == {ask.name: len(w.tokens) for ask, w in zip(asks, expected, strict=True)}
        assert engine.kept_bytes == 0
    assert len({written.text for written in expected}) > 15

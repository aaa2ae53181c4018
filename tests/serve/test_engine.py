"""The engine: many ask at one time, adapters are loaded and let go of meanwhile, and each is answered as if alone."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch

from afina.adapters.adapter import Adapter, build_adapter
from afina.backbone.load import Backbone, load_backbone
from afina.errors import UsageError
from afina.generation.generate import encode_prompt, write
from afina.generation.rows import PromptTooLong, Request, Row, Written
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from afina.serve.engine import Engine
from afina.serve.reply import Ask, Busy, Closing
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


@pytest.fixture(scope="module")
def ids(backbone: Backbone) -> list[int]:
    return encode_prompt(backbone, TEXT)


def fresh(backbone: Backbone, seed: int = 0) -> Adapter:
    made = build_adapter(make_method("lora", {}), backbone, 1, seed=seed)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)))
    return made


def alone(backbone: Backbone, ask: Ask) -> Written:
    request = Request(ask.prompt, ask.adapter, ask.stop, 0, ask.tokenizer)
    (written,) = (piece.written for piece in write(backbone, [request], ask.settings) if piece.written is not None)
    return written


def room(tokens: int, **settings: Any) -> GenerationSettings:
    return GenerationSettings(max_new_tokens=tokens, **settings)


def test_all_who_ask_at_one_time_get_what_they_would_alone(
    backbone: Backbone, adapters: list[Any], ids: list[int]
) -> None:
    asks = [
        Ask(
            prompt=ids[: 2 + number % 9], adapter=adapter, name=str(number),
            settings=room(3 + number % 7, temperature=(number % 3) * 0.9, seed=number),
        )
        for number, adapter in enumerate([None, *adapters, None, *adapters])
    ]  # fmt: skip
    expected = [alone(backbone, ask) for ask in asks]
    answers: dict[str, Written] = {}
    with Engine(backbone, prompt_tokens_a_turn=4, most_rows=7, most_idle=2) as engine:

        def ask_some(some: list[Ask]) -> None:
            answers.update({ask.name: engine.submit(ask).result() for ask in some})

        threads = [threading.Thread(target=ask_some, args=(asks[start::8],)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answers[ask.name] for ask in asks] == expected
        assert engine.counters.tokens_out == {ask.name: len(w.tokens) for ask, w in zip(asks, expected, strict=True)}
        assert engine.counters.tokens_in == {ask.name: len(ask.prompt) for ask in asks}
        assert engine.counters.ended == {(ask.name, "length"): 1 for ask in asks}
        assert sum(sum(own.counts) for own in engine.counters.first_token.values()) == len(asks)
        assert (engine.running, engine.waiting, engine.kept_bytes) == (0, 0, 0)
    assert len({written.text for written in expected}) > 15


def test_a_request_keeps_the_adapter_that_it_began_with(engine: Engine, backbone: Backbone, ids: list[int]) -> None:
    """Of one name, loaded anew while the first is answering."""
    old, new = fresh(backbone, 1), fresh(backbone, 2)
    asked = [Ask(prompt=ids[:4], adapter=own, name="a", settings=room(40)) for own in (old, new)]
    first = engine.submit(asked[0])
    begun = next(iter(first))
    gone = engine.unload(old)
    second = engine.submit(asked[1])
    assert not gone.done()
    answers = [first.result(), second.result()]
    gone.result(10)
    assert begun.written is None
    while engine.is_alive and engine.running:
        time.sleep(0.01)
    engine.close()
    assert answers == [alone(backbone, ask) for ask in asked]
    assert answers[0].tokens != answers[1].tokens


@pytest.mark.always
@pytest.mark.covered("times", [50], [50, 200])
def test_loading_and_unloading_leaves_memory_where_it_was(
    times: int, engine: Engine, backbone: Backbone, ids: list[int]
) -> None:
    """Many times, while another row is written all along."""
    steady = engine.submit(Ask(prompt=ids[:4], settings=room(50)))

    def cycle(seed: int) -> "weakref.ref[Adapter]":
        adapter = engine.do(lambda: fresh(backbone, seed)).result(10)
        reply = engine.submit(Ask(prompt=ids[:3], adapter=adapter, name="a", settings=room(2)))
        gone = engine.unload(adapter)
        assert len(reply.result().tokens) == 2
        gone.result(10)
        return weakref.ref(adapter)

    def tensors() -> int:
        gc.collect()
        return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())

    held = [cycle(seed) for seed in range(5)]
    steady.result()
    before = tensors()
    held += [cycle(seed) for seed in range(times)]
    assert tensors() <= before
    assert not any(own() for own in held)
    assert engine.kept_bytes == 0


@pytest.mark.always
def test_who_cancels_leaves_within_a_step_and_others_notice_nothing(
    engine: Engine, backbone: Backbone, ids: list[int]
) -> None:
    asks = [Ask(prompt=ids[: 3 + n], settings=room(45, seed=n, temperature=1.0)) for n in range(3)]
    replies = [engine.submit(ask) for ask in asks]
    pieces = iter(replies[1])
    next(pieces)
    step = engine.counters.steps
    replies[1].cancel()
    last = list(pieces)[-1].written
    assert last is not None
    assert last.finish == "cancelled"
    assert len(last.tokens) < 45
    others = [replies[0].result(), replies[2].result()]
    assert engine.counters.steps >= step
    engine.close()
    assert others == [alone(backbone, asks[0]), alone(backbone, asks[2])]
    assert alone(backbone, asks[1]).text.startswith(last.text)


def test_asyncio_reads_pieces_and_leaving_the_loop_cancels(engine: Engine, ids: list[int]) -> None:
    async def both() -> tuple[str, Written, Any]:
        left = engine.submit(Ask(prompt=ids[:3], settings=room(50)))
        async with aclosing(left.__aiter__()) as pieces:
            async for _ in pieces:
                break
        text, written = "", None
        async for piece in engine.submit(Ask(prompt=ids[:3], settings=room(8))):
            text, written = text + piece.text, piece.written
        assert written is not None
        while left.written is None:
            await asyncio.sleep(0.01)
        return text, written, left.written.finish

    text, written, finish = asyncio.run(both())
    assert (text, finish) == (written.text, "cancelled")


def test_what_does_not_fit_waits_or_is_refused(backbone: Backbone, ids: list[int]) -> None:
    engine = Engine(backbone, most_waiting=3)
    engine.memory.most_bytes = engine.memory.bytes_of([Row(backbone, Request(ids[:4]), room(20))])
    most = []
    with engine:
        replies = [engine.submit(Ask(prompt=ids[:4], settings=room(20, seed=n))) for n in range(3)]
        with pytest.raises(UsageError, match=r"wants .* bytes of keys and values, and there are .* for all"):
            engine.submit(Ask(prompt=ids, settings=room(50)))
        with pytest.raises(PromptTooLong, match=r"65 tokens and the model's 64 positions have room for 63"):
            engine.submit(Ask(prompt=[7] * 65))
        while any(reply.written is None for reply in replies):
            most.append(engine.running)
            time.sleep(0.001)
        assert {reply.result().finish for reply in replies} == {"length"}
        assert engine.counters.refused == {"memory": 1}
        blocked = threading.Event()
        engine.do(blocked.wait)
        waiting = [engine.submit(Ask(prompt=ids[:4], settings=room(2))) for _ in range(3)]
        with pytest.raises(Busy, match="3 requests wait already") as caught:
            engine.submit(Ask(prompt=ids[:4], settings=room(2)))
        assert caught.value.retry_after >= 1
        blocked.set()
        assert all(reply.result().tokens for reply in waiting)
    assert max(most, default=1) == 1  # none, where all were written before we looked


def test_deadlines_and_closing_end_rows_and_say_so(backbone: Backbone, ids: list[int]) -> None:
    engine = Engine(backbone).start()
    blocked = threading.Event()
    engine.do(blocked.wait)
    late = engine.submit(Ask(prompt=ids[:4], settings=room(50), deadline=time.monotonic() - 1))
    blocked.set()
    assert late.result().finish == "deadline"
    running = engine.submit(Ask(prompt=ids[:4], settings=room(5)))
    engine.close(grace=30)
    assert running.result().finish == "length", "what runs may end within the grace"
    with pytest.raises(Closing):
        engine.submit(Ask(prompt=ids[:4]))
    assert not engine.is_alive


def test_what_fails_in_a_step_fails_its_rows_and_the_engine_goes_on(
    engine: Engine, backbone: Backbone, ids: list[int]
) -> None:
    broken = fresh(backbone)
    branch: Any = broken.placed()[0][1]
    branch.a.data = branch.a.data[:, :-1]  # of another width
    failed = engine.submit(Ask(prompt=ids[:4], adapter=broken, settings=room(3))).result()
    assert failed.finish == "error"
    assert failed.problem
    assert engine.submit(Ask(prompt=ids[:4], settings=room(3))).result().finish == "length"
    assert time.monotonic() - engine.beat < 60

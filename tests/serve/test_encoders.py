"""Encoders answer rows of many adapters in one pass as `predict` and `embed` do alone."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

import afina
from afina.adapters.adapter import Adapter
from afina.predictor.predictor import Predictor
from afina.serve.encoders import EncodeRequest, Encoders, Gathering
from afina.serve.passes import EncoderPasses, Reader
from afina.serve.readers import reads_labels, reads_states
from served import save

Loader = Callable[..., Path]
TEXTS = ["my parcel is late", "where is the lamp please help", "the kettle", "my lamp is broken and my parcel is late"]
TASKS = {
    "three": ("lora", {"name": "classification", "label_names": ["a", "b", "c"]}),
    "two": ("ia3", {"name": "classification", "label_names": ["late", "broken"]}),
    "number": ("prefix", {"name": "regression", "mean": 2.0, "deviation": 3.0}),
    "several": ("bitfit", {"name": "multilabel", "label_names": ["x", "y", "z", "w"]}),
}


@pytest.fixture(scope="module")
def adapters(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    """Give adapters of one base: heads of several sizes and tasks, by four methods."""
    base, folder = family_folder("bert"), tmp_path_factory.mktemp("shelf")
    loaded: dict[str, Predictor] = {}
    for name, (method, state) in TASKS.items():
        first = next(iter(loaded.values()), None)
        loaded[name] = afina.load(save(base, folder / name, method, state), beside=first)
    return loaded


def asked(encoders: Encoders, wanted: Sequence[tuple[Reader, Sequence[str]]]) -> list[EncodeRequest]:
    """EncodeRequest all at once and wait for the answers."""
    ended = Event()
    done: list[EncodeRequest] = []

    def take(ask: EncodeRequest) -> None:
        done.append(ask)
        if len(done) == len(wanted):
            ended.set()

    asks = [EncodeRequest(reader, texts, None, take) for reader, texts in wanted]
    for ask in asks:
        encoders.submit(ask)
    encoders.start()
    assert ended.wait(60)
    encoders.stop()
    return asks


def test_rows_of_many_heads_and_vectors_share_a_pass(adapters: dict[str, Predictor]) -> None:
    rows: list[int] = []
    encoders = Encoders(Gathering(padding=1.0), stepped=lambda count, seconds: rows.append(count))
    wanted: list[tuple[Reader, Sequence[str]]] = [(reads_labels(own), TEXTS) for own in adapters.values()]
    wanted += [(reads_states(own, own.backbone, "mean"), TEXTS[:2]) for own in adapters.values()]
    backbone = adapters["two"].backbone
    wanted.append((reads_states(None, backbone, "cls"), TEXTS))
    asks = asked(encoders, wanted)
    assert rows == [4 * len(TEXTS) + 4 * 2 + len(TEXTS)]
    for own, ask in zip(adapters.values(), asks, strict=False):
        np.testing.assert_allclose(ask.outputs(), own.logits(TEXTS), atol=2e-5)
        shown = own.task.predictions(TEXTS, ask.tokens, ask.outputs())
        for one, alone in zip(shown, own.predict(TEXTS), strict=True):
            assert one.label == (pytest.approx(alone.label, abs=1e-4) if one.probabilities is None else alone.label)
    for own, ask in zip(adapters.values(), asks[4:], strict=False):
        np.testing.assert_allclose(ask.outputs(), own.embed(TEXTS[:2]), atol=2e-5)
    assert asks[-1].outputs().shape == (len(TEXTS), backbone.anatomy.width)


def test_a_pass_takes_who_waited_longest_and_the_like(adapters: dict[str, Predictor]) -> None:
    passes: list[int] = []
    encoders = Encoders(Gathering(rows=4), stepped=lambda count, seconds: passes.append(count))
    reader = reads_labels(adapters["two"])
    texts = [" ".join(["parcel"] * length) for length in (30, 1, 2, 29, 28, 3, 4)]
    done: list[str] = []
    asks = [EncodeRequest(reader, [text], None, lambda ask: done.append(ask.texts[0])) for text in texts]
    for ask in asks:
        encoders.submit(ask)
    encoders.gather()
    while not encoders.idle():
        encoders.turn()
    lengths = [text.count("parcel") for text in done]
    assert sorted(lengths[:4]) == [4, 28, 29, 30] and sorted(lengths[4:]) == [1, 2, 3]
    assert encoders.rows_waiting == 0 and passes == [4, 3]

    # what is of quite another length is not padded up to the others
    encoders.gathering = Gathering(spare=8)
    for ask in asks:
        encoders.submit(replace(ask, _parts={}))
    encoders.gather()
    while not encoders.idle():
        encoders.turn()
    assert passes[2:] == [3, 4]
    encoders.close()


def test_texts_that_come_together_are_read_at_once(adapters: dict[str, Predictor]) -> None:
    """And each is what it is alone: one that is cut says so, and one that is wrong is nobody else's fault."""
    calls: list[int] = []

    def counted(reader: Reader) -> Reader:
        def read(texts: Sequence[Any], pairs: Sequence[str] | None) -> Any:
            calls.append(len(texts))
            return reader.read(texts, pairs)

        return replace(reader, read=read)

    long = "parcel " * 90
    readers = {name: counted(reads_labels(own)) for name, own in adapters.items()}
    wanted = [(readers[name], [text]) for text in TEXTS for name in readers]
    asks = asked(Encoders(), [*wanted, (readers["two"], [TEXTS[0], long])])
    assert calls == [len(wanted) + 2, 2]
    assert [ask.tokens.cut for ask in asks if ask.tokens is not None] == [0] * len(wanted) + [1]
    for (text, own), ask in zip(((text, own) for text in TEXTS for own in adapters.values()), asks, strict=False):
        np.testing.assert_allclose(ask.outputs(), own.logits([text]), atol=2e-5)
    np.testing.assert_allclose(asks[-1].outputs(), adapters["two"].logits([TEXTS[0], long]), atol=2e-5)

    calls.clear()
    empty, right = asked(Encoders(), [(readers["two"], [" "]), (readers["three"], TEXTS)])
    assert calls == [1 + len(TEXTS), 1, len(TEXTS)]
    assert "is empty" in str(empty.error) and right.error is None


def test_adapters_stay_on_the_model_until_they_are_let_go(adapters: dict[str, Predictor], tmp_path: Path) -> None:
    """Any mix after any other: what is on the model besides changes no answer, and what is let go of leaves memory."""
    passes, random = EncoderPasses(), np.random.default_rng(0)
    readers = {name: reads_labels(own) for name, own in adapters.items()}
    wanted = {name: own.logits(TEXTS) for name, own in adapters.items()}
    tokens = {name: reader.read(TEXTS, None) for name, reader in readers.items()}
    for _ in range(6):
        names = random.choice(sorted(readers), random.integers(1, 9))
        rows = [(name, int(random.integers(len(TEXTS)))) for name in names]
        found = passes.answers([(readers[name], tokens[name], row) for name, row in rows])
        for (name, row), output in zip(rows, found, strict=True):
            np.testing.assert_allclose(output, wanted[name][row], atol=2e-5)
    backbone = adapters["two"].backbone
    fresh = afina.load(save(Path(backbone.name), tmp_path / "fresh", "lora", TASKS["two"][1]), beside=adapters["two"])
    reader, gone = reads_labels(fresh), weakref.ref(fresh.adapter)
    passes.answers([(reader, reader.read(TEXTS[:1], None), 0), (readers["two"], tokens["two"], 0)])
    passes.let_go(fresh.adapter)
    del fresh, reader
    gc.collect()
    assert gone() is None
    passes.close()
    np.testing.assert_array_equal(adapters["two"].logits(TEXTS), wanted["two"])


def test_who_asks_wrongly_or_went_away_costs_the_others_nothing(adapters: dict[str, Predictor]) -> None:
    own = adapters["three"]
    reader = reads_labels(own)
    encoders = Encoders()
    gone = EncodeRequest(reader, TEXTS, None, lambda ask: None, cancelled=True)
    encoders.submit(gone)
    empty, right = asked(encoders, [(reader, ["the kettle", " "]), (reader, TEXTS)])
    assert "Text 2 of 2 is empty" in str(empty.error) and gone.tokens is None
    np.testing.assert_allclose(right.outputs(), own.logits(TEXTS), atol=2e-5)
    assert encoders.rows_waiting == 0


def test_a_pass_that_fails_fails_only_for_whose_fault_it_is(adapters: dict[str, Predictor]) -> None:
    class Poisoned(Adapter):
        def __init__(self, sound: Any) -> None:
            super().__init__(sound.method, [], sound.head)

        def placed(self) -> Any:
            raise RuntimeError("poison")

    own = adapters["two"]
    sound = reads_labels(own)
    bad = replace(sound, adapter=Poisoned(own.adapter))
    first, second = asked(Encoders(), [(bad, TEXTS), (sound, TEXTS)])
    assert str(first.error) == "poison"
    np.testing.assert_allclose(second.outputs(), own.logits(TEXTS), atol=2e-5)


def test_tags_come_for_each_word(family_folder: Loader, tmp_path: Path) -> None:
    base = family_folder("bert", tags=True)
    state = {"name": "tagging", "label_names": ["O", "B-X", "I-X"]}
    own = afina.load(save(base, tmp_path / "tags", "lora", state))
    texts = [text.split() for text in TEXTS]
    (ask,) = asked(Encoders(), [(reads_labels(own), TEXTS)])
    assert [one.shown(None).answer for one in own.task.predictions(TEXTS, ask.tokens, ask.outputs())] == [
        one.shown(None).answer for one in own.predict(TEXTS)
    ]
    (ask,) = asked(Encoders(), [(reads_labels(own), texts)])
    np.testing.assert_allclose(ask.outputs(), own.logits(texts), atol=2e-5)


def test_the_thread_says_that_it_lives() -> None:
    encoders = Encoders()
    assert not encoders.alive
    encoders.start()
    encoders.ping().result(5)
    encoders.stop()
    assert not encoders.alive

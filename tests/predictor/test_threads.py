"""Threads that share an adapter take turns, whatever goes wrong in one; a forked process is told that it cannot."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.function import ATTACHED
from afina.backbone.load import load_backbone
from afina.errors import AfinaError
from afina.methods.base import make_method
from afina.tasks.base import Task
from afina.tasks.classification import Classification
from afina.tasks.language import Language
from pairs import stir

Loader = Callable[..., Path]
TEXTS = ["my parcel is late", "where is the lamp please help", "the kettle", "my lamp is broken and my parcel is late"]


def adapter_of(base: Path, folder: Path, method: str, task: Task, **kind: bool) -> Path:
    backbone = load_backbone(str(base), **kind)
    made = make_method(method, {})
    adapter = build_adapter(made, backbone, task.outputs, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(base), method=method, settings=made.settings(), task=task.state(), max_length=30, precision="fp32", seed=0
    )  # fmt: skip
    save_adapter(folder, adapter, backbone, record)
    return folder


@pytest.fixture(scope="module")
def labels(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two adapters on one backbone, of methods with hooks at other places."""
    folder = tmp_path_factory.mktemp("labels")
    base, task = family_folder("bert"), Classification(["a", "b", "c"])
    first = afina.load(adapter_of(base, folder / "lora", "lora", task))
    return first, afina.load(adapter_of(base, folder / "prefix", "prefix", task), beside=first)


@pytest.fixture(scope="module")
def writes(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("writes")
    return afina.load(adapter_of(speaker("llama"), folder / "lora", "lora", Language(), speaks=True))


def hooks(predictor: Any) -> int:
    modules = list(predictor.backbone.model.modules())
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + (m in ATTACHED) for m in modules)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at once, each in a thread of its own; return what each gave, or the error that it raised."""
    gate, given = threading.Barrier(len(calls)), [None] * len(calls)

    def work(number: int) -> None:
        gate.wait()
        try:
            given[number] = calls[number]()
        except BaseException as error:
            given[number] = error

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return given


def test_threads_get_what_one_alone_gets(labels: Any) -> None:
    """Of one adapter, of two on one model, with texts that are cut and padded otherwise."""
    first, second = labels
    sets = [TEXTS, TEXTS[:1], TEXTS[::-1], ["parcel " * 40, "late"]]
    alone = {(own, number): own.logits(texts) for own in labels for number, texts in enumerate(sets)}

    def ask(own: Any, number: int) -> Callable[[], list[np.ndarray]]:
        return lambda: [own.logits(sets[number]) for _ in range(8)]

    keys = [(own, number) for own in (first, second) for number in range(len(sets))]
    given = in_threads(*(ask(*key) for key in keys))
    for key, answers in zip(keys, given, strict=True):
        assert not isinstance(answers, BaseException), answers
        for answer in answers:
            assert np.allclose(answer, alone[key], atol=1e-6)
    assert hooks(first) == 0


def test_an_error_in_one_thread_leaves_the_model_to_the_others(labels: Any) -> None:
    first, second = labels
    before = first.logits(TEXTS)

    class Broken:
        head = first.adapter.head

        def placed(self) -> Any:
            raise RuntimeError("broken")

    def fail() -> None:
        with Attachment(first.backbone, [Broken()]):
            pass

    given = in_threads(*(2 * [fail, lambda: first.logits(TEXTS), lambda: second.logits(TEXTS)]))
    assert [str(own) for own in given if isinstance(own, BaseException)] == ["broken", "broken"]
    assert hooks(first) == 0
    assert np.allclose(first.logits(TEXTS), before, atol=1e-6)


def test_a_text_that_is_being_written_is_named_and_not_waited_for(writes: Any) -> None:
    """By any thread, that one too; afterwards the model answers again."""
    settings = {"max_new_tokens": 6, "seed": 0}
    (alone,) = writes.generate(["the"], **settings)
    stream = writes.stream("the", **settings)
    pieces = [next(stream)]
    for refusal in (*in_threads(lambda: writes.generate(["my"], **settings), lambda: writes.logits(TEXTS)),):
        assert isinstance(refusal, AfinaError)
        assert "still writing another text" in str(refusal)
    with pytest.raises(AfinaError, match="still writing another text"):
        writes.logits(TEXTS)
    assert "".join([*pieces, *stream]) == alone.text
    assert hooks(writes) == 0
    half = writes.stream("the", **settings)
    next(half)
    in_threads(half.close)  # by another thread than began it
    assert writes.generate(["the"], **settings)[0].text == alone.text
    assert hooks(writes) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while another thread predicts"])
def test_a_forked_process_is_told_and_does_not_hang(busy: bool, labels: Any, writes: Any) -> None:
    first, _ = labels
    stop = threading.Event()

    def predict() -> None:
        while not stop.is_set():
            first.logits(TEXTS)

    thread = threading.Thread(target=predict, daemon=True)
    if busy:
        thread.start()
        time.sleep(0.1)
    for act in (lambda: first.predict(TEXTS), lambda: first.embed(TEXTS), lambda: writes.generate(["the"])):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                act()
                said = "computed"
            except AfinaError as error:
                said = str(error)
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode())
            os._exit(0)
        os.close(write)
        until = time.monotonic() + 30
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                os.kill(child, 9)
                os.waitpid(child, 0)
                pytest.fail("the child hangs")
            time.sleep(0.01)
        with os.fdopen(read, "rb") as pipe:
            assert b"before the process was forked" in pipe.read()
    stop.set()
    if busy:
        thread.join(30)
    assert hooks(first) == 0

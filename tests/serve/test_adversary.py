"""Names, folders, keys, long texts and threads that die are made to break a server, and harm nobody else."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import typer

import afina
from afina.cli.serve import _until_told
from afina.errors import AfinaError, UsageError
from afina.serve.choosing import Question
from afina.serve.encoders import parts_of
from afina.serve.folders import named_in, stamp_of
from afina.serve.http.events import _line
from afina.serve.http.journal import Journal
from afina.serve.http.keys import Caller, Keys
from afina.words.language import Words
from served import save, served, until

TWO = {"name": "classification", "label_names": ["late", "broken"]}
CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}


def test_names_that_cannot_be_written_are_nobodys(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    base, shelf, told = family_folder("bert"), tmp_path / "shelf", list[str]()
    save(base, shelf / "own", "lora", TWO)
    odd = ['q"uote\\', " two  spaces", "ação", "%2e", "a{model}", "🎛"]
    for name in (*odd, "a\nb", "\x9b31mred", "caf\udce9", "\u202egnp.exe"):
        shutil.copytree(shelf / "own", shelf / name)
    with served(base, adapters=shelf, tell=told.append) as (_, client):
        listed = {one["id"] for one in client.get("/v1/models").json()["data"]}
        assert listed == {"bert", "own", *odd}
        for name in odd[:2]:
            assert client.post("/v1/classify", json={"model": name, "input": "x"}).status_code == 200
        assert client.post("/v1/classify", json={"model": "a\nb", "input": "x"}).status_code == 404
        assert 'adapter="q\\"uote' in client.get("/metrics").text
    refused = [one for one in told if "cannot be written" in one]
    assert len(refused) == 4 and all(one.isprintable() for one in told)


def test_a_log_commands_no_terminal_and_takes_what_clients_write(tmp_path: Path) -> None:
    log = Journal(tmp_path / "log.jsonl")
    log.write(request="1", path="/a\x1b[31m\x9b2Jb\x7f\u2028c\ud800", status=404)
    log.close()
    (line,) = (tmp_path / "log.jsonl").read_bytes().decode().splitlines()
    assert line.isprintable() and json.loads(line)["path"] == "/a\x1b[31m\x9b2Jb\x7f\u2028c\ud800"


def test_an_event_is_one_line_to_every_reader() -> None:
    """Many clients part what comes as Python parts lines."""
    event = {"text": "a\u2028b\x85c\x1ed\x0be ção 🎛"}
    lines = [line for line in _line(event).decode().splitlines() if line]
    assert len(lines) == 1 and "ção 🎛" in lines[0] and json.loads(lines[0].removeprefix("data: ")) == event


def test_a_key_may_have_any_letters(family_folder: Callable[..., Path]) -> None:
    with served(family_folder("bert"), api_key="chave-do-açaí") as (_, client):
        for key, code in (("chave-do-açaí", 200), ("chave-do-acai", 401), ("chave-do-aça", 401)):
            header = {"authorization": f"Bearer {key}".encode()}
            assert client.get("/v1/models", headers=header).status_code == code


def test_a_key_for_what_is_not_there_is_told_at_the_start(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    """A misspelt name would be 404 to whoever has the key."""
    save(family_folder("bert"), tmp_path / "shelf" / "own", "lora", TWO)
    keys, told = tmp_path / "keys.yaml", list[str]()
    keys.write_text(
        "- {name: ana, key: secret-of-ana, adapters: [own, bert, onw]}\n- {name: bia, key: secret-of-bia}\n"
    )
    keys.chmod(0o600)
    with served(family_folder("bert"), adapters=tmp_path / "shelf", keys=keys, tell=told.append):
        assert told == ["The key ana may ask 'onw', which is not here yet."]
    assert "A chave ana pode pedir 'onw'" in Words("pt").note(told[0])


def test_a_key_and_a_name_are_one_callers() -> None:
    for first, second in (((b"1", "ana"), (b"1", "bia")), ((b"1", "ana"), (b"2", "ana"))):
        keys = Keys()
        keys.add(first[0], Caller(first[1]))
        with pytest.raises(UsageError, match="Two keys are the same, or both called"):
            keys.add(second[0], Caller(second[1]))


def test_a_copy_that_keeps_its_time_is_a_change(tmp_path: Path) -> None:
    """Archives and images give all files the time 0, and adapters of one kind are of one size."""
    file = tmp_path / "adapter_model.safetensors"
    stamps = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        os.utime(file, (0, 0))
        stamps.add(stamp_of(tmp_path))
        time.sleep(0.02)  # more than a tick of the clock
    assert len(stamps) == 2


def test_a_folder_that_never_stands_still_leaves_what_was_there(
    family_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("own", "new"):
        save(family_folder("bert"), tmp_path / name, "lora", TWO)
    with served(family_folder("bert"), adapters=tmp_path) as (server, client):

        def ask(name: str) -> httpx2.Response:
            return client.post("/v1/classify", json={"model": name, "input": "x"})

        first, numbers = ask("own").json()["data"], count()
        monkeypatch.setattr("afina.serve.adapters._PAUSE", 0)
        monkeypatch.setattr("afina.serve.adapters.stamp_of", lambda folder: ((str(next(numbers)), 0, 0, 0, 0),))
        server.house.shelf._places["own"].stamp = ()
        assert ask("own").json()["data"] == first
        with monkeypatch.context() as patch:
            patch.setattr("afina.serve.adapters.named_in", lambda folder: [*Path("/nowhere").iterdir()])
            assert ask("nobody").status_code == 404 and ask("own").status_code == 200
        assert ask("new").status_code == 404 and "is being written to" in ask("new").text
        assert until(lambda: not any(version.users for version in server.house.shelf.there()))


def test_a_pipe_in_a_folder_holds_up_nobody(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    """It was waited for without an end, by the thread that loads for all, and the server stood still."""
    files = {"weights": "adapter_model.safetensors", "other": "tokenizer.json", "record": "afina.json", "own": ""}
    for name, file in files.items():
        save(family_folder("bert"), tmp_path / name, "lora", TWO)
        if file:
            (tmp_path / name / file).unlink(missing_ok=True)
            os.mkfifo(tmp_path / name / file)
    with pytest.raises(AfinaError, match="no ordinary file"):
        afina.load(tmp_path / "weights")
    with served(family_folder("bert"), adapters=tmp_path) as (_, client):
        # What it is for is read from a record too, by the loop that answers all.
        assert len(client.get("/v1/models", timeout=20).json()["data"]) == 5
        for name in files:
            found = client.post("/v1/classify", json={"model": name, "input": "x"}, timeout=20)
            assert found.status_code == (200 if name == "own" else 404)
            assert ("no ordinary file" in found.text) == (name != "own") and str(tmp_path) not in found.text


def test_a_folder_that_nobody_may_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "afina.json").write_text("{}")
    allowed = Path.is_file

    def is_file(path: Path) -> bool:
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return allowed(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert list(named_in(tmp_path)) == ["open"]


def test_who_waits_for_an_adapter_to_load_holds_up_nobody(
    speaker: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, body = speaker("llama"), {"prompt": "a cat", "max_tokens": 2}
    for name in ("there", "slow"):
        save(base, tmp_path / name, "lora", CHOICES)
    with served(base, adapters=tmp_path) as (server, client):
        assert client.post("/v1/completions", json=body | {"model": "there"}).status_code == 200
        shelf, go_on, begun = server.house.shelf, threading.Event(), threading.Event()
        plain = shelf._read

        def slowly(*given: Any) -> Any:
            begun.set()
            go_on.wait(20)
            return plain(*given)

        monkeypatch.setattr(shelf, "_read", slowly)

        def ask(_: int) -> int:
            return client.post("/v1/completions", json=body | {"model": "slow"}).status_code

        # More than there are threads for what takes a while.
        with ThreadPoolExecutor(40) as pool:
            waiting = [pool.submit(ask, number) for number in range(40)]
            assert begun.wait(10) and until(lambda: len(server.house._works) == 40)
            codes = [
                client.post("/v1/completions", json=body | {"model": name}, timeout=10).status_code
                for name in ("there", "llama", "nobody")
            ]
            go_on.set()
            assert codes == [200, 200, 404] and client.get("/v1/models").status_code == 200
            assert {one.result() for one in waiting} == {200}


def test_many_long_texts_hold_up_nobody(speaker: Callable[[str], Path], family_folder: Callable[..., Path]) -> None:
    """They are read a part at a time, and what is beyond all limits is refused by its beginning."""
    texts = ["a" * 40_000, "b" * 30_000, "c" * 200_000, "d", "e"]
    assert [texts[own] for own in parts_of(texts, None)] == [texts[:1], texts[1:2], texts[2:3], texts[3:]]
    assert [len(one.texts) for one in Question(texts, None, None).parts(2)] == [1, 1, 1, 2]
    long = "the kettle " * 100_000
    for base, path, what, key in (
        (speaker("llama"), "/v1/completions", "The prompt", "prompt"),
        (family_folder("bert"), "/v1/embeddings", "A text", "input"),
    ):
        with served(base) as (server, client):
            name = server.house.bases.name
            assert client.post(path, json={"model": name, key: "the kettle"}).status_code == 200
            began = time.process_time()
            refused = client.post(path, json={"model": name, key: long})
            took = time.process_time() - began
            assert refused.status_code == 400 and f"{what} has more than " in refused.text and "takes 6" in refused.text
            assert took < 0.5, took  # all of it takes two seconds


def test_a_pair_of_long_texts_takes_no_more_memory_than_one(family_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The library keeps what it cuts off of a pair: each piece of one text with each of the other's."""
    base = family_folder("bert")
    save(base, tmp_path / "own", "lora", TWO)
    long = "the kettle " * 4000
    with served(base, adapters=tmp_path) as (_, client):
        before = psutil.Process().memory_info().rss
        for pairs in (long, long[::-1]):
            found = client.post("/v1/classify", json={"model": "own", "input": long, "pairs": pairs})
            assert found.status_code == 200 and found.json()["cut"] == 1
        assert psutil.Process().memory_info().rss - before < 200 << 20


def test_who_waits_for_a_thread_that_dies_is_told(
    family_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(family_folder("bert")) as (server, client):
        body = {"model": server.house.bases.name, "input": "the kettle"}
        assert client.post("/v1/embeddings", json=body).status_code == 200
        monkeypatch.setattr(threading, "excepthook", lambda args: None)
        monkeypatch.setattr(server.house.encoders, "_chosen", lambda: 1 // 0)
        for _ in range(2):  # the first finds it alive
            found = client.post("/v1/embeddings", json=body, timeout=10)
            assert found.status_code == 503 and found.json()["error"]["code"] == "stopping"
        assert client.get("/health").status_code == 503


def test_a_command_whose_thread_died_ends_with_a_failure(
    family_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that whoever restarts what failed does."""
    with served(family_folder("bert")) as (server, client):
        monkeypatch.setattr(threading, "excepthook", lambda args: None)
        monkeypatch.setattr(server.house.encoders, "_chosen", lambda: 1 // 0)
        told = list[str]()
        body = {"model": server.house.bases.name, "input": "x"}
        assert client.post("/v1/embeddings", json=body, timeout=10).status_code == 503
        handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
        try:
            with pytest.raises(typer.Exit) as ended:
                _until_told(server, Words("en"), told.append)
        finally:
            for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
                signal.signal(number, handler)
        assert ended.value.exit_code == 1 and "has died" in told[0]


def test_what_was_written_for_who_went_away_is_counted_and_said(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with served(speaker("llama"), log=log) as (server, client):
        name, engine = server.house.bases.name, server.house.engine()
        engine.backbone.generation = type(engine.backbone.generation)(eos_token_id=None)
        body = {"model": name, "prompt": "a cat", "max_tokens": 50, "stream": True, "temperature": 0}
        turn = engine._batch.turn
        engine._batch.turn = lambda: (time.sleep(0.02), turn())[1]
        with client.stream("POST", "/v1/completions", json=body) as response:
            next(response.iter_lines())
        with client.stream("POST", "/v1/completions", json=body | {"max_tokens": 3}) as response:
            assert [*response.iter_lines()][-2] == "data: [DONE]"
        assert until(lambda: len(log.read_text().splitlines()) == 2)
        left, whole = sorted(
            (json.loads(line) for line in log.read_text().splitlines()), key=lambda one: -one["status"]
        )
        assert (left["status"], left["error"], whole["status"]) == (499, "client_gone", 200) and "error" not in whole
        assert 0 < left["tokens_out"] < 50 and whole["tokens_out"] == 3
        counted = f'afina_tokens_out_total{{adapter="{name}"}} {left["tokens_out"] + 3}.0'
        assert counted in client.get("/metrics").text


@pytest.mark.parametrize("key", [None, "secret-of-all"])
def test_a_page_of_another_site_reads_nothing_by_a_name_that_leads_here(
    family_folder: Callable[..., Path], key: str | None
) -> None:
    with served(family_folder("bert"), api_key=key) as (_, client):
        asked = {} if key is None else {"authorization": f"Bearer {key}"}
        for host, here in (
            ("localhost", True), ("127.0.0.1:80", True), ("[::1]:8000", True), ("a.localhost:1", True),
            ("evil.example", False), ("127.0.0.1.evil.example:8000", False), ("localhost.evil.example", False), ("", False),
        ):  # fmt: skip
            found = client.get("/v1/models", headers=asked | {"host": host})
            assert found.status_code == (200 if here or key else 421), host


def test_a_body_of_very_many_wrong_things_is_refused_at_the_first(
    speaker: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each was named by itself, for minutes and gigabytes, by the loop that answers everybody."""
    save(speaker("llama"), tmp_path / "own", "lora", CHOICES)
    count = 200_000
    keys = "".join(f',"k{place}":1' for place in range(count))
    bodies = [
        ("/v1/chat/completions", "messages", "1"), ("/v1/chat/completions", "messages", '{"role":"user","content":"a"}'),
        ("/v1/completions", "prompt", "-1"), ("/v1/completions", "prompt", "[]"), ("/v1/classify", "choices", "[1,2]"),
        ("/v1/rerank", "documents", "1"), ("/predict", "inputs", '["a"]'), ("/embed", "inputs", "1"),
    ]  # fmt: skip
    with served(speaker("llama"), adapters=tmp_path) as (_, client):
        assert client.post("/v1/completions", json={"model": "own", "prompt": "a", "max_tokens": 1}).status_code == 200
        for path, key, item in [*bodies, ("/v1/classify", "", "")]:
            more = f',"{key}":[{",".join([item] * count)}]' if key else keys
            began = time.process_time()
            found = client.post(
                path, content=f'{{"model":"own"{more}}}'.encode(), headers={"content-type": "application/json"}
            )
            took = time.process_time() - began
            assert found.status_code == 400 and len(found.text) < 500, found.text
            assert took < 2, (path, item, took)  # it was 4 to 12
